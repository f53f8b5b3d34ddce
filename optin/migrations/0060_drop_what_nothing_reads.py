"""Drop what 0057 took out of the models. Going back gives only what is dropped again.

The table of the notary stays for the release before.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("optin", "0059_of_one_file")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    [
                        'DROP TABLE "optin_rehearsal"',
                        'DROP TABLE "optin_webhookrepeat"',
                        'ALTER TABLE "optin_auditnote" DROP COLUMN "stamp"',
                        'ALTER TABLE "optin_webhookendpoint" DROP COLUMN "slow"',
                    ],
                    [
                        'CREATE TABLE "optin_rehearsal" ("id" bigint)',
                        'CREATE TABLE "optin_webhookrepeat" ("id" bigint)',
                        'ALTER TABLE "optin_auditnote" ADD COLUMN "stamp" text',
                        'ALTER TABLE "optin_webhookendpoint" ADD COLUMN "slow" boolean',
                    ],
                ),
            ],
            state_operations=[migrations.DeleteModel("AuditNote")],
        )
    ]
