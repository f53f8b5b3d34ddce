"""On which server the database lives, wrong codes by programs, and where the first of two codes
was entered."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0047_trusted_clients")]

    operations = [
        migrations.AddField(
            model_name="canary",
            name="home",
            field=models.CharField(blank=True, db_default="", default="", max_length=48),
        ),
        migrations.AddField(
            model_name="authenticatorapp",
            name="first_at",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
        migrations.AddField(
            model_name="user",
            name="program_disabled_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="user",
            name="program_failures",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="user",
            name="program_locked_until",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
