"""Names of access keys. The table of ``AuditNote``, which 0061 took out of the models, goes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0061_drop_columns_that_nothing_reads")]

    operations = [
        migrations.AddField(
            "accesskey",
            "name",
            models.CharField(blank=True, db_default="", default="", max_length=60),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    'DROP TABLE "optin_auditnote"', 'CREATE TABLE "optin_auditnote" ("id" bigint)'
                )
            ]
        ),
    ]
