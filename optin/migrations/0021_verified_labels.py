"""Labels say verified, as all pages do. No column changes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0020_networks_of_refusals"),
    ]

    operations = [
        migrations.AlterField(
            model_name="guard",
            name="kind",
            field=models.CharField(
                choices=[
                    ("stop", "No text leaves"),
                    ("breaker", "Closed to opt-ins: too few are verified"),
                    ("lift", "Opened by staff"),
                    ("deny", "No opt-in"),
                    ("safe", "Not subject to breakers"),
                    ("no_texts", "The person answered STOP"),
                ],
                max_length=8,
            ),
        ),
        migrations.AlterField(
            model_name="guard",
            name="unproved",
            field=models.PositiveIntegerField(default=0, verbose_name="unverified"),
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
                    ("key_made", "An access key was made"),
                    ("key_revoked", "An access key was revoked"),
                    ("role", "The role as a member of staff was changed"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="pendingotp",
            name="closed_as",
            field=models.CharField(
                blank=True,
                choices=[
                    ("proved", "Verified"),
                    ("superseded", "A newer code took its place"),
                    ("released", "The number was released"),
                    ("other_proved", "Another number was verified"),
                ],
                max_length=12,
            ),
        ),
    ]
