"""A number that its owner closed to strangers: a kind of send control."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0043_rehearsals"),
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
                    ("not_me", "Closed to strangers by its owner"),
                ],
                max_length=8,
            ),
        ),
    ]
