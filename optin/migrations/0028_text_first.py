"""Whether the sign-in page texts a code at once, though there is an authenticator app."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0027_session_owners"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="text_first",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
