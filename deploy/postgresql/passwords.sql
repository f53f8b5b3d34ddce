-- Replace the passwords of roles.sql by those in the environment of psql. `compose.yaml` runs it
-- before PostgreSQL can be reached.
\getenv owner_password OWNER_PASSWORD
\getenv service_password SERVICE_PASSWORD
ALTER ROLE optin_owner PASSWORD :'owner_password';
ALTER ROLE optin_service PASSWORD :'service_password';
