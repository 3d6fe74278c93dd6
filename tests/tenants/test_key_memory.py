"""Keys are remembered for a moment, and forgotten when it counts."""

from django.db import connection

from apps.tenants.key_memory import KeyMemory
from apps.tenants.scoping import tenant_scope
from tests.conftest import Key
from tests.processes import wait_until


def revoke_elsewhere(key: Key) -> None:
    """As another process does: this one is not told."""
    with tenant_scope(key.identity.tenant_id), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tenants_apikey SET revoked_at = now() WHERE id = %s", [key.identity.api_key_id]
        )


def test_key_revoked_elsewhere_is_soon_refused(key: Key) -> None:
    memory = KeyMemory()
    assert memory.find(key.secret) == key.identity
    revoke_elsewhere(key)
    wait_until(lambda: memory.find(key.secret) is None, limit_s=30, what="the key is refused")


def test_forgotten_key_is_looked_up_anew(key: Key) -> None:
    memory = KeyMemory()
    assert memory.find(key.secret) == key.identity
    revoke_elsewhere(key)
    memory.forget(key.identity.api_key_id)
    assert memory.find(key.secret) is None


def test_unknown_key_is_not_remembered(key: Key) -> None:
    memory = KeyMemory()
    assert memory.find("cb_unknown") is None
    assert memory._known == {}
