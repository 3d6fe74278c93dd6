"""Who: tenants, people, departments, customers, keys and the audit trail. Private to this app."""

from typing import ClassVar, Self

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils.crypto import salted_hmac

from apps.tenants.scoping import TenantManager, TenantModel


class UserManager(BaseUserManager["User"]):
    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email__iexact=username)


class User(AbstractBaseUser):
    """A person who signs in. Belongs to tenants through Member."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=200, blank=True)
    is_active = models.BooleanField(default=True)
    # Counted up to end every session: each carries a hash of it.
    sign_outs = models.PositiveIntegerField(default=0)
    # How figures are written for them, as de-CH. Empty: as the browser asks.
    locale = models.CharField(max_length=20, blank=True, default="")
    created_at = models.DateTimeField()

    USERNAME_FIELD = "email"
    objects = UserManager()

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_once")]

    def __str__(self) -> str:
        return self.email

    def get_session_auth_hash(self) -> str:
        """What a session must carry to be this person's: another password, or signing out
        everywhere, ends all that were opened before."""
        secret = f"{self.password}:{self.sign_outs}"
        return salted_hmac("costboard.session", secret, algorithm="sha256").hexdigest()


class UserSession(models.Model):
    """Where a person signed in; Django keeps the session itself. No tenant's."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    session_key = models.CharField(max_length=40, unique=True)
    address = models.CharField(max_length=45, blank=True)
    agent = models.CharField(max_length=300, blank=True)
    began_at = models.DateTimeField()
    # Where and about when it was used since; None: not since that is kept.
    used_address = models.CharField(max_length=45, blank=True)
    used_at = models.DateTimeField(null=True)


class SignInCount(models.Model):
    """Attempts to sign in that did not succeed, by account, address or both; no tenant's.

    `subject` is a hash, so that mistyped passwords in the e-mail field are not kept.
    """

    subject = models.BinaryField(max_length=32, primary_key=True)
    attempts = models.PositiveIntegerField()
    ends_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["ends_at"], name="sign_in_count_by_end")]


class Tenant(models.Model):
    """An organisation; owns everything below. Its own wall is on its id."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=200)
    time_zone = models.CharField(max_length=64)
    currency = models.CharField(max_length=3, default="USD")
    # Whose public holidays are kept: DE, or a part of it, DE-BY (ISO 3166-2). Empty: those of the
    # country that the time zone belongs to.
    country = models.CharField(max_length=6, blank=True, default="")
    # How figures are written in what it sends, and for whose browser asks for nothing.
    locale = models.CharField(max_length=20, blank=True, default="")
    # Months up to this day are reported: their prices move only when an admin says so.
    books_closed_through = models.DateField(null=True, blank=True)
    created_at = models.DateTimeField()

    objects: ClassVar[TenantManager[Self]] = TenantManager(tenant_column="id")

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.CheckConstraint(
                condition=Q(currency__regex="^[A-Z]{3}$"), name="tenant_iso_currency"
            ),
            models.CheckConstraint(
                condition=Q(country="") | Q(country__regex="^[A-Z]{2}(-[A-Z0-9]{1,3})?$"),
                name="tenant_iso_country",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ExchangeRate(TenantModel):
    """What one USD is worth in another currency on a day."""

    currency = models.CharField(max_length=3)
    day = models.DateField()
    per_usd = models.DecimalField(max_digits=21, decimal_places=12)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "currency", "day"], name="exchange_rate_once_a_day"
            ),
            models.CheckConstraint(
                condition=Q(per_usd__gt=0) & Q(currency__regex="^[A-Z]{3}$") & ~Q(currency="USD"),
                name="exchange_rate_positive",
            ),
        ]


class Department(TenantModel):
    """A cost centre, in a tree. `code` is what routers send; case does not matter."""

    code = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT)
    # True when usage named it before any person did.
    discovered = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint("tenant", Lower("code"), name="department_code_once"),
            models.CheckConstraint(
                condition=Q(parent__isnull=True) | ~Q(parent=F("id")),
                name="department_not_own_parent",
            ),
        ]


class Customer(TenantModel):
    """Whom the tenant serves. `external_id` is what routers send, as it is."""

    class Tier(models.TextChoices):
        FREE = "free"
        STANDARD = "standard"
        PREMIUM = "premium"
        ENTERPRISE = "enterprise"

    external_id = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    tier = models.CharField(max_length=20, choices=Tier.choices, default=Tier.STANDARD)
    discovered = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "external_id"], name="customer_id_once"),
            models.CheckConstraint(
                condition=Q(tier__in=["free", "standard", "premium", "enterprise"]),
                name="customer_tier_known",
            ),
        ]


class CustomerContract(TenantModel):
    """What a customer pays a month whatever it uses, from a local day to before another.

    A customer's rows never overlap: `set_contract` is their only writer, and locks the customer.
    """

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    usd_per_month = models.DecimalField(max_digits=20, decimal_places=6)
    starts_on = models.DateField()
    ends_on = models.DateField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "customer", "starts_on"], name="contract_starts_once"
            ),
            models.UniqueConstraint(
                fields=["tenant", "customer"],
                condition=Q(ends_on__isnull=True),
                name="contract_one_open",
            ),
            models.CheckConstraint(
                condition=Q(ends_on__isnull=True) | Q(ends_on__gt=F("starts_on")),
                name="contract_has_days",
            ),
            models.CheckConstraint(condition=Q(usd_per_month__gt=0), name="contract_pays"),
        ]


class Member(TenantModel):
    """A person in a tenant, in one role."""

    class Role(models.TextChoices):
        VIEWER = "viewer"
        ADMIN = "admin"
        OWNER = "owner"

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    role = models.CharField(max_length=10, choices=Role.choices)
    created_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user"], name="member_once"),
            models.CheckConstraint(
                condition=Q(role__in=["viewer", "admin", "owner"]), name="member_role_known"
            ),
        ]


class Invitation(TenantModel):
    """An offer to join, by a link. Only the hash of its token is kept; it is used once."""

    email = models.EmailField()
    role = models.CharField(max_length=10, choices=Member.Role.choices)
    token_hash = models.BinaryField(max_length=32, unique=True)
    invited_by = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                "tenant",
                Lower("email"),
                condition=Q(accepted_at__isnull=True, withdrawn_at__isnull=True),
                name="invitation_open_once",
            ),
            models.CheckConstraint(
                condition=Q(role__in=["viewer", "admin", "owner"]), name="invitation_role_known"
            ),
            models.CheckConstraint(
                condition=Q(accepted_at__isnull=True) | Q(withdrawn_at__isnull=True),
                name="invitation_one_end",
            ),
        ]


class ApiKey(TenantModel):
    """A router's key. The secret is shown once; only its SHA-256 is kept."""

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16)
    secret_hash = models.BinaryField(max_length=32, unique=True)
    scopes = ArrayField(models.CharField(max_length=10))
    created_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(
                condition=Q(scopes__contained_by=["ingest", "route", "read", "manage"])
                & ~Q(scopes=[]),
                name="api_key_scopes_known",
            )
        ]


class AuditEntry(TenantModel):
    """Who changed what, when, from what to what. Never changed itself."""

    at = models.DateTimeField()
    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=60)
    subject = models.CharField(max_length=200)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)

    class Meta(TenantModel.Meta):
        indexes = [
            models.Index(fields=["tenant", "-at"], name="audit_by_time"),
            models.Index(fields=["tenant", "-id"], name="audit_by_number"),
        ]
