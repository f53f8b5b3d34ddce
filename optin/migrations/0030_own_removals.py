"""People ask for the removal of their second factors themselves, and texts tell of it.

A text's field for the number that it is news to has a new name. Its column keeps the old one, which
the last release reads, and so the constraint in the database is the same.
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0029_email_changes"),
    ]

    operations = [
        migrations.AddField(
            model_name="revocation",
            name="told_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="smsmessage",
            name="about_id",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveConstraint(
                    model_name="smsmessage", name="sms_message_is_a_code_or_a_farewell"
                ),
                migrations.RenameField(
                    model_name="smsmessage", old_name="replaced", new_name="news_to"
                ),
                migrations.AlterField(
                    model_name="smsmessage",
                    name="news_to",
                    field=models.ForeignKey(
                        blank=True,
                        db_column="replaced_id",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="news",
                        to="optin.provideruser",
                    ),
                ),
                migrations.AddConstraint(
                    model_name="smsmessage",
                    constraint=models.CheckConstraint(
                        condition=models.Q(pending_otp__isnull=False, news_to__isnull=True)
                        | models.Q(pending_otp__isnull=True, news_to__isnull=False),
                        name="sms_message_is_a_code_or_a_farewell",
                    ),
                ),
            ]
        ),
        migrations.AlterField(
            model_name="revocation",
            name="closed_as",
            field=models.CharField(
                blank=True,
                choices=[
                    ("cancelled", "Cancelled by the person"),
                    ("withdrawn", "Withdrawn by staff"),
                    ("done", "Carried out"),
                    ("out_of_reach", "Who asked for it may not do it any more"),
                    ("deactivated", "The account is deactivated"),
                    ("untold", "No mail, or no text, about it left in time"),
                    ("set_up_since", "A second factor was set up since"),
                    ("nothing", "There was nothing to remove"),
                    ("signed_in", "The person has verified a second factor since"),
                    ("switched_off", "People may not ask for it any more"),
                    ("secured", "The account was secured"),
                    ("restored", "The database was restored from a backup"),
                    ("replaced", "Support was asked for one that is due sooner"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="notice",
            name="kind",
            field=models.CharField(
                choices=[
                    ("activated", "Two-factor sign-in was turned on"),
                    ("released", "The mobile number was removed"),
                    ("revoked", "Staff removed the mobile number"),
                    ("locked", "Codes are refused for a while"),
                    ("disabled", "Codes by text message were disabled"),
                    ("suspended", "Staff suspended the mobile number"),
                    ("resumed", "Staff ended the suspension"),
                    ("unlocked", "Staff unlocked the account"),
                    ("number_claimed", "Somebody else verified this number"),
                    ("changed", "The mobile number was changed"),
                    ("app_added", "An authenticator app was added"),
                    ("app_removed", "The authenticator app was removed"),
                    ("recovery_codes", "New recovery codes were made"),
                    ("recovered", "A recovery code was used"),
                    ("password", "The password was changed"),
                    ("password_reset", "A new password was asked for"),
                    ("disowned", "A change was taken back"),
                    ("no_texts", "STOP came from the mobile number"),
                    ("revoke_planned", "Staff will remove all second factors"),
                    ("revoke_off", "The removal of all second factors was called off"),
                    ("own_removal", "All second factors will be removed, as asked at sign-in"),
                    ("own_removal_off", "The removal asked for at sign-in was called off"),
                    ("own_removed", "All second factors were removed, as asked at sign-in"),
                    ("key_made", "An access key was made"),
                    ("key_revoked", "An access key was revoked"),
                    ("role", "The role as a member of staff was changed"),
                    ("email_prove", "A new e-mail address is to be confirmed"),
                    ("email_asked", "A new e-mail address was asked for"),
                    ("email_changed", "The e-mail address was changed"),
                    ("email_off", "The e-mail address was not changed"),
                ],
                max_length=16,
            ),
        ),
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
                ],
                max_length=16,
            ),
        ),
    ]
