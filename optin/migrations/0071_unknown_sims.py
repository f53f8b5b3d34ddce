from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0070_host_of_passkeys")]

    operations = [
        migrations.AddField("simanswer", "is_known", models.BooleanField(default=True)),
    ]
