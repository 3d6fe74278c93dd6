"""What can go wrong with tenants, members and keys, in words a person can act on."""


class TenantsError(Exception):
    """Base of this app's errors. `field` names the input at fault, where there is one."""

    field: str | None = None

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.field = field


class UnscopedQueryError(TenantsError):
    def __init__(self) -> None:
        super().__init__(
            "a tenant's rows were asked for outside tenant_scope(); wrap the call in one"
        )


class CrossTenantError(TenantsError):
    def __init__(self, scope_tenant_id: int | None, row_tenant_id: int | None) -> None:
        super().__init__(f"tenant {row_tenant_id} was touched in the scope of {scope_tenant_id}")


class InvalidTenantInputError(TenantsError):
    """A name, time zone, currency, code, role or scope that cannot be taken."""


class DepartmentCycleError(TenantsError):
    """A department would become its own ancestor."""


class NotAllowedError(TenantsError):
    """What this role may not do to that member, or what would leave a tenant without an owner."""


class InvitationEndedError(TenantsError):
    """A link that was used, was withdrawn, is too old, or never was."""
