<?php
// Verifies a webhook: behind a web server that of the request, on the command line the one whose body is the input and whose headers are
// in the environment. Prints the event's type and the message's id; a webhook that is not the service's is answered with 400, and ends
// with 1. Needs PHP 8.
declare(strict_types=1);

/** The event of a webhook that the service sent; throws for any other. The body is what came, byte for byte. */
function verify(string $secret, string $id, string $timestamp, string $signatures, string $body): array
{
    $key = base64_decode(substr($secret, strlen('whsec_')), true);
    $wanted = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    // There may be several signatures, while one secret replaces another.
    $ours = array_filter(explode(' ', $signatures), fn (string $given): bool => hash_equals($wanted, $given));
    if ($ours === []) {
        throw new RuntimeException('the signature is wrong');
    }
    if (abs(time() - (int) $timestamp) > 300) {
        throw new RuntimeException('the webhook is too old');
    }
    return json_decode($body, true, flags: JSON_THROW_ON_ERROR);
}

try {
    $event = verify(
        getenv('MAILWRIGHT_WEBHOOK_SECRET'),
        $_SERVER['HTTP_WEBHOOK_ID'] ?? '',
        $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '',
        $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '',
        file_get_contents(PHP_SAPI === 'cli' ? 'php://stdin' : 'php://input'),
    );
} catch (RuntimeException | JsonException $why) {
    http_response_code(400);
    error_log($why->getMessage());
    exit(1);
}
echo $event['type'], ' ', $event['data']['message_id'] ?? '', "\n";
