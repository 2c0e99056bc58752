<?php
// Sends a message, with the file of the first argument attached if there is one, and waits for what becomes of it.
// Prints the message's id and status; ends with 0 when it was delivered. Needs PHP 8 with its curl extension.
declare(strict_types=1);

/** Status, Retry-After and JSON of an answer; the status is 0 when none came. */
function call(string $method, string $path, ?array $body = null, array $headers = []): array
{
    $retryAfter = null;
    $curl = curl_init(getenv('MAILWRIGHT_URL') . $path);
    curl_setopt_array($curl, [
        CURLOPT_CUSTOMREQUEST => $method,
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 30,
        CURLOPT_HTTPHEADER => [
            'Authorization: Bearer ' . getenv('MAILWRIGHT_KEY'),
            'Content-Type: application/json',
            ...$headers,
        ],
        CURLOPT_HEADERFUNCTION => function ($curl, string $line) use (&$retryAfter): int {
            if (stripos($line, 'retry-after:') === 0) {
                $retryAfter = (int) trim(substr($line, strlen('retry-after:')));
            }
            return strlen($line);
        },
    ]);
    if ($body !== null) {
        curl_setopt($curl, CURLOPT_POSTFIELDS, json_encode($body, JSON_THROW_ON_ERROR));
    }
    $text = curl_exec($curl);
    if ($text === false) {
        return [0, null, curl_error($curl)];
    }
    return [curl_getinfo($curl, CURLINFO_RESPONSE_CODE), $retryAfter, json_decode($text, true)];
}

/** Sends a message once: what may have been lost on the way is repeated under the same key. */
function send(array $message, string $key): array
{
    foreach ([1, 2, 4, 8, null] as $wait) {
        [$status, $asked, $answer] = call('POST', '/v1/send', $message, ["Idempotency-Key: $key"]);
        if ($status === 202) {
            return $answer;
        }
        if (!in_array($status, [0, 429, 503], true)) {
            break;
        }
        if ($wait !== null) {
            sleep($asked ?? $wait);
        }
    }
    fwrite(STDERR, 'not sent: ' . json_encode($answer) . "\n");
    exit(1);
}

$message = [
    'from' => 'Example Shop <shop@example.com>',
    'to' => ['ada@example.net'],
    'subject' => 'Your receipt',
    'text' => 'Thank you for your order.',
    'tags' => ['receipt'],
];
if (isset($argv[1])) {
    $content = base64_encode(file_get_contents($argv[1]));
    $message['attachments'] = [['filename' => basename($argv[1]), 'content' => $content]];
}
// The key names what the message is about, so that it is sent once: in your program the order's number, for example.
$id = send($message, 'example-' . bin2hex(random_bytes(16)))['id'];

for ($tries = 0; $tries < 120; $tries++) {
    [, , $read] = call('GET', "/v1/messages/$id");
    $status = $read['status'] ?? 'unknown';
    if (in_array($status, ['delivered', 'partially_delivered', 'failed', 'cancelled'], true)) {
        break;
    }
    usleep(500_000);
}
echo "$id $status\n";
exit($status === 'delivered' ? 0 : 1);
