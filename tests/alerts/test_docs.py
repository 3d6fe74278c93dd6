"""The lines that docs/alerts.md gives a receiver do verify what is sent, and nothing else."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from apps.alerts.core.signatures import headers, write_secret
from tests.conftest import ROOT

SECRET = write_secret(b"k" * 32)
BODY = b'{"type":"alert.anomaly"}'
Verify = Callable[[str, dict[str, str], bytes], bool]


@pytest.fixture(scope="module")
def verify() -> Verify:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/alerts.md").read_text(), re.DOTALL)
    names: dict[str, Verify] = {}
    exec(code, names)
    return names["verify"]


def signed(moment: datetime, *secrets: str) -> dict[str, str]:
    return headers(secrets or (SECRET,), message_id="msg_1", moment=moment, body=BODY)


def test_what_is_sent_verifies_also_by_the_older_of_two_secrets(verify: Verify) -> None:
    now = datetime.now(UTC)
    assert verify(SECRET, signed(now), BODY)
    assert verify(SECRET, signed(now, write_secret(b"n" * 32), SECRET), BODY)


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_what_was_changed_does_not(verify: Verify, header: str) -> None:
    now = datetime.now(UTC)
    assert not verify(SECRET, signed(now), BODY + b" ")
    assert not verify(write_secret(b"x" * 32), signed(now), BODY)
    changed = {"webhook-id": "msg_2", "webhook-timestamp": f"{int(now.timestamp()) + 1}"}
    assert not verify(SECRET, signed(now) | {header: changed.get(header, "v1,AAAA")}, BODY)


def test_what_is_old_does_not(verify: Verify) -> None:
    assert not verify(SECRET, signed(datetime(2026, 1, 1, tzinfo=UTC)), BODY)
