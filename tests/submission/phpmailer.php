<?php
// Sends mail with PHPMailer. Prints a line of JSON for each case.

use PHPMailer\PHPMailer\Exception;
use PHPMailer\PHPMailer\OAuthTokenProvider;
use PHPMailer\PHPMailer\PHPMailer;
use PHPMailer\PHPMailer\SMTP;

// Debian's packages of PHP lie on PHP's include path.
foreach (['Exception', 'OAuthTokenProvider', 'PHPMailer', 'SMTP'] as $class) {
    require "libphp-phpmailer/src/$class.php";
}

/** A mailer for one of the ports; $secure is '', PHPMailer::ENCRYPTION_STARTTLS or PHPMailer::ENCRYPTION_SMTPS. */
function mailer(string $port, string $secure, string $subject, array $to = ['ann@example.net']): PHPMailer
{
    $mail = new PHPMailer(true);
    $mail->isSMTP();
    $mail->SMTPDebug = getenv('SMTP_DEBUG') === false ? SMTP::DEBUG_OFF : SMTP::DEBUG_SERVER;
    $mail->Debugoutput = fn (string $line) => fwrite(STDERR, "$line\n");
    $mail->Host = getenv('SMTP_HOST');
    $mail->Port = (int) getenv($port);
    $mail->SMTPSecure = $secure;
    $mail->SMTPOptions = ['ssl' => ['cafile' => getenv('SMTP_CA')]];
    $mail->SMTPAuth = true;
    $mail->Username = getenv('SMTP_USER');
    $mail->Password = getenv('SMTP_KEY');
    $mail->CharSet = PHPMailer::CHARSET_UTF8;
    $mail->setFrom('shop@example.org', 'Jürgen Müller');
    foreach ($to as $address) {
        $mail->addAddress($address);
    }
    $mail->Subject = "phpmailer $subject";
    $mail->Body = "Hello\n";
    return $mail;
}

function starttls(string $subject, array $to = ['ann@example.net']): PHPMailer
{
    return mailer('SMTP_STARTTLS_PORT', PHPMailer::ENCRYPTION_STARTTLS, $subject, $to);
}

/** Sends, and tells what happened. */
function send(PHPMailer $mail): array
{
    try {
        $mail->send();
        return ['outcome' => 'accepted'];
    } catch (Exception $error) {
        $smtp = $mail->getSMTPInstance();
        // If some recipients are refused, PHPMailer sends to the others, and then throws.
        if ($smtp->getLastTransactionID() && preg_match('/recipients failed: (\S+?):/', $error->getMessage(), $found)) {
            return ['outcome' => 'accepted', 'refused' => [$found[1]]];
        }
        $said = $smtp->getError();
        $text = trim("$said[smtp_code_ex] $said[detail]") ?: $error->getMessage();
        return ['outcome' => 'refused', 'code' => (int) $said['smtp_code'], 'text' => $text];
    }
}

function unsupported(string $why): array
{
    return ['outcome' => 'unsupported', 'why' => $why];
}

function attachment(): array
{
    $mail = starttls('attachment');
    $mail->isHTML();
    $mail->Body = '<p>Your order is <b>attached</b>.</p>';
    $mail->AltBody = 'Your order is attached.';
    $data = implode(array_map(fn (int $i) => chr($i * 7 % 256), range(0, 199_999)));
    $mail->addStringAttachment($data, 'Grüße.bin');
    return send($mail);
}

function unicode(): array
{
    $mail = starttls('Grüße 你好');
    $mail->Body = "Grüße 你好, 😀\n";
    return send($mail);
}

function eai(): array
{
    $to = 'jürgen@example.net';
    if (!PHPMailer::validateAddress($to)) {
        return unsupported('PHPMailer ' . PHPMailer::VERSION . " takes no address like $to");
    }
    return send(starttls('eai', [$to]));
}

function partial(): array
{
    // The usual validator takes no domain of one label.
    PHPMailer::$validator = 'html5';
    return send(starttls('partial', ['good@example.net', 'nobody@localhost']));
}

function wrongPassword(): array
{
    $mail = starttls('wrong-password');
    $mail->Password = 'mw_live_wrong';
    return send($mail);
}

function noTls(): array
{
    $mail = mailer('SMTP_STARTTLS_PORT', '', 'no-tls');
    $mail->SMTPAutoTLS = false;
    return send($mail);
}

function dots(): array
{
    $mail = mailer('SMTP_PLAIN_PORT', '', 'dots');
    $mail->Body = ".\n..\n.leading\n" . str_repeat('A long paragraph. ', 300) . "\n";
    return send($mail);
}

function oauth(): array
{
    if (!getenv('SMTP_TOKEN')) {
        return unsupported('SMTP_TOKEN is empty');
    }
    $mail = starttls('oauth');
    $mail->AuthType = 'XOAUTH2';
    $mail->setOAuth(new class implements OAuthTokenProvider {
        public function getOauth64()
        {
            return base64_encode('user=' . getenv('SMTP_USER') . "\x01auth=Bearer " . getenv('SMTP_TOKEN') . "\x01\x01");
        }
    });
    return send($mail);
}

$cases = [
    'starttls' => fn () => send(starttls('starttls')),
    'tls' => fn () => send(mailer('SMTP_TLS_PORT', PHPMailer::ENCRYPTION_SMTPS, 'tls')),
    'attachment' => attachment(...),
    'many' => fn () => send(starttls('many', array_map(fn (int $i) => "r$i@example.net", range(0, 49)))),
    'unicode' => unicode(...),
    'eai' => eai(...),
    'partial' => partial(...),
    'wrong-password' => wrongPassword(...),
    'no-tls' => noTls(...),
    'dots' => dots(...),
    'oauth' => oauth(...),
];
foreach ($cases as $case => $run) {
    fwrite(STDERR, "phpmailer: $case\n");
    echo json_encode(['case' => $case, ...$run()], JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES), "\n";
}
