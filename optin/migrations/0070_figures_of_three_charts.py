"""Count only what the three charts show: conversion, spend and locks.

What was counted for others goes when its day is past ``OPTIN_AUDIT_RETENTION``.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("optin", "0069_no_audit_stream")]

    operations = [
        migrations.DeleteModel("FactorCount"),
        migrations.RemoveField("figure", "verified"),
        migrations.RemoveIndex("sendcounter", "send_counter_of_prefixes"),
        migrations.RemoveIndex("sendcounter", "send_counter_of_regions"),
    ]
