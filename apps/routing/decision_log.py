"""Decisions on their way to the database: put in a stream in Redis as they are made, stored by a
worker. Part of services.

No request waits for PostgreSQL here. A stream that is full or a Redis that is away costs records,
and nothing else; what a kill leaves behind is stored by whoever looks next, each decision once.
"""

import logging
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec
import redis
from django.conf import settings

from apps.budgets.selectors import decision_uuid
from apps.pricing.selectors import read_backend_keys
from apps.routing.live_models import DecisionCharge, LivePolicy, RoutingDecision
from apps.tenants.scoping import tenant_scope
from apps.usage.decided_charges import read_decided_charges
from apps.usage.group_commit import GroupCommit

logger = logging.getLogger(__name__)
STREAM: Final = "costboard:routing:decisions"
# Entries, and decisions in one.
MAX_WAITING: Final = 50_000
MAX_IN_ENTRY: Final = 20
PORTION: Final = 500
KEPT: Final = timedelta(days=45)
TIMEOUT_S: Final = 0.5
_client: redis.Redis | None = None


class DecisionRecord(msgspec.Struct, frozen=True, gc=False):
    """A row of RoutingDecision, as it waits. Amounts as decimal strings."""

    tenant_id: int
    decision_id: str
    decided_at: str
    request_id: str
    policy_version: int
    mode: str
    department: str
    customer: str | None
    tier: str
    task: str
    backend: str | None
    advised: str | None
    because: str
    propensity: float
    input_tokens: int
    estimated_output_tokens: float
    estimated_usd: str
    held_usd: str
    value_usd: float
    quality: float | None
    reasons: list[str]
    alternatives: list[list[str]]
    shadows: dict[str, list[Any]]


def log_decision(record: DecisionRecord) -> None:
    """Have it stored soon: it is in the stream when this returns. Never raises for a Redis that is
    away."""
    _entries.submit(STREAM, [record])


def _add_entry(stream: str, records: Sequence[DecisionRecord]) -> list[tuple[int, None]]:
    """What is decided at the same time is one entry: one round trip."""
    encoded = msgspec.json.encode(records)
    try:
        client().xadd(stream, {"records": encoded}, maxlen=MAX_WAITING, approximate=True)
    except redis.RedisError as error:
        logger.warning("%d decisions are not recorded: %s", len(records), error)
    return []


_entries: Final[GroupCommit[str, DecisionRecord, None]] = GroupCommit(
    _add_entry, max_rows=MAX_IN_ENTRY, leaders=1
)


def store_decisions() -> int:
    """Store a portion of what waits; how many entries there were. Only what is committed is taken
    off, and two workers at once store each decision once."""
    waiting: Any = client().xrange(STREAM, count=PORTION)
    if not waiting:
        return 0
    by_tenant: dict[int, list[DecisionRecord]] = defaultdict(list)
    for _, fields in waiting:
        for record in msgspec.json.decode(fields[b"records"], type=list[DecisionRecord]):
            by_tenant[record.tenant_id].append(record)
    for tenant_id, records in by_tenant.items():
        with tenant_scope(tenant_id):
            RoutingDecision.objects.bulk_create(
                [_row(record) for record in records], ignore_conflicts=True, batch_size=500
            )
    client().xdel(STREAM, *(number for number, _ in waiting))
    return len(waiting)


def forget_old_decisions(tenant_id: int, *, now: datetime) -> None:
    """What was decided and charged longer ago than KEPT is summed up in the ledger."""
    with tenant_scope(tenant_id):
        RoutingDecision.objects.filter(decided_at__lt=now - KEPT).delete()
        DecisionCharge.objects.filter(charged_at__lt=now - KEPT).delete()


class DecisionWatcher:
    """Told of commits by usage (apps/usage/watching.py): joins charges to their decisions."""

    def before_commit(self, tenant_id: int) -> None:  # noqa: ARG002 - the fold is early enough
        return None

    def after_commit(self, tenant_id: int, commit_number: int, token: object) -> None:
        """Nothing to do before the fold."""

    def before_fold(self, tenant_id: int, commit_numbers: Sequence[int]) -> None:
        """In the fold's transaction: a charge is joined if, and only if, it is folded."""
        if not LivePolicy.objects.filter(shadow="").exists():
            return
        keys: dict[int, str] | None = None
        rows = []
        for charge in read_decided_charges(commit_numbers):
            decision_id = decision_uuid(charge.decision_id)
            if decision_id is None:
                continue
            keys = keys if keys is not None else read_backend_keys()
            rows.append(
                DecisionCharge(
                    tenant_id=tenant_id,
                    decision_id=decision_id,
                    charge_id=charge.charge_id,
                    charged_at=charge.occurred_at,
                    backend_key=keys.get(charge.backend_id, ""),
                    cost_usd=charge.cost_usd,
                    output_tokens=charge.output_tokens,
                    quality_score=charge.quality_score,
                    converted=charge.converted,
                )
            )
        # Of a decision that ran twice the first charge is what it is held against.
        DecisionCharge.objects.bulk_create(rows, ignore_conflicts=True, batch_size=1000)


def client() -> redis.Redis:
    """This process's connections."""
    global _client  # noqa: PLW0603 - one pool a process, made when first needed
    if _client is None:
        _client = redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )
    return _client


def _row(record: DecisionRecord) -> RoutingDecision:
    fields = msgspec.structs.asdict(record)
    fields["decision_id"] = uuid.UUID(record.decision_id)
    fields["decided_at"] = datetime.fromisoformat(record.decided_at)
    fields["estimated_usd"] = Decimal(record.estimated_usd)
    fields["held_usd"] = Decimal(record.held_usd)
    return RoutingDecision(**fields)
