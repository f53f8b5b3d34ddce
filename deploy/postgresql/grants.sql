REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO optin_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO optin_service;
-- For the jobs of workers.
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO optin_service;

-- The service reads the list of migrations. Only the owner writes it.
REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM optin_service;

-- The audit trail: read and add. Old events are purged by the owner.
REVOKE UPDATE, DELETE ON optin_auditevent, optin_auditseal FROM optin_service;
