"""The last rehearsal of each attack."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0042_references"),
    ]

    operations = [
        migrations.CreateModel(
            name="Rehearsal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("attack", models.CharField(max_length=20, unique=True)),
                ("at", models.DateTimeField()),
                ("is_short", models.BooleanField()),
                ("bounds", models.JSONField()),
                ("settings", models.JSONField()),
            ],
        ),
    ]
