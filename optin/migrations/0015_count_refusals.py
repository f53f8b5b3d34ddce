"""Equal refusals that change nothing are counted, so that they do not fill the audit trail."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0014_renewals"),
    ]

    operations = [
        migrations.CreateModel(
            name="RefusalCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=64)),
                ("ends_at", models.DateTimeField()),
                ("kind", models.CharField(max_length=16)),
                ("outcome", models.CharField(max_length=32)),
                ("user_id", models.BigIntegerField(null=True)),
                ("last", models.JSONField()),
                ("count", models.PositiveBigIntegerField(default=1)),
                ("told", models.PositiveBigIntegerField(default=1)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        condition=models.Q(("count__gt", models.F("told"))),
                        fields=["ends_at"],
                        name="refusal_count_untold",
                    ),
                    models.Index(fields=["user_id", "-last_at"], name="refusal_count_by_user"),
                    models.Index(fields=["first_at"], name="refusal_count_by_time"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("key", "ends_at"), name="refusal_count_one_per_window"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("count__gte", models.F("told"))),
                        name="refusal_count_tells_no_more_than_it_has",
                    ),
                ],
            },
        ),
    ]
