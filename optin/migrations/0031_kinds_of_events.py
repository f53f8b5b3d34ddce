"""Two kinds of events. No table changes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0030_own_removals"),
    ]

    operations = [
        migrations.AlterField(
            model_name="auditevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("opt_in", "Opt-in: text asked for"),
                    ("verify_opt_in", "Opt-in: code entered"),
                    ("challenge", "Text asked for"),
                    ("check", "Code entered"),
                    ("opt_out", "Opt-out: code entered"),
                    ("sign_in", "Signed in with a password"),
                    ("refresh", "Token refreshed"),
                    ("token", "Token given at /o/token/"),
                    ("access", "Access refused"),
                    ("suspend", "Suspended by staff"),
                    ("resume", "Suspension ended by staff"),
                    ("unlock", "Unlocked by staff"),
                    ("revoke", "All second factors removed by staff, or as asked at sign-in"),
                    ("file", "File"),
                    ("member", "Member of a file"),
                    ("access_key", "Access key"),
                    ("password_clients", "Sign-in by password for clients without an id"),
                    ("keys", "Keys"),
                    ("purge", "Old rows deleted"),
                    ("erase", "Person erased"),
                    ("password", "Password"),
                    ("app", "Authenticator app"),
                    ("recovery_codes", "Recovery codes"),
                    ("disown", "This was not me"),
                    ("consent", "Application allowed to act"),
                    ("stop", "All texts stopped, or allowed again, by staff"),
                    ("breaker", "Closed prefix opened by staff"),
                    ("deny", "Deny list"),
                    ("safe", "Safe list"),
                    ("no_texts", "Texts to a number stopped by its owner, or allowed again"),
                    ("resend", "Text sent again by staff"),
                    ("reveal", "Number seen in full by staff"),
                    ("role", "Role of staff"),
                    ("export", "Audit events handed out as a file"),
                    ("application", "OAuth application"),
                    ("search", "Full number searched by staff"),
                    ("revocation", "Removal after a while: asked for, or called off"),
                    ("restore", "Database restored from a backup"),
                    ("session", "Signed out somewhere else"),
                    ("email", "E-mail address"),
                    ("person", "Account made, deactivated or activated by an operator"),
                    ("test_text", "Test text sent by an operator"),
                ],
                max_length=16,
            ),
        ),
    ]
