"""What providers said about the SIMs of numbers, kept for a day."""

from django.db import migrations, models

from optin.migrations._tables import table


class Migration(migrations.Migration):
    dependencies = [("optin", "0067_passkeys")]

    operations = [
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
            let_through_until=models.DateTimeField(blank=True, null=True),
            options={"default_permissions": ()},
        )
    ]
