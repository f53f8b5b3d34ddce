"""What staff filter lists by has an index of its own, in the order of the lists."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("optin", "0012_figures"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                condition=models.Q(
                    ("user_id__isnull", True), models.Q(("number_digest", ""), _negated=True)
                ),
                fields=["number_digest", "-id"],
                name="audit_event_by_lone_number",
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["kind", "-id"], name="audit_event_by_kind"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["outcome", "-id"], name="audit_event_by_outcome"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["face", "-id"], name="audit_event_by_face"),
        ),
        migrations.AddIndex(
            model_name="notice",
            index=models.Index(
                condition=models.Q(("state__in", ["failed", "expired"])),
                fields=["state", "-id"],
                name="notice_not_sent",
            ),
        ),
        migrations.AddIndex(
            model_name="provideruser",
            index=models.Index(
                condition=models.Q(("suspended_at__isnull", False)),
                fields=["-id"],
                name="provider_user_suspended",
            ),
        ),
        migrations.AddIndex(
            model_name="smsmessage",
            index=models.Index(
                condition=models.Q(("state__in", ["failed", "expired"])),
                fields=["state", "-id"],
                name="sms_message_not_sent",
            ),
        ),
        migrations.AddIndex(
            model_name="user",
            index=models.Index(
                condition=models.Q(("is_staff", True)), fields=["-id"], name="user_who_is_staff"
            ),
        ),
    ]
