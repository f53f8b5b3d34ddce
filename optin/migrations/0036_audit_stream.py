"""How far the audit stream has come: one row."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0035_sandbox"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditStream",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False),
                ),
                ("event", models.BigIntegerField()),
                ("seal", models.BigIntegerField()),
                ("last_event", models.BigIntegerField()),
                ("last_seal", models.BigIntegerField()),
                ("mark", models.CharField(blank=True, max_length=80)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("fault", models.CharField(blank=True, max_length=200)),
            ],
            options={"verbose_name": "audit stream"},
        ),
        migrations.AddConstraint(
            model_name="auditstream",
            constraint=models.CheckConstraint(
                condition=models.Q(("id", 1)), name="audit_stream_is_one"
            ),
        ),
    ]
