"""The tables of 0.25.0, from which one can upgrade."""

import django.core.validators
from django.conf import settings
from django.db import migrations, models
from django.db.models import (
    CASCADE,
    PROTECT,
    SET_NULL,
    CheckConstraint,
    F,
    Index,
    Q,
    UniqueConstraint,
)

from optin.migrations._tables import Together, table

USER = settings.AUTH_USER_MODEL
APPLICATION = settings.OAUTH2_PROVIDER_APPLICATION_MODEL

TABLES = [
    table(
        "GatewayHealth",
        gateway=models.CharField(max_length=32, unique=True),
        failures=models.PositiveIntegerField(default=0),
        tripped_until=models.DateTimeField(blank=True, null=True),
        options={"verbose_name": "gateway"},
    ),
    table(
        "UsedCode",
        digest=models.CharField(max_length=64, primary_key=True, serialize=False),
        code_challenge=models.CharField(max_length=128),
        token_family=models.UUIDField(),
        used_at=models.DateTimeField(db_index=True),
    ),
    table(
        "AuditEvent",
        at=models.DateTimeField(),
        kind=models.CharField(max_length=16),
        outcome=models.CharField(max_length=32),
        face=models.CharField(max_length=8),
        actor_id=models.BigIntegerField(null=True),
        user_id=models.BigIntegerField(null=True),
        other_user_id=models.BigIntegerField(null=True),
        file_id=models.BigIntegerField(null=True),
        provider_user_id=models.BigIntegerField(null=True),
        number_digest=models.CharField(blank=True, max_length=64),
        last_three=models.CharField(blank=True, max_length=3),
        client=models.CharField(blank=True, max_length=32),
        ip=models.GenericIPAddressField(null=True),
        user_agent=models.CharField(blank=True, max_length=200),
        request_id=models.CharField(blank=True, max_length=36),
        reason=models.CharField(blank=True, max_length=500),
        data=models.JSONField(default=dict),
        key_id=models.CharField(max_length=8),
        digest=models.CharField(max_length=64),
        previous=models.CharField(max_length=36, null=True),
        indexes=[
            Index(fields=["user_id", "-id"], name="audit_event_by_user"),
            Index(fields=["-at", "-id"], name="audit_event_by_time"),
            Index(
                condition=~Q(number_digest=""),
                fields=["number_digest", "-id"],
                name="audit_event_by_number",
            ),
            Index(
                condition=Q(other_user_id__isnull=False),
                fields=["other_user_id", "-id"],
                name="audit_event_by_other_user",
            ),
            Index(
                condition=Q(file_id__isnull=False),
                fields=["file_id", "-id"],
                name="audit_event_by_file",
            ),
            Index(
                condition=Q(user_id__isnull=True) & ~Q(number_digest=""),
                fields=["number_digest", "-id"],
                name="audit_event_by_lone_number",
            ),
            Index(fields=["kind", "-id"], name="audit_event_by_kind"),
            Index(fields=["outcome", "-id"], name="audit_event_by_outcome"),
            Index(fields=["face", "-id"], name="audit_event_by_face"),
        ],
        constraints=[
            UniqueConstraint(
                condition=Q(previous__isnull=False),
                fields=("previous",),
                name="audit_event_follows_another_alone",
            )
        ],
        options={"permissions": [("export_events", "Can take audit events away as a file")]},
    ),
    table(
        "AuditSeal",
        first_id=models.BigIntegerField(),
        last_id=models.BigIntegerField(),
        count=models.PositiveIntegerField(),
        digest=models.CharField(help_text="SHA-256 over the digests of the events.", max_length=64),
        at=models.DateTimeField(help_text="When the seal was made."),
        key_id=models.CharField(max_length=8),
        proof=models.CharField(help_text="Keyed digest of all that the seal says.", max_length=64),
        constraints=[
            UniqueConstraint(fields=("first_id",), name="audit_seal_one_from_each_start"),
            CheckConstraint(
                condition=Q(last_id__gte=F("first_id")), name="audit_seal_ends_after_its_start"
            ),
            CheckConstraint(condition=Q(count__gt=0), name="audit_seal_holds_an_event"),
        ],
    ),
    table(
        "AuditStream",
        id=models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False),
        event=models.BigIntegerField(),
        seal=models.BigIntegerField(),
        last_event=models.BigIntegerField(),
        last_seal=models.BigIntegerField(),
        mark=models.CharField(blank=True, max_length=80),
        failures=models.PositiveIntegerField(default=0),
        fault=models.CharField(blank=True, max_length=200),
        constraints=[CheckConstraint(condition=Q(id=1), name="audit_stream_is_one")],
        options={"verbose_name": "audit stream"},
    ),
    table(
        "AuthenticatorApp",
        name=models.CharField(help_text="The human-readable name of this device.", max_length=64),
        confirmed=models.BooleanField(default=False),
        secret_encrypted=models.TextField(),
        last_step=models.BigIntegerField(default=0),
        begun_by=models.CharField(blank=True, max_length=64),
        created_at=models.DateTimeField(),
        verified_at=models.DateTimeField(blank=True, null=True),
        user=models.ForeignKey(USER, CASCADE, related_name="authenticator_apps"),
        first_step=models.BigIntegerField(db_default=0, default=0),
        first_at=models.CharField(blank=True, db_default="", default="", max_length=64),
        constraints=[
            UniqueConstraint(
                fields=("user", "confirmed"), name="authenticator_app_one_active_one_waiting"
            ),
            CheckConstraint(
                condition=Q(confirmed=True, verified_at__isnull=False)
                | Q(confirmed=False, verified_at__isnull=True),
                name="authenticator_app_active_is_proved",
            ),
        ],
    ),
    table(
        "Canary",
        id=models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False),
        sealed=models.TextField(),
        digest=models.CharField(max_length=64),
        home=models.CharField(blank=True, db_default="", default="", max_length=48),
        constraints=[CheckConstraint(condition=Q(id=1), name="canary_is_one")],
    ),
    table(
        "EmailChange",
        old_address=models.EmailField(blank=True, max_length=254),
        new_address=models.EmailField(max_length=254),
        asked_at=models.DateTimeField(),
        proved_at=models.DateTimeField(null=True),
        due_at=models.DateTimeField(null=True),
        closed_at=models.DateTimeField(null=True),
        closed_as=models.CharField(blank=True, max_length=16),
        user=models.ForeignKey(USER, CASCADE, related_name="email_changes"),
        indexes=[
            Index(
                condition=Q(closed_at=None, due_at__isnull=False),
                fields=["due_at"],
                name="email_change_waiting",
            )
        ],
        constraints=[
            UniqueConstraint(
                condition=Q(closed_at=None), fields=("user",), name="email_change_one_open_per_user"
            ),
            CheckConstraint(
                condition=Q(closed_as="", closed_at=None)
                | Q(closed_at__isnull=False) & ~Q(closed_as=""),
                name="email_change_closed_says_how",
            ),
            CheckConstraint(
                condition=Q(due_at=None, proved_at=None)
                | Q(due_at__gte=F("proved_at"), proved_at__isnull=False),
                name="email_change_is_due_once_proved",
            ),
        ],
    ),
    table(
        "File",
        id=models.PositiveIntegerField(
            primary_key=True,
            serialize=False,
            validators=[
                django.core.validators.MinValueValidator(1),
                django.core.validators.MaxValueValidator(2147483647),
            ],
        ),
        name=models.CharField(max_length=200),
        active=models.BooleanField(default=True),
        webhook_sequence=models.BigIntegerField(db_default=0, default=0),
        external_id=models.CharField(blank=True, db_default="", default="", max_length=255),
        is_sandbox=models.BooleanField(db_default=False, default=False, verbose_name="sandbox"),
        constraints=[
            CheckConstraint(condition=Q(id__gte=1, id__lte=2147483647), name="file_id_in_range")
        ],
        options={
            "permissions": [
                ("manage_tenants", "Can make files, members, access keys and OAuth applications")
            ]
        },
    ),
    table(
        "AccessKey",
        digest=models.CharField(max_length=64, unique=True),
        prefix=models.CharField(max_length=6),
        created_at=models.DateTimeField(),
        last_used_at=models.DateTimeField(blank=True, null=True),
        revoked_at=models.DateTimeField(blank=True, null=True),
        user=models.ForeignKey(USER, CASCADE, related_name="access_keys"),
        file=models.ForeignKey("optin.file", CASCADE, related_name="access_keys"),
        name=models.CharField(blank=True, db_default="", default="", max_length=60),
    ),
    table(
        "Guard",
        kind=models.CharField(max_length=8),
        covers=models.CharField(max_length=8),
        key=models.CharField(blank=True, max_length=64),
        last_three=models.CharField(blank=True, max_length=3),
        region=models.CharField(blank=True, max_length=3),
        reason=models.CharField(blank=True, max_length=500),
        made_at=models.DateTimeField(),
        until=models.DateTimeField(blank=True, null=True),
        unverified=models.PositiveIntegerField(default=0),
        constraints=[
            UniqueConstraint(fields=("key", "kind"), name="guard_one_of_a_kind"),
            CheckConstraint(
                condition=Q(covers="all", key="", kind="stop")
                | Q(covers="number") & Q(kind="no_texts") & Q(until__isnull=True) & ~Q(key="")
                | ~Q(kind__in=["stop", "no_texts"])
                & Q(until__isnull=False)
                & ~Q(covers="all")
                & ~Q(key=""),
                name="guard_ends_but_for_the_stops",
            ),
        ],
        options={
            "permissions": [
                ("manage_guards", "Can stop all texts, keep the lists, and open prefixes")
            ],
            "verbose_name": "stop or list entry",
            "verbose_name_plural": "stops and lists",
        },
    ),
    table(
        "KnownNetwork",
        digest=models.CharField(max_length=64),
        last_used_at=models.DateTimeField(db_index=True),
        user=models.ForeignKey(USER, CASCADE, db_index=False, related_name="known_networks"),
        constraints=[
            UniqueConstraint(fields=("user", "digest"), name="known_network_once_for_each_user")
        ],
    ),
    table(
        "Membership",
        active=models.BooleanField(default=True),
        file=models.ForeignKey("optin.file", CASCADE, related_name="memberships"),
        user=models.ForeignKey(USER, CASCADE, related_name="memberships"),
        manages=models.BooleanField(db_default=False, default=False),
        constraints=[UniqueConstraint(fields=("user", "file"), name="membership_unique")],
        options={"verbose_name": "member"},
    ),
    table(
        "Notice",
        state=models.CharField(default="queued", max_length=9),
        tries=models.PositiveSmallIntegerField(default=0),
        reason=models.CharField(blank=True, max_length=200),
        created_at=models.DateTimeField(),
        claimed_at=models.DateTimeField(blank=True, null=True),
        sent_at=models.DateTimeField(blank=True, null=True),
        kind=models.CharField(max_length=16),
        last_three=models.CharField(blank=True, max_length=3),
        user=models.ForeignKey(USER, CASCADE, related_name="notices"),
        about_id=models.BigIntegerField(blank=True, null=True),
        disowned_at=models.DateTimeField(blank=True, null=True),
        language=models.CharField(blank=True, max_length=8),
        unknown_attempts=models.PositiveSmallIntegerField(default=0),
        indexes=[
            Index(
                condition=Q(state__in=["queued", "sending"]),
                fields=["created_at"],
                name="notice_waiting",
            ),
            Index(
                condition=Q(state__in=["failed", "expired"]),
                fields=["state", "-id"],
                name="notice_not_sent",
            ),
        ],
        options={"verbose_name": "email"},
    ),
    table(
        "ProviderUser",
        name=models.CharField(help_text="The human-readable name of this device.", max_length=64),
        id=models.AutoField(primary_key=True, serialize=False),
        confirmed=models.BooleanField(default=False),
        number_encrypted=models.TextField(),
        number_digest=models.CharField(max_length=64),
        last_three=models.CharField(max_length=3),
        created_at=models.DateTimeField(),
        verified_at=models.DateTimeField(blank=True, null=True),
        released_at=models.DateTimeField(blank=True, null=True),
        suspended_at=models.DateTimeField(blank=True, null=True),
        file=models.ForeignKey("optin.file", PROTECT, related_name="provider_users"),
        user=models.ForeignKey(USER, CASCADE, related_name="provider_users"),
        client_reference=models.CharField(blank=True, db_default="", default="", max_length=64),
        taken_over_at=models.DateTimeField(blank=True, null=True),
        taken_over_by=models.CharField(blank=True, db_default="", default="", max_length=64),
        indexes=[
            Index(fields=["number_digest"], name="provider_user_by_number"),
            Index(
                condition=Q(suspended_at__isnull=False),
                fields=["-id"],
                name="provider_user_suspended",
            ),
        ],
        constraints=[
            UniqueConstraint(
                fields=("user", "number_digest"), name="provider_user_one_row_per_number"
            ),
            UniqueConstraint(
                condition=Q(confirmed=True),
                fields=("user",),
                name="provider_user_one_active_per_user",
            ),
            UniqueConstraint(
                condition=Q(confirmed=True),
                fields=("number_digest",),
                name="provider_user_one_active_owner_per_number",
            ),
            CheckConstraint(
                condition=Q(confirmed=True, released_at__isnull=True, verified_at__isnull=False)
                | Q(confirmed=False, verified_at__isnull=True)
                | Q(confirmed=False, released_at__isnull=False),
                name="provider_user_active_is_proved_and_not_released",
            ),
            CheckConstraint(
                condition=Q(suspended_at__isnull=True) | Q(confirmed=True),
                name="provider_user_only_an_active_one_is_suspended",
            ),
        ],
        options={
            "permissions": [("reveal_number", "Can see a number in full")],
            "verbose_name": "mobile number",
        },
    ),
    table(
        "PendingOtp",
        purpose=models.CharField(max_length=8),
        nonce=models.CharField(max_length=40, unique=True),
        key_id=models.CharField(max_length=16),
        digits=models.PositiveSmallIntegerField(),
        tries=models.PositiveSmallIntegerField(default=0),
        issued_at=models.DateTimeField(),
        expires_at=models.DateTimeField(),
        closed_at=models.DateTimeField(blank=True, null=True),
        closed_as=models.CharField(blank=True, max_length=12),
        file=models.ForeignKey("optin.file", PROTECT, blank=True, null=True, related_name="+"),
        provider_user=models.ForeignKey("optin.provideruser", CASCADE, related_name="pending_otps"),
        indexes=[
            Index(condition=Q(purpose="opt_in"), fields=["issued_at"], name="pending_otp_opt_ins")
        ],
        constraints=[
            UniqueConstraint(
                condition=Q(closed_at__isnull=True),
                fields=("provider_user", "purpose"),
                name="pending_otp_one_open_per_purpose",
            ),
            CheckConstraint(
                condition=Q(expires_at__gt=F("issued_at")), name="pending_otp_expires_after_issue"
            ),
            CheckConstraint(
                condition=Q(closed_as="", closed_at__isnull=True)
                | Q(closed_at__isnull=False) & ~Q(closed_as=""),
                name="pending_otp_closed_for_a_reason",
            ),
        ],
        options={"verbose_name": "code"},
    ),
    table(
        "RecoveryCode",
        digest=models.CharField(max_length=64, unique=True),
        created_at=models.DateTimeField(),
        used_at=models.DateTimeField(blank=True, null=True),
        user=models.ForeignKey(USER, CASCADE, related_name="recovery_codes"),
    ),
    table(
        "RefusalCount",
        key=models.CharField(max_length=64),
        ends_at=models.DateTimeField(),
        kind=models.CharField(max_length=16),
        outcome=models.CharField(max_length=32),
        user_id=models.BigIntegerField(null=True),
        last=models.JSONField(),
        count=models.PositiveBigIntegerField(default=1),
        told=models.PositiveBigIntegerField(default=1),
        first_at=models.DateTimeField(),
        last_at=models.DateTimeField(),
        network=models.CharField(blank=True, db_default="", default="", max_length=43),
        recent=models.TextField(blank=True, db_default="", default=""),
        indexes=[
            Index(
                condition=Q(count__gt=F("told")), fields=["ends_at"], name="refusal_count_untold"
            ),
            Index(fields=["user_id", "-last_at"], name="refusal_count_by_user"),
            Index(fields=["first_at"], name="refusal_count_by_time"),
        ],
        constraints=[
            UniqueConstraint(fields=("key", "ends_at"), name="refusal_count_one_per_window"),
            CheckConstraint(
                condition=Q(count__gte=F("told")), name="refusal_count_tells_no_more_than_it_has"
            ),
        ],
        options={"default_permissions": ()},
    ),
    table(
        "Renewal",
        access_token=models.OneToOneField(
            settings.OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL, CASCADE, primary_key=True, serialize=False
        ),
        refresh_token=models.ForeignKey(
            settings.OAUTH2_PROVIDER_REFRESH_TOKEN_MODEL, CASCADE, related_name="renewals"
        ),
        options={"default_permissions": ()},
    ),
    table(
        "Revocation",
        actor_id=models.BigIntegerField(null=True),
        reason=models.CharField(max_length=500),
        asked_at=models.DateTimeField(),
        due_at=models.DateTimeField(),
        closed_at=models.DateTimeField(null=True),
        closed_as=models.CharField(blank=True, max_length=16),
        user=models.ForeignKey(USER, CASCADE, related_name="revocations"),
        told_at=models.DateTimeField(null=True),
        indexes=[Index(condition=Q(closed_at=None), fields=["due_at"], name="revocation_waiting")],
        constraints=[
            UniqueConstraint(
                condition=Q(closed_at=None), fields=("user",), name="revocation_one_open_per_user"
            ),
            CheckConstraint(
                condition=Q(closed_as="", closed_at=None)
                | Q(closed_at__isnull=False) & ~Q(closed_as=""),
                name="revocation_closed_says_how",
            ),
            CheckConstraint(
                condition=Q(due_at__gt=F("asked_at")), name="revocation_is_due_after_it_was_asked"
            ),
        ],
    ),
    table(
        "SendCounter",
        scope=models.CharField(max_length=40),
        key=models.CharField(max_length=64),
        window_start=models.DateTimeField(),
        count=models.PositiveIntegerField(),
        verified=models.PositiveIntegerField(db_default=0, default=0),
        constraints=[
            UniqueConstraint(
                fields=("scope", "key", "window_start"), name="send_counter_one_per_window"
            )
        ],
        indexes=[
            Index(
                condition=Q(scope__startswith="prefix/"),
                fields=["window_start"],
                name="send_counter_of_prefixes",
            ),
            Index(
                condition=Q(scope__startswith="region/"),
                fields=["window_start"],
                name="send_counter_of_regions",
            ),
        ],
    ),
    table(
        "SessionOwner",
        session_key=models.CharField(max_length=40, primary_key=True, serialize=False),
        ends_at=models.DateTimeField(db_index=True),
        user=models.ForeignKey(USER, CASCADE, related_name="session_owners"),
        options={"default_permissions": ()},
    ),
    table(
        "SmsMessage",
        state=models.CharField(default="queued", max_length=9),
        tries=models.PositiveSmallIntegerField(default=0),
        reason=models.CharField(blank=True, max_length=200),
        created_at=models.DateTimeField(),
        claimed_at=models.DateTimeField(blank=True, null=True),
        sent_at=models.DateTimeField(blank=True, null=True),
        gateway=models.CharField(blank=True, max_length=32),
        gateway_message_id=models.CharField(blank=True, max_length=100),
        segments=models.PositiveSmallIntegerField(default=0),
        pending_otp=models.ForeignKey(
            "optin.pendingotp", CASCADE, blank=True, null=True, related_name="messages"
        ),
        language=models.CharField(blank=True, max_length=8),
        cost=models.DecimalField(decimal_places=4, default=0, max_digits=8),
        delivered_at=models.DateTimeField(blank=True, null=True),
        unknown_attempts=models.PositiveSmallIntegerField(default=0),
        about_id=models.BigIntegerField(blank=True, null=True),
        news_to=models.ForeignKey(
            "optin.provideruser",
            CASCADE,
            blank=True,
            db_column="replaced_id",
            null=True,
            related_name="news",
        ),
        indexes=[
            Index(
                condition=Q(state__in=["queued", "sending"]),
                fields=["created_at"],
                name="sms_message_waiting",
            ),
            Index(fields=["created_at"], name="sms_message_by_time"),
            Index(
                condition=Q(state__in=["failed", "expired"]),
                fields=["state", "-id"],
                name="sms_message_not_sent",
            ),
        ],
        constraints=[
            CheckConstraint(
                condition=Q(news_to__isnull=True, pending_otp__isnull=False)
                | Q(news_to__isnull=False, pending_otp__isnull=True),
                name="sms_message_is_a_code_or_a_farewell",
            )
        ],
        options={"verbose_name": "text message"},
    ),
    table(
        "GatewayTry",
        gateway=models.CharField(max_length=32),
        at=models.DateTimeField(),
        fate=models.CharField(max_length=16),
        reason=models.CharField(blank=True, max_length=200),
        gateway_message_id=models.CharField(blank=True, max_length=100),
        message=models.ForeignKey("optin.smsmessage", CASCADE, related_name="gateway_tries"),
        indexes=[
            Index(
                condition=~Q(gateway_message_id=""),
                fields=["gateway", "gateway_message_id"],
                name="gateway_try_by_their_id",
            )
        ],
    ),
    table(
        "Span",
        start=models.DateTimeField(unique=True),
        end=models.DateTimeField(),
        day=models.DateField(db_index=True),
        made_at=models.DateTimeField(blank=True, null=True),
        is_settled=models.BooleanField(default=False),
        indexes=[Index(condition=Q(is_settled=False), fields=["start"], name="span_unsettled")],
        constraints=[
            CheckConstraint(condition=Q(end__gt=F("start")), name="span_ends_after_start")
        ],
        options={"default_permissions": ()},
    ),
    table(
        "Figure",
        day=models.DateField(),
        what=models.CharField(max_length=8),
        name=models.CharField(blank=True, max_length=32),
        count=models.PositiveBigIntegerField(),
        cost=models.DecimalField(decimal_places=4, default=0, max_digits=14),
        span=models.ForeignKey("optin.span", CASCADE, related_name="figures"),
        verified=models.PositiveBigIntegerField(default=0),
        indexes=[Index(fields=["what", "day", "name"], name="figure_by_what_and_day")],
        constraints=[
            UniqueConstraint(fields=("span", "what", "name"), name="figure_one_of_each_in_a_span")
        ],
        options={"default_permissions": ()},
    ),
    table(
        "WebhookEndpoint",
        url=models.CharField(max_length=500),
        secrets_encrypted=models.CharField(max_length=300),
        old_secret_ends_at=models.DateTimeField(blank=True, null=True),
        created_at=models.DateTimeField(),
        off_at=models.DateTimeField(blank=True, null=True),
        off_why=models.CharField(blank=True, max_length=8),
        cursor=models.BigIntegerField(default=0),
        failures=models.PositiveSmallIntegerField(default=0),
        due_at=models.DateTimeField(),
        claimed_at=models.DateTimeField(blank=True, null=True),
        claims=models.BigIntegerField(default=0),
        file=models.ForeignKey("optin.file", CASCADE, related_name="webhook_endpoints"),
        description=models.CharField(blank=True, db_default="", default="", max_length=100),
        kinds=models.CharField(blank=True, db_default="", default="", max_length=500),
        made_by=models.ForeignKey(
            USER, SET_NULL, blank=True, db_index=False, null=True, related_name="+"
        ),
        constraints=[
            CheckConstraint(
                condition=Q(off_at__isnull=True, off_why="")
                | Q(off_at__isnull=False) & ~Q(off_why=""),
                name="webhook_endpoint_off_for_a_reason",
            )
        ],
        options={"verbose_name": "webhook endpoint"},
    ),
    table(
        "WebhookEvent",
        message_id=models.CharField(max_length=40, unique=True),
        kind=models.CharField(max_length=24),
        at=models.DateTimeField(),
        provider_user_id=models.BigIntegerField(null=True),
        reason=models.CharField(blank=True, max_length=32),
        transaction=models.BigIntegerField(default=0),
        sequence=models.BigIntegerField(null=True),
        endpoint=models.ForeignKey(
            "optin.webhookendpoint", CASCADE, blank=True, null=True, related_name="tests"
        ),
        file=models.ForeignKey("optin.file", CASCADE, related_name="webhook_events"),
        reference=models.CharField(blank=True, db_default="", default="", max_length=64),
        indexes=[
            Index(
                condition=Q(sequence__isnull=True), fields=["id"], name="webhook_event_no_sequence"
            ),
            Index(fields=["at"], name="webhook_event_by_time"),
            Index(
                condition=Q(provider_user_id__isnull=False),
                fields=["provider_user_id"],
                name="webhook_event_by_number",
            ),
        ],
        constraints=[UniqueConstraint(fields=("file", "sequence"), name="webhook_event_sequence")],
        options={"verbose_name": "webhook event"},
    ),
    table(
        "WebhookTry",
        message_id=models.CharField(max_length=40),
        kind=models.CharField(max_length=24),
        sequence=models.BigIntegerField(null=True),
        at=models.DateTimeField(),
        status=models.PositiveSmallIntegerField(default=0),
        milliseconds=models.PositiveIntegerField(),
        answer=models.CharField(blank=True, max_length=200),
        reason=models.CharField(blank=True, max_length=200),
        endpoint=models.ForeignKey("optin.webhookendpoint", CASCADE, related_name="tries"),
        indexes=[Index(fields=["at"], name="webhook_try_by_time")],
        options={"verbose_name": "attempt at a webhook"},
    ),
    table(
        "TrustedClient",
        application=models.OneToOneField(
            APPLICATION, CASCADE, primary_key=True, related_name="trust", serialize=False
        ),
        options={"default_permissions": ()},
    ),
    table(
        "ExternalId",
        user=models.OneToOneField(
            USER, CASCADE, primary_key=True, related_name="external", serialize=False
        ),
        text=models.CharField(max_length=255, unique=True),
        constraints=[CheckConstraint(condition=~Q(text=""), name="external_id_never_empty")],
        options={"default_permissions": ()},
    ),
    table(
        "ProposedNumber",
        user=models.OneToOneField(
            USER, CASCADE, primary_key=True, related_name="proposed", serialize=False
        ),
        number_encrypted=models.TextField(),
        last_three=models.CharField(max_length=3),
        source=models.CharField(max_length=16),
        proposed_at=models.DateTimeField(),
        options={"default_permissions": ()},
    ),
    table(
        "ScimClient",
        application=models.OneToOneField(
            APPLICATION, CASCADE, primary_key=True, related_name="scim", serialize=False
        ),
        file=models.ForeignKey("optin.file", PROTECT, blank=True, null=True, related_name="+"),
        options={"default_permissions": ()},
    ),
    table(
        "ScimEnd",
        deleted=models.BooleanField(db_default=False, default=False),
        application=models.ForeignKey(APPLICATION, CASCADE, related_name="+"),
        user=models.ForeignKey(USER, CASCADE, related_name="scim_ends"),
        of_account=models.BooleanField(db_default=False, default=False),
        constraints=[UniqueConstraint(fields=("application", "user"), name="scim_end_unique")],
        options={"default_permissions": ()},
    ),
]


class Migration(migrations.Migration):
    dependencies = [
        ("contenttypes", "0002_remove_content_type_name"),
        ("oauth2_provider", "0022_refreshtoken_token_family_index"),
        ("optin", "0001_users"),
    ]

    operations = [Together(TABLES)]
