<?php
// What the PHP program of the page needs: php -d auto_prepend_file=serve.php -S ADDRESS page.php.

define('SECRET', getenv('SECRET'));

function is_new(string $id): bool
{
    $was_there = file_exists($id);
    touch($id);
    return !$was_there;
}

function handle(string $type, array $data): void
{
    file_put_contents('handled', "$type\n", FILE_APPEND);
}
