"""Who was named by an application of one file, and what an application ended."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0058_proved_email")]

    operations = [
        migrations.AddField(
            "user",
            "named_for_one_file",
            models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            "scimend",
            "of_account",
            models.BooleanField(db_default=False, default=False),
        ),
        migrations.AlterField(
            "scimclient",
            "file",
            models.ForeignKey(
                "optin.file",
                django.db.models.deletion.PROTECT,
                blank=True,
                null=True,
                related_name="+",
            ),
        ),
    ]
