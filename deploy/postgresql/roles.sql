CREATE ROLE optin_owner LOGIN PASSWORD 'owner-password';
CREATE ROLE optin_service LOGIN PASSWORD 'service-password';
CREATE DATABASE optin OWNER optin_owner ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE optin FROM PUBLIC;
GRANT CONNECT ON DATABASE optin TO optin_service;

-- A statement that hangs becomes a 503 instead of a queue.
ALTER ROLE optin_service SET statement_timeout = '10s';
ALTER ROLE optin_service SET idle_in_transaction_session_timeout = '30s';
