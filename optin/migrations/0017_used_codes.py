"""Authorization codes that were used, so that a second use is noticed (RFC 6749, 4.1.2)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0016_known_networks"),
    ]

    operations = [
        migrations.CreateModel(
            name="UsedCode",
            fields=[
                ("digest", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("code_challenge", models.CharField(max_length=128)),
                ("token_family", models.UUIDField()),
                ("used_at", models.DateTimeField(db_index=True)),
            ],
        ),
    ]
