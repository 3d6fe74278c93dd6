"""How often one may try to sign in."""

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from apps.tenants.core.sign_in_limits import (
    BY_ACCOUNT,
    BY_ACCOUNT_AND_ADDRESS,
    BY_ADDRESS,
    client_address,
)
from apps.tenants.sign_in_limits import begin_sign_in, forgive_sign_in

# Of its own year, so that counts of other tests are over or not begun.
NOW = datetime(2031, 5, 6, 12, tzinfo=UTC)


def new_name() -> str:
    return f"{uuid.uuid4().hex}@example.org"


def new_address() -> str:
    return client_address(f"2001:db8:{uuid.uuid4().hex[:4]}:{uuid.uuid4().hex[:4]}::1", "", 0)


def test_one_address_guessing_one_password_waits_and_may_go_on_later(database: None) -> None:
    email, address = new_name(), new_address()
    for _ in range(BY_ACCOUNT_AND_ADDRESS.attempts):
        assert begin_sign_in(email, address, now=NOW) is None
    until = NOW + BY_ACCOUNT_AND_ADDRESS.window
    assert begin_sign_in(email, address, now=NOW + timedelta(minutes=1)) == until
    assert begin_sign_in(email.upper(), address, now=NOW) == until
    assert begin_sign_in(email, address, now=until) is None


def test_nobody_is_kept_out_by_who_fails_in_their_name_from_elsewhere(database: None) -> None:
    email, attacker = new_name(), new_address()
    for _ in range(BY_ACCOUNT.attempts + 20):
        begin_sign_in(email, attacker, now=NOW)
    assert begin_sign_in(email, new_address(), now=NOW) is None


def test_many_addresses_guessing_one_password_wait_together(database: None) -> None:
    email = new_name()
    for _ in range(BY_ACCOUNT.attempts):
        assert begin_sign_in(email, new_address(), now=NOW) is None
    assert begin_sign_in(email, new_address(), now=NOW) == NOW + BY_ACCOUNT.window


def test_one_address_guessing_everybodys_password_waits(database: None) -> None:
    address = new_address()
    for _ in range(BY_ADDRESS.attempts):
        assert begin_sign_in(new_name(), address, now=NOW) is None
    assert begin_sign_in(new_name(), address, now=NOW) == NOW + BY_ADDRESS.window


def test_success_forgives_the_account_there_and_counts_nowhere(database: None) -> None:
    email, address = new_name(), new_address()
    for _ in range(BY_ADDRESS.attempts + 1):
        assert begin_sign_in(email, address, now=NOW) is None
        forgive_sign_in(email, address)


def test_no_more_get_through_when_they_come_at_once(database: None) -> None:
    email, address = new_name(), new_address()
    ready, through = threading.Barrier(8), []

    def guess() -> None:
        ready.wait(timeout=20)
        tries = [begin_sign_in(email, address, now=NOW) for _ in range(4)]
        through.extend(one for one in tries if one is None)
        connection.close()

    threads = [threading.Thread(target=guess) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(through) == BY_ACCOUNT_AND_ADDRESS.attempts


def test_counts_of_the_past_are_cleared_away(database: None) -> None:
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    for _ in range(5):
        begin_sign_in(new_name(), new_address(), now=long_ago)
    for _ in range(2):
        begin_sign_in(new_name(), new_address(), now=long_ago + timedelta(days=1))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM tenants_signincount WHERE ends_at < %s",
            [long_ago + timedelta(hours=2)],
        )
        assert cursor.fetchone() == (0,)


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "address"),
    [
        ("10.0.0.1", "", 0, "10.0.0.1"),
        # Anybody may send the header; only what an own proxy added is believed.
        ("10.0.0.1", "203.0.113.7", 0, "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, 203.0.113.7", 1, "203.0.113.7"),
        ("10.0.0.1", "1.2.3.4, 203.0.113.7, 10.0.0.9", 2, "203.0.113.7"),
        ("10.0.0.1", "203.0.113.7", 2, "10.0.0.1"),
        ("10.0.0.1", "nonsense", 1, "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "", 0, "2001:db8:1:2::"),
        ("", "", 0, ""),
    ],
)
def test_where_an_attempt_comes_from(peer: str, forwarded: str, proxies: int, address: str) -> None:
    assert client_address(peer, forwarded, proxies) == address
