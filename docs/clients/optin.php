<?php
// Turn two-factor sign-in on and off again for one person. PHP 8.1 with curl.
//
//     API_URL=http://localhost:8000 API_FILE_ID=777 API_USER=ann API_PASSWORD=... \
//       php optin.php "0491 570 156"
//
// With API_KEY (an access key) in place of API_USER and API_PASSWORD, no token is needed.

declare(strict_types=1);

/** An answer that is not 200: the name is stable, the message is for a person. */
final class Refused extends Exception
{
    public readonly string $name;

    /** @param ?string $retryAfter seconds; null where waiting does not help */
    public function __construct(int $status, ?array $answer, public readonly ?string $retryAfter)
    {
        if (isset($answer['error'])) { // a token call
            [$this->name, $message] = [$answer['error'], $answer['error_description']];
        } elseif (isset($answer['_links'])) { // any other call: the last link's title is the code
            [$this->name, $message] = [end($answer['_links'])['title'], $answer['StatusMessage']];
        } else { // not from the service: from a proxy, for example
            [$this->name, $message] = ["http_$status", 'The service could not be reached.'];
        }
        parent::__construct($message);
    }
}

final class Client
{
    private ?array $tokens = null;

    public function __construct(
        private readonly string $url,
        private readonly array $query,
        private readonly array $login,
    ) {
    }

    /** Send one call. If its answer is lost, send it again: it takes effect once. */
    public function sendOnce(string $path, ?array $body = null): array
    {
        $key = bin2hex(random_bytes(16));
        try {
            return $this->send($path, $body, key: $key);
        } catch (RuntimeException) {
            return $this->send($path, $body, key: $key);
        }
    }

    /** Send one call and return its answer: an array, for ping a boolean. */
    public function send(
        string $path,
        ?array $body = null,
        string $method = 'POST',
        ?string $key = null,
    ): array|bool {
        $headers = ['Accept: application/json'];
        if ($key) {
            $headers[] = "Idempotency-Key: $key";
        }
        if ($this->tokens) {
            $headers[] = 'Authorization: Bearer ' . $this->tokens['access_token'];
        }
        $retryAfter = null;
        $curl = curl_init("$this->url/$path?" . http_build_query($this->query));
        curl_setopt($curl, CURLOPT_CUSTOMREQUEST, $method);
        if ($body !== null) {
            $headers[] = 'Content-Type: application/json';
            curl_setopt($curl, CURLOPT_POSTFIELDS, json_encode($body, JSON_THROW_ON_ERROR));
        }
        curl_setopt_array($curl, [
            CURLOPT_HTTPHEADER => $headers,
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_TIMEOUT => 30,
            CURLOPT_HEADERFUNCTION => function ($curl, string $line) use (&$retryAfter): int {
                if (stripos($line, 'Retry-After:') === 0) {
                    $retryAfter = trim(substr($line, strlen('Retry-After:')));
                }
                return strlen($line);
            },
        ]);
        $text = curl_exec($curl);
        if ($text === false) {
            throw new RuntimeException(curl_error($curl));
        }
        $answer = json_decode($text, true);
        $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        if ($status !== 200) {
            throw new Refused($status, $answer, $retryAfter);
        }
        return $answer;
    }

    /** Get tokens for the password and, where two-factor is on, a code. */
    public function signIn(): void
    {
        try {
            $this->tokens = $this->send('authorisation/token', $this->login);
        } catch (Refused $refused) {
            if ($refused->name !== '2fa_code_required') {
                throw $refused;
            }
            $this->tokens = askForCode(fn (string $code) => $this->send(
                'authorisation/token-2fa',
                [...$this->login, 'verification_code' => $code],
            ));
        }
        echo "Signed in.\n";
    }

    /** Get a new access token, or sign in again where the refresh token has ended. */
    public function refresh(): void
    {
        try {
            $this->tokens = $this->send('authorisation/refresh', [
                'grant_type' => 'refresh_token',
                'refresh_token' => $this->tokens['refresh_token'],
            ]);
            echo "Refreshed.\n";
        } catch (Refused $refused) {
            if ($refused->name !== 'invalid_grant') {
                throw $refused;
            }
            $this->signIn();
        }
    }
}

/** Call $send with what the person types until the code is right. */
function askForCode(callable $send): array
{
    while (true) {
        echo "Enter the code from the text message:\n";
        $code = fgets(STDIN) ?: throw new RuntimeException('No code.');
        try {
            return $send(trim($code)); // a string: a number would lose leading zeros
        } catch (Refused $refused) {
            if (!in_array($refused->name, ['otp_incorrect', 'invalid_grant', 'invalid_request'])) {
                throw $refused;
            }
            echo $refused->getMessage(), "\n";
        }
    }
}

function main(string $number): void
{
    $query = ['FileId' => getenv('API_FILE_ID'), 'WsAccessKey' => getenv('API_KEY') ?: null];
    $user = getenv('API_USER');
    $login = ['grant_type' => 'password', 'username' => $user, 'password' => getenv('API_PASSWORD')];
    $client = new Client(rtrim(getenv('API_URL'), '/'), $query, $login);
    if ($user) {
        $client->signIn();
    }
    echo 'Ping: ', var_export($client->send('authorisation/ping', method: 'GET'), true), "\n";

    $id = $client->sendOnce('User/opt-in-to-2fa', ['MobileNumber' => $number])['ProviderUserId'];
    $verify = fn (string $code) => $client->send(
        'User/verify-2fa-opt-in',
        ['ProviderUserId' => $id, 'Otp' => $code],
    );
    echo askForCode($verify)['StatusMessage'], "\n";

    if ($user) {
        $client->refresh(); // signs in again: turning two-factor on has ended the refresh token
        $client->refresh();
    }

    try {
        $client->sendOnce('User/opt-out-from-2fa'); // without a code, it sends one
    } catch (Refused $refused) {
        if ($refused->name !== '2fa_code_required') {
            throw $refused;
        }
    }
    $optOut = fn (string $code) => $client->sendOnce('User/opt-out-from-2fa', ['Otp' => $code]);
    echo askForCode($optOut)['StatusMessage'], "\n";
}

try {
    main($argv[1]);
} catch (Refused $refused) {
    $wait = $refused->retryAfter ? " (wait $refused->retryAfter s)" : '';
    fwrite(STDERR, "$refused->name: {$refused->getMessage()}$wait\n");
    exit(1);
}
