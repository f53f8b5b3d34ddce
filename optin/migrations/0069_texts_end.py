"""The day on which texts end in a file, and daily counts of second factors."""

from django.db import migrations, models

from optin.migrations._tables import table


class Migration(migrations.Migration):
    dependencies = [("optin", "0068_sim_answers")]

    operations = [
        migrations.AddField("file", "texts_end_on", models.DateField(blank=True, null=True)),
        table(
            "FactorCount",
            file=models.ForeignKey("optin.File", models.CASCADE, related_name="factor_counts"),
            day=models.DateField(),
            texts=models.PositiveIntegerField(default=0),
            app=models.PositiveIntegerField(default=0),
            passkey=models.PositiveIntegerField(default=0),
            several=models.PositiveIntegerField(default=0),
            none=models.PositiveIntegerField(default=0),
            options={"default_permissions": ()},
            constraints=[
                models.UniqueConstraint(fields=["day", "file"], name="factor_count_one_a_day")
            ],
        ),
    ]
