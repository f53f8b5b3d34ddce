"""The canary of the keys, and the kinds of events that upkeep leaves."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("optin", "0004_audit_seals")]
    operations = [
        migrations.CreateModel(
            name="Canary",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False),
                ),
                ("sealed", models.TextField()),
                ("digest", models.CharField(max_length=64)),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=Q(id=1), name="canary_is_one")]
            },
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
                    ("revoke", "Number removed by staff"),
                    ("file", "File"),
                    ("member", "Member of a file"),
                    ("access_key", "Access key"),
                    ("password_clients", "Sign-in by password for clients without an id"),
                    ("keys", "Keys"),
                    ("purge", "Old rows deleted"),
                    ("erase", "Person erased"),
                ],
                max_length=16,
            ),
        ),
    ]
