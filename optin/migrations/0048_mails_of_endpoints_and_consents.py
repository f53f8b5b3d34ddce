"""Mails about webhook endpoints and consents, and endpoints that "that was not me" switched off."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0047_trusted_clients"),
    ]

    operations = [
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
                    ("secured", "Everybody else was signed out"),
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
                    ("endpoint_off", "A webhook endpoint was switched off"),
                    ("endpoint_added", "A webhook endpoint was added, or its address changed"),
                    ("consent", "An application was allowed to act for the account"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="webhookendpoint",
            name="off_why",
            field=models.CharField(
                blank=True,
                choices=[
                    ("staff", "switched off by staff"),
                    ("member", "switched off by a member of the file"),
                    ("failing", "switched off: all attempts failed"),
                    ("not_me", "switched off: whoever answers for it said “that was not me”"),
                ],
                max_length=8,
            ),
        ),
    ]
