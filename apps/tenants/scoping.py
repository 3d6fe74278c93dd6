"""The wall between tenants: one scope at a time, in Python and in PostgreSQL at once.

Inside `tenant_scope(id)` the managers of tenant models see that tenant alone, and the database's
row-level security agrees. Outside it the managers raise and the database shows no rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ClassVar, Self, TypeVar

from django.db import InterfaceError, OperationalError, connection, models, transaction

from apps.tenants.errors import CrossTenantError, UnscopedQueryError

SETTING = "costboard.tenant_id"
_current: ContextVar[int | None] = ContextVar("current_tenant_id", default=None)
_remembered: ContextVar[dict[tuple[int, str], Any] | None] = ContextVar("remembered", default=None)
ModelT = TypeVar("ModelT", bound=models.Model)
ReadT = TypeVar("ReadT")


def current_tenant_id() -> int:
    """The tenant in scope. Raises UnscopedQueryError outside every scope."""
    tenant_id = _current.get()
    if tenant_id is None:
        raise UnscopedQueryError
    return tenant_id


@contextmanager
def tenant_scope(
    tenant_id: int, *, statement_limit_s: float | None = None, hold: str | None = None
) -> Iterator[None]:
    """One transaction in which all reads and writes belong to this tenant.

    Scopes nest for the same tenant (a savepoint); another tenant's raises CrossTenantError.
    With `statement_limit_s` the server gives up a statement that takes longer, locks included.
    `hold` is an SQL expression that takes a lock of the transaction, before anything else is seen.
    """
    outer = _current.get()
    if outer not in (None, tenant_id):
        raise CrossTenantError(outer, tenant_id)
    with transaction.atomic():
        if outer is None:
            _tell_database(tenant_id, statement_limit_s, hold)
        elif hold is not None:
            _execute(f"SELECT {hold}")
        token = _current.set(tenant_id)
        try:
            yield
        finally:
            _current.reset(token)
    # Not before the commit: deferred constraints are checked there, and within the walls.
    if outer is None and connection.in_atomic_block:
        # A transaction around this scope must not inherit it.
        _tell_database(None)


def execute_in_scope(
    tenant_id: int,
    statement: str,
    parameters: Sequence[Any] | Mapping[str, Any],
    *,
    statement_limit_s: float,
    hold: str | None = None,
) -> list[tuple[Any, ...]]:
    """One statement, alone in a transaction of this tenant's scope: its rows; durable then.

    `hold` as in `tenant_scope`: taken before what the statement sees is fixed.

    The wall and the statement go in one message, which PostgreSQL takes as one transaction, and
    settings made in it end with it. In `tenant_scope` they are four round trips, and after each a
    thread waits for its turn behind the others of a busy process. In a transaction of the caller's
    it is a part of that.
    """
    try:
        with ExitStack() as stack, connection.cursor() as cursor:
            if connection.in_atomic_block:
                scope = tenant_scope(tenant_id, statement_limit_s=statement_limit_s, hold=hold)
                stack.enter_context(scope)
                cursor.execute(statement, parameters)
            else:
                wall = _wall(tenant_id, statement_limit_s, hold)
                cursor.execute(f"{wall}; {statement}", parameters)
                cursor.nextset()
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found
    except (InterfaceError, OperationalError):
        # One that a time limit closed: what this thread does next gets another, as after a scope.
        connection.close_if_unusable_or_obsolete()
        raise


@contextmanager
def reading_once() -> Iterator[None]:
    """Inside, what is decorated with `once` is read from the database the first time only.

    For what changes none of it: a page asks for the tenant and its names a dozen times.
    """
    token = _remembered.set({})
    try:
        yield
    finally:
        _remembered.reset(token)


def once(read: Callable[[], ReadT]) -> Callable[[], ReadT]:
    """A read of the tenant in scope, remembered while `reading_once` lasts."""
    name = f"{read.__module__}.{read.__qualname__}"

    @wraps(read)
    def remembering() -> ReadT:
        remembered = _remembered.get()
        if remembered is None:
            return read()
        key = (current_tenant_id(), name)
        if key not in remembered:
            remembered[key] = read()
        found: ReadT = remembered[key]
        return found

    return remembering


def _tell_database(
    tenant_id: int | None, statement_limit_s: float | None = None, hold: str | None = None
) -> None:
    _execute(_wall(tenant_id, statement_limit_s, hold))


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _wall(tenant_id: int | None, statement_limit_s: float | None, hold: str | None) -> str:
    """A statement by which the transaction sees this tenant's rows alone; None: nobody's."""
    value = "" if tenant_id is None else f"{tenant_id:d}"
    statement = f"SELECT set_config('{SETTING}', '{value}', true)"
    if statement_limit_s is not None:
        limit = f"{statement_limit_s * 1000:.0f}ms"
        statement += f", set_config('statement_timeout', '{limit}', true)"
    if hold is not None:
        statement += f", {hold}"
    return statement


class TenantQuerySet(models.QuerySet[ModelT, ModelT]):
    def create(self, **kwargs: Any) -> ModelT:
        if self.model._meta.model_name != "tenant":
            kwargs.setdefault("tenant_id", current_tenant_id())
        return super().create(**kwargs)


class TenantManager(models.Manager[ModelT]):
    """The only door to a tenant's rows; raises UnscopedQueryError outside a scope."""

    def __init__(self, tenant_column: str = "tenant_id") -> None:
        super().__init__()
        self.tenant_column = tenant_column

    def get_queryset(self) -> TenantQuerySet[ModelT]:
        queryset: TenantQuerySet[ModelT] = TenantQuerySet(self.model, using=self._db)
        return queryset.filter(**{self.tenant_column: current_tenant_id()})

    def create(self, **kwargs: Any) -> ModelT:
        return self.get_queryset().create(**kwargs)


class TenantModel(models.Model):
    """A row that belongs to one tenant. Its migration must `protect` it (see rls.py)."""

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+")

    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"
        default_manager_name = "objects"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.tenant_id != current_tenant_id():
            raise CrossTenantError(current_tenant_id(), self.tenant_id)
        super().save(*args, **kwargs)
