"""The canary has no home.

The column stays for now: the release before reads it while servers are upgraded one by one.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("optin", "0070_figures_of_three_charts")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.RemoveField("canary", "home")]
        ),
    ]
