"""Names of lists, as staff read them. Nothing in the database changes."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("optin", "0062_names_of_access_keys")]

    operations = [
        migrations.AlterModelOptions("gatewayhealth", {"verbose_name": "gateway"}),
        migrations.AlterModelOptions("membership", {"verbose_name": "member"}),
        migrations.AlterModelOptions("notice", {"verbose_name": "email"}),
    ]
