"""Each thing that staff filter events by has an index of its own."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0012_figures"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="auditevent",
            name="audit_event_by_rare_kind",
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="audit_event_by_rare_outcome",
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="audit_event_by_staff_face",
        ),
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
    ]
