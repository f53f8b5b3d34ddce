"""Drop the tables that 0057 took out of the models. Going back gives only empty ones."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("optin", "0059_of_one_file")]

    operations = [
        migrations.RunSQL(
            ['DROP TABLE "optin_rehearsal"', 'DROP TABLE "optin_webhookrepeat"'],
            [
                'CREATE TABLE "optin_rehearsal" ("id" bigint)',
                'CREATE TABLE "optin_webhookrepeat" ("id" bigint)',
            ],
        )
    ]
