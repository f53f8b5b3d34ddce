"""Figures of texts that limits which only observe would have refused."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0044_not_me"),
    ]

    operations = [
        migrations.AlterField(
            model_name="figure",
            name="what",
            field=models.CharField(
                choices=[
                    ("opt_in", "Opt-ins, by what became of them"),
                    ("text", "Texts, by state"),
                    ("budget", "Texts that count for the budget of all"),
                    ("file", "Texts that count for the budget of a file, by its id"),
                    ("country", "Texts of opt-ins, by country"),
                    ("prefix", "Texts of opt-ins, by prefix"),
                    ("gateway", "Texts of opt-ins, by gateway"),
                    ("lock", "Locks and disablings"),
                    ("refused", "Requests for a text that a limit refused"),
                    (
                        "observed",
                        "Texts that an observed limit would have refused, by its setting",
                    ),
                ],
                max_length=8,
            ),
        ),
    ]
