from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0069_texts_end")]

    operations = [
        migrations.AddField(
            "passkey",
            "rp_id",
            models.CharField(max_length=253, default=""),  # no release has made any
            preserve_default=False,
        ),
    ]
