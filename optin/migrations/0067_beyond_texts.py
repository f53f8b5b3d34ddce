"""Passkeys, what is known of SIMs, and the day on which texts end in a file."""

from django.conf import settings
from django.db import migrations, models

from optin.migrations._tables import table


class Migration(migrations.Migration):
    dependencies = [("optin", "0066_index_of_skipped_events")]

    operations = [
        migrations.AddField(
            "user", "passkey_challenge_at", models.DateTimeField(blank=True, null=True)
        ),
        table(
            "Passkey",
            name=models.CharField(max_length=40),
            confirmed=models.BooleanField(default=True, help_text="Is this device ready for use?"),
            rp_id=models.CharField(max_length=253),
            credential_id=models.CharField(max_length=1364, unique=True),
            public_key=models.TextField(),
            sign_count=models.PositiveBigIntegerField(),
            can_be_backed_up=models.BooleanField(),
            is_backed_up=models.BooleanField(),
            transports=models.CharField(blank=True, max_length=100),
            created_at=models.DateTimeField(),
            last_used_at=models.DateTimeField(blank=True, null=True),
            user=models.ForeignKey(
                settings.AUTH_USER_MODEL, models.CASCADE, related_name="passkeys"
            ),
        ),
        table(
            "SimAnswer",
            number=models.OneToOneField(
                "optin.ProviderUser",
                models.CASCADE,
                primary_key=True,
                related_name="sim_answer",
                serialize=False,
            ),
            asked_at=models.DateTimeField(),
            swapped_until=models.DateTimeField(),
            is_known=models.BooleanField(default=True),
            let_through_until=models.DateTimeField(blank=True, null=True),
            options={"default_permissions": ()},
        ),
        migrations.AddField("file", "texts_end_on", models.DateField(blank=True, null=True)),
        table(
            "FactorCount",
            file=models.ForeignKey("optin.File", models.CASCADE, related_name="factor_counts"),
            day=models.DateField(),
            texts=models.PositiveIntegerField(default=0),
            app=models.PositiveIntegerField(default=0),
            passkey=models.PositiveIntegerField(default=0),
            several=models.PositiveIntegerField(default=0),
            none=models.PositiveIntegerField(default=0),
            options={"default_permissions": ()},
            constraints=[
                models.UniqueConstraint(fields=["day", "file"], name="factor_count_one_a_day")
            ],
        ),
    ]
