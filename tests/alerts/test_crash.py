"""kill -9 of a real Celery worker while it sends: nothing is lost, and each kind keeps its promise.

A webhook goes again under the same id, so that its receiver can drop the repeat. Of an e-mail and a
message to a service nobody can know; it is not sent twice, and the log says so.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from apps.alerts.delivery import deliver_due
from apps.alerts.models import Delivery, DeliveryAttempt
from apps.alerts.services import ChannelSettings, add_channel
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from costboard.embedded import default_data_dir
from tests.alerts.conftest import Hook
from tests.alerts.receivers import HttpReceiver, MailServer, mail_server
from tests.conftest import ROOT
from tests.processes import descendants, wait_until

pytestmark = pytest.mark.slow
Tell = Callable[..., bool]
AFTER_THE_LEASE = timedelta(seconds=61)


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def start_worker(
    django_db_setup: None, mail: MailServer, tmp_path: Path
) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start a worker with its beat; what still runs at the end is killed."""
    running: list[subprocess.Popen[bytes]] = []
    environment = os.environ | {
        "COSTBOARD_ALERT_ALLOW": "127.0.0.1",
        "COSTBOARD_URL": "https://costs.example",
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_PORT": str(mail.port),
        "EMAIL_TLS": "none",
    }

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "celery", "-A", "costboard", "worker", "--beat"]
        pool = ["--pool", "threads", "--concurrency", "2"]
        schedule = ["--schedule", str(tmp_path / f"beat-{len(running)}")]
        with (default_data_dir() / "alerts-worker.log").open("a") as log:
            running.append(
                subprocess.Popen(
                    [*command, *pool, *schedule], cwd=ROOT, env=environment, stdout=log, stderr=log
                )
            )
        return running[-1]

    yield start
    for process in running:
        kill(process)


@pytest.fixture
def hooked(hook: Hook, receiver: HttpReceiver) -> HttpReceiver:
    """The receiver, with a channel to it."""
    hook()
    return receiver


def kill(process: subprocess.Popen[bytes]) -> None:
    for pid in [process.pid, *(child for child, _ in descendants(process.pid))]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait(timeout=10)


def test_webhook_of_a_killed_worker_goes_again_under_the_same_id(
    tell: Tell,
    hooked: HttpReceiver,
    states: Callable[[], dict[str, str]],
    start_worker: Callable[[], subprocess.Popen[bytes]],
    tenant: TenantInfo,
) -> None:
    go_on = threading.Event()
    hooked.before_answer = lambda: bool(go_on.wait(timeout=60)) and None
    worker = start_worker()
    tell(now=datetime.now(UTC))
    wait_until(lambda: bool(hooked.requests), limit_s=60, what="the worker is sending")
    kill(worker)
    assert states() == {"finding:1": "sending"}
    go_on.set()
    assert deliver_due(now=datetime.now(UTC)) == 0
    assert deliver_due(now=datetime.now(UTC) + AFTER_THE_LEASE) == 1
    assert states() == {"finding:1": "sent"}
    assert len(hooked.requests) == 2
    assert len(set(hooked.ids)) == 1
    assert hooked.requests[0].body == hooked.requests[1].body
    with tenant_scope(tenant.id):
        tries = DeliveryAttempt.objects.order_by("number").values_list("outcome", "error")
        assert list(tries) == [("unknown", "the worker stopped while it was sending"), ("sent", "")]


def test_mail_of_a_killed_worker_is_not_sent_twice(
    tell: Tell,
    states: Callable[[], dict[str, str]],
    start_worker: Callable[[], subprocess.Popen[bytes]],
    mail: MailServer,
    tenant: TenantInfo,
) -> None:
    killed = threading.Event()
    worker = start_worker()

    def kill_it_after_the_message() -> None:
        kill(worker)
        killed.set()

    mail.after_data = kill_it_after_the_message
    with tenant_scope(tenant.id):
        add_channel(
            ChannelSettings(name="mail"),
            kind="email",
            target="finance@lindwerk.example",
            actor="test",
            now=datetime.now(UTC),
        )
    tell(now=datetime.now(UTC))
    assert killed.wait(timeout=60)
    assert len(mail.mails) == 1
    assert states() == {"finding:1": "sending"}
    deliver_due(now=datetime.now(UTC) + AFTER_THE_LEASE)
    deliver_due(now=datetime.now(UTC) + timedelta(days=30))
    assert states() == {"finding:1": "unknown"}
    assert len(mail.mails) == 1
    with tenant_scope(tenant.id):
        assert Delivery.objects.get().last_error == "the worker stopped while it was sending"


def test_what_was_raised_while_no_worker_ran_is_sent_by_the_next(
    tell: Tell,
    hooked: HttpReceiver,
    states: Callable[[], dict[str, str]],
    start_worker: Callable[[], subprocess.Popen[bytes]],
) -> None:
    for number in range(5):
        tell(f"finding:{number}", now=datetime.now(UTC))
    kill(start_worker())
    start_worker()
    wait_until(lambda: len(hooked.requests) >= 5, limit_s=90, what="all five are sent")
    wait_until(lambda: set(states().values()) == {"sent"}, limit_s=90, what="all are marked sent")
    assert len(set(hooked.ids)) == 5
