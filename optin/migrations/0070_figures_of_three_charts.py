"""Count only what the three charts show: conversion, spend and locks.

The release before may still write what was counted for others, so its columns and tables stay for
now. What was counted for others goes when its day is past ``OPTIN_AUDIT_RETENTION``.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0069_no_audit_stream")]

    operations = [
        migrations.AlterField(
            "factorcount",
            "file",
            models.ForeignKey(
                "optin.File", models.CASCADE, related_name="factor_counts", db_constraint=False
            ),
        ),
        migrations.AlterField(
            "figure", "verified", models.PositiveBigIntegerField(default=0, db_default=0)
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.DeleteModel("FactorCount"),
                migrations.RemoveField("figure", "verified"),
                migrations.RemoveIndex("sendcounter", "send_counter_of_prefixes"),
                migrations.RemoveIndex("sendcounter", "send_counter_of_regions"),
            ]
        ),
    ]
