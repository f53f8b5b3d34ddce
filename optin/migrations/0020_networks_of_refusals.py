"""A count of refusals knows whether they came from one network."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0019_withheld_texts")]

    operations = [
        migrations.AddField(
            model_name="refusalcount",
            name="network",
            field=models.CharField(blank=True, db_default="", default="", max_length=43),
        ),
    ]
