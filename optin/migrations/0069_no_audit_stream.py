"""The audit stream. The release before may still write to its table, which so stays for now."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("optin", "0068_one_table_for_the_trail")]
    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.DeleteModel("AuditStream")]
        )
    ]
