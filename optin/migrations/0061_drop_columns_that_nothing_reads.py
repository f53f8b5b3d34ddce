"""Drop the columns that 0057 took out of the models. Going back gives only columns without values.

The table of ``AuditNote`` stays for 0.23.0. The first migration after 0.24.0 drops it.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("optin", "0060_drop_what_nothing_reads")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    [
                        'ALTER TABLE "optin_auditnote" DROP COLUMN "stamp"',
                        'ALTER TABLE "optin_webhookendpoint" DROP COLUMN "slow"',
                    ],
                    [
                        'ALTER TABLE "optin_auditnote" ADD COLUMN "stamp" text',
                        'ALTER TABLE "optin_webhookendpoint" ADD COLUMN "slow" boolean',
                    ],
                ),
            ],
            state_operations=[migrations.DeleteModel("AuditNote")],
        )
    ]
