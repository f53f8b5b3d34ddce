"""Drop what the models of the last release no longer had."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("optin", "0059_of_one_file")]

    operations = [
        migrations.RunSQL(
            [
                'DROP TABLE "optin_rehearsal"',
                'DROP TABLE "optin_webhookrepeat"',
                'ALTER TABLE "optin_auditnote" DROP COLUMN "stamp"',
                'ALTER TABLE "optin_webhookendpoint" DROP COLUMN "slow"',
            ]
        )
    ]
