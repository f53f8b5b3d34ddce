"""People. They come first: the tables of other packages refer to them."""

import django.contrib.auth.validators
import django.utils.timezone
from django.db import migrations, models
from django.db.models import CheckConstraint, Index, Q, UniqueConstraint
from django.db.models.functions import Lower

import optin.models.users
from optin.migrations._tables import table


class Migration(migrations.Migration):
    dependencies = [("auth", "0012_alter_user_first_name_max_length")]

    operations = [
        table(
            "User",
            password=models.CharField(max_length=128, verbose_name="password"),
            last_login=models.DateTimeField(blank=True, null=True, verbose_name="last login"),
            is_superuser=models.BooleanField(
                default=False,
                help_text="Designates that this user has all permissions without explicitly assigning them.",
                verbose_name="superuser status",
            ),
            username=models.CharField(
                error_messages={"unique": "A user with that username already exists."},
                help_text="Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.",
                max_length=150,
                unique=True,
                validators=[django.contrib.auth.validators.UnicodeUsernameValidator()],
                verbose_name="username",
            ),
            first_name=models.CharField(blank=True, max_length=150, verbose_name="first name"),
            last_name=models.CharField(blank=True, max_length=150, verbose_name="last name"),
            email=models.EmailField(blank=True, max_length=254, verbose_name="email address"),
            is_staff=models.BooleanField(
                default=False,
                help_text="Designates whether the user can log into this admin site.",
                verbose_name="staff status",
            ),
            is_active=models.BooleanField(
                default=True,
                help_text="Designates whether this user should be treated as active. Unselect this instead of deleting accounts.",
                verbose_name="active",
            ),
            date_joined=models.DateTimeField(
                default=django.utils.timezone.now, verbose_name="date joined"
            ),
            otp_failures=models.PositiveSmallIntegerField(default=0),
            otp_locked_until=models.DateTimeField(blank=True, null=True),
            otp_disabled_at=models.DateTimeField(blank=True, null=True),
            session_epoch=models.PositiveIntegerField(default=0),
            groups=models.ManyToManyField(
                blank=True,
                help_text="The groups this user belongs to. A user will get all permissions granted to each of their groups.",
                related_name="user_set",
                related_query_name="user",
                to="auth.group",
                verbose_name="groups",
            ),
            user_permissions=models.ManyToManyField(
                blank=True,
                help_text="Specific permissions for this user.",
                related_name="user_set",
                related_query_name="user",
                to="auth.permission",
                verbose_name="user permissions",
            ),
            password_mailed_at=models.DateTimeField(blank=True, null=True),
            sign_ins_ended_at=models.DateTimeField(blank=True, null=True),
            last_attempt=models.CharField(blank=True, max_length=64),
            last_attempt_as=models.CharField(blank=True, max_length=32),
            last_attempt_at=models.DateTimeField(blank=True, null=True),
            text_first=models.BooleanField(db_default=False, default=False),
            is_test=models.BooleanField(
                db_default=False, default=False, verbose_name="test account"
            ),
            app_failures_until=models.DateTimeField(blank=True, null=True),
            program_disabled_at=models.DateTimeField(blank=True, null=True),
            program_failures=models.PositiveSmallIntegerField(db_default=0, default=0),
            program_locked_until=models.DateTimeField(blank=True, null=True),
            language=models.CharField(blank=True, db_default="", default="", max_length=8),
            invited_at=models.DateTimeField(blank=True, null=True),
            invitation_used_at=models.DateTimeField(blank=True, null=True),
            proved_email=models.EmailField(blank=True, db_default="", default="", max_length=254),
            named_for_one_file=models.BooleanField(db_default=False, default=False),
            indexes=[Index(condition=Q(is_staff=True), fields=["-id"], name="user_who_is_staff")],
            constraints=[
                UniqueConstraint(Lower("username"), name="user_name_unique_without_case"),
                UniqueConstraint(
                    Lower("email"), condition=~Q(email=""), name="user_email_unique_without_case"
                ),
                CheckConstraint(condition=~Q(username=""), name="user_name_never_empty"),
                CheckConstraint(
                    condition=Q(is_test=False) | Q(is_staff=False, is_superuser=False),
                    name="user_test_account_is_no_staff",
                ),
            ],
            options={
                "verbose_name": "account",
                "permissions": [
                    (
                        "act_on_accounts",
                        "Can suspend, resume, unlock, send again, and revoke later",
                    ),
                    ("revoke_at_once", "Can remove all second factors at once"),
                    ("give_roles", "Can make people staff, and end that"),
                ],
            },
            managers=[("objects", optin.models.users.UserManagerWithLock())],
        )
    ]
