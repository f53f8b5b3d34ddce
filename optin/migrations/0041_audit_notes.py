"""What was given to a notary."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0040_two_codes"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditNote",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("place", models.CharField(max_length=300)),
                ("seals", models.PositiveBigIntegerField()),
                ("last_id", models.BigIntegerField()),
                ("line", models.CharField(max_length=600)),
                (
                    "stamp",
                    models.TextField(
                        blank=True, help_text="The answer of the authority, in base64."
                    ),
                ),
                ("at", models.DateTimeField()),
            ],
        ),
        migrations.AddConstraint(
            model_name="auditnote",
            constraint=models.UniqueConstraint(
                fields=("place", "seals"), name="audit_note_once_to_each_place"
            ),
        ),
        migrations.AddConstraint(
            model_name="auditnote",
            constraint=models.CheckConstraint(
                condition=models.Q(("seals__gt", 0)), name="audit_note_tells_of_a_seal"
            ),
        ),
    ]
