"""What is spent, held and left, in Redis: a reservation is one round trip. Part of services.

PostgreSQL is the record; these counters are made from it (rebuild.py) and can be lost at any time.
Each life of a tenant's counters is an *epoch*, named in one key together with the server's run id;
every script begins by comparing it. Scripts are never sent on demand: a server that was restarted
knows none (they are not persisted), so whatever data it may have come back with is not trusted.

Keys, all of a tenant in one cluster slot:
    costboard:{b7}:epoch                        "<epoch> <run id>"
    costboard:{b7}:<epoch>:c:<budget>:<start>   a counter (lua/counter.lua); start in epoch seconds
    ...:hold:<decision>  ...:counted:<decision>  ...:request:<request>
    ...:expiry  ...:applied  ...:folded  ...:ended
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

import redis
from redis.exceptions import NoScriptError

from apps.budgets.counter_client import client
from apps.budgets.counter_types import (
    Amount,
    Balance,
    CounterId,
    CountersLost,
    CountersUnreachable,
    Filling,
    Held,
    Refusal,
    Refused,
    Seen,
    Unready,
    Wanted,
)

LUA: Final = Path(__file__).parent / "lua"
SHARED: Final = "counter"  # put before every other
PAIR: Final = ("hold", "request")
NO_TAKES: Final[Mapping[str, Mapping[CounterId, int]]] = MappingProxyType({})


class _Scripts:
    """The scripts' text and names."""

    def __init__(self) -> None:
        texts = {path.stem: path.read_text() for path in sorted(LUA.glob("*.lua"))}
        shared = texts.pop(SHARED)
        self.text = {name: shared + text for name, text in texts.items()}
        self.sha = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            for name, text in self.text.items()
        }


_scripts = _Scripts()


class Counters:
    """One tenant's counters in one epoch."""

    __slots__ = ("_epoch", "_prefix", "tenant_id")

    def __init__(self, tenant_id: int, epoch: str) -> None:
        self.tenant_id = tenant_id
        self._epoch = epoch
        self._prefix = f"{_tenant_prefix(tenant_id)}{epoch.partition(' ')[0]}:"

    @property
    def epoch(self) -> str:
        return self._epoch

    def reserve(self, wanted: Sequence[Wanted]) -> list[Held | Seen | Unready | Refused]:
        """Set aside each one's amounts in every counter or in none, one after the other; all by one
        call, because each call costs more than what it does."""
        places: dict[CounterId, int] = {}
        names: list[str] = []
        lines: list[str] = []
        for each in wanted:
            line = f"{_milliseconds(each.expires_at)} {each.ttl_ms} {each.decision_id}"
            for counter, count in each.amounts:
                line += f" {places.setdefault(counter, len(places) + 1)} {count}"
            lines.append(line)
            names += (f"request:{each.request_id}", f"hold:{each.decision_id}")
        keys = ["expiry", *(self._name(counter) for counter in places), *names]
        answer = self._ask("reserve", keys, [len(places), *lines])
        if answer == "lost":
            raise CountersLost
        counters = list(places)
        return [
            _read(each, told.split(" "), counters)
            for each, told in zip(wanted, str(answer).split("\n"), strict=True)
        ]

    def let_go(self, told: Sequence[tuple[str, str]]) -> None:
        """Decisions, with their requests, that nobody was told of: they hold nothing any more, and
        the requests may be decided anew."""
        names = [f"{kind}:{name}" for pair in told for kind, name in zip(PAIR, pair, strict=True)]
        self.run("let_go", ["expiry", *names], [decision_id for decision_id, _ in told])

    def end_hold(
        self, decision_id: str, *, counted: Iterable[tuple[CounterId, int]] = (), ttl_ms: int = 1
    ) -> bool:
        """Free what is held; `counted` is spent in place of a charge that may come. False: it had
        ended before."""
        answer = self.run(
            "end_hold",
            ["expiry", f"hold:{decision_id}", f"counted:{decision_id}", "ended"],
            [decision_id, self.parts_text(counted), max(ttl_ms, 1)],
        )
        return bool(answer[0] == "ended")

    def recount(
        self, decision_id: str, counted: Iterable[tuple[CounterId, int]], *, ttl_ms: int
    ) -> None:
        """Change what is spent in place of an ended hold's charge."""
        self.run(
            "recount",
            [f"counted:{decision_id}", "ended"],
            [decision_id, self.parts_text(counted), max(ttl_ms, 1)],
        )

    def apply(
        self,
        commit_number: int,
        decision_ids: Sequence[str],
        amounts: Mapping[CounterId, Amount],
        takes: Mapping[str, Mapping[CounterId, int]] = NO_TAKES,
    ) -> bool:
        """Count a commit, end the holds it settles and take from leases what it spent under them;
        False if it was counted before."""
        ids = (*decision_ids, *takes)
        ends = [f"{kind}:{each}" for each in ids for kind in ("hold", "counted")]
        taken = [self.parts_text(counts.items()) for counts in takes.values()]
        answer = self.run(
            "apply",
            ["expiry", "applied", "folded", "ended", *ends],
            [
                commit_number,
                len(decision_ids),
                len(takes),
                *ids,
                *taken,
                *map(str, amounts.values()),
            ],
            counters=list(amounts),
        )
        return bool(answer[0] == "applied")

    def note_folded(
        self, commit_numbers: Sequence[int], *, now: datetime, forget_before: datetime
    ) -> None:
        """Commits that left the queue: they will not be asked about again, but by a late ingest."""
        times = [_milliseconds(now), _milliseconds(forget_before)]
        self.run("folded", ["applied", "folded"], [*times, *commit_numbers])

    def begin_filling(self, counters: Sequence[CounterId]) -> None:
        """Open counters: from now on they count what comes."""
        ended = f"{self._prefix}ended"
        pipeline = client().pipeline(transaction=True)
        pipeline.hset(ended, "-", "")
        pipeline.expire(ended, 600)
        _answered(pipeline.execute)
        self.run("warm", [], [], counters=counters)

    def fill(self, fillings: Mapping[CounterId, Filling], seen: Sequence[int]) -> None:
        """Fill opened counters from a snapshot that saw these commits of the queue."""
        lines = [f"{f.limit} {int(f.is_cap)} {f.spent} {f.ttl_ms}" for f in fillings.values()]
        self.run("fill", [], [*lines, *seen], counters=list(fillings))

    def end_filling(self) -> None:
        _answered(lambda: client().delete(f"{self._prefix}ended"))

    def restore(
        self,
        *,
        decision_id: str,
        request_id: str,
        expires_at: datetime,
        ttl_ms: int,
        is_held: bool,
        parts: Iterable[tuple[CounterId, int]],
    ) -> None:
        """Put back a hold of the journal, or what is counted in place of its charge."""
        self.run(
            "restore_hold",
            [
                "expiry",
                f"request:{request_id}",
                f"hold:{decision_id}",
                f"counted:{decision_id}",
                "ended",
            ],
            [
                _milliseconds(expires_at),
                max(ttl_ms, 1),
                decision_id,
                "held" if is_held else "counted",
                self.parts_text(parts),
            ],
        )

    def set_limits(self, limits: Mapping[CounterId, tuple[int, bool]]) -> None:
        """What counters allow, and whether they are caps."""
        lines = [f"{limit} {int(is_cap)}" for limit, is_cap in limits.values()]
        self.run("limit", [], lines, counters=list(limits))

    def balances(self, counters: Sequence[CounterId]) -> dict[CounterId, Balance]:
        """How counters stand; one that is not there is left out."""
        fields = ("limit", "spent", "frac", "held", "left", "cap", "ready")
        pipeline = client().pipeline(transaction=True)
        for counter in counters:
            pipeline.hmget(self._key(counter), fields)
        pipeline.get(f"{_tenant_prefix(self.tenant_id)}epoch")
        *rows, epoch = _answered(pipeline.execute)
        if epoch != self._epoch:
            raise CountersLost
        return {
            counter: Balance(
                limit=int(row[0]),
                spent=Amount(int(row[1]) - (row[2] != "0"), int(row[2])),
                held=int(row[3]),
                left=int(row[4]),
                is_cap=row[5] == "1",
                is_ready=row[6] == "1",
            )
            for counter, row in zip(counters, rows, strict=True)
            if row[6] is not None
        }

    def expired(self, now: datetime, limit: int) -> list[str]:
        """Decisions whose hold has run out, the oldest first."""
        found = _answered(
            lambda: client().zrangebyscore(
                f"{self._prefix}expiry", "-inf", _milliseconds(now), start=0, num=limit
            )
        )
        return cast("list[str]", found)

    def not_held(self, decision_ids: Sequence[str]) -> list[str]:
        """Those of the decisions for which nothing is set aside."""
        pipeline = client().pipeline(transaction=False)
        for decision_id in decision_ids:
            pipeline.exists(f"{self._prefix}hold:{decision_id}")
        found = _answered(pipeline.execute) if decision_ids else []
        if decision_ids and not self.is_current():
            raise CountersLost
        return [d for d, is_there in zip(decision_ids, found, strict=True) if not is_there]

    def is_current(self) -> bool:
        """Whether these are still the tenant's counters, on the server that they were made on."""
        return bool(_answered(lambda: client().get(_epoch_key(self.tenant_id))) == self._epoch)

    def _name(self, counter: CounterId) -> str:
        return f"c:{counter.budget_id}:{int(counter.period_start.timestamp())}"

    def _key(self, counter: CounterId) -> str:
        return self._prefix + self._name(counter)

    def parts_text(self, parts: Iterable[tuple[CounterId, int]]) -> str:
        return "\n".join(f"{self._key(counter)} {number}" for counter, number in parts)

    def run(
        self,
        script: str,
        keys: Sequence[str],
        arguments: Sequence[Any],
        counters: Sequence[CounterId] = (),
    ) -> list[Any]:
        names = [*keys, *(self._name(counter) for counter in counters)]
        answer = self._ask(script, names, arguments)
        if answer[0] == "lost":
            raise CountersLost
        return cast("list[Any]", answer)

    def _ask(self, script: str, names: Sequence[str], arguments: Sequence[Any]) -> Any:
        keys = [_epoch_key(self.tenant_id), *(self._prefix + name for name in names)]
        call = client().evalsha
        sha = _scripts.sha[script]
        return _answered(lambda: call(sha, len(keys), *keys, self._epoch, *arguments))


def _read(
    wanted: Wanted, told: Sequence[str], counters: Sequence[CounterId]
) -> Held | Seen | Unready | Refused:
    """A line of the answer; places in it are those of `counters`, from 1."""
    if told[0] == "held":
        return Held()
    if told[0] == "seen":
        return Seen(told[1])
    if told[0] == "unready":
        return Unready(counters[int(told[1]) - 1])
    own = {counter: place for place, (counter, _) in enumerate(wanted.amounts)}
    numbers = [int(value) for value in told[1:]]
    caps = (numbers[n : n + 4] for n in range(0, len(numbers), 4))
    return Refused(tuple(Refusal(own[counters[cap[0] - 1]], *cap[1:]) for cap in caps))


def find_counters(tenant_id: int) -> Counters | None:
    """The tenant's counters on the server that answers now; None when they must be rebuilt."""

    def ask() -> Counters | None:
        with _one_connection() as connection:
            run_id = str(connection.info("server")["run_id"])
            epoch = connection.get(_epoch_key(tenant_id))
            if epoch is None or str(epoch).partition(" ")[2] != run_id:
                return None
            # On the connection that was asked: a server restarted since does not get them.
            _load_scripts(connection)
        return Counters(tenant_id, str(epoch))

    return cast("Counters | None", _answered(ask))


def begin_epoch(tenant_id: int, name: str) -> Counters:
    """Begin a new life of the tenant's counters: empty, and all of the old one's void."""

    def begin() -> Counters:
        with _one_connection() as connection:
            run_id = str(connection.info("server")["run_id"])
            epoch = f"{name} {run_id}"
            connection.set(_epoch_key(tenant_id), epoch)
            _load_scripts(connection)
        return Counters(tenant_id, epoch)

    return cast("Counters", _answered(begin))


def forget_old_epochs(counters: Counters) -> int:
    """Delete what lives before this one left behind; returns the keys deleted."""
    prefix = _tenant_prefix(counters.tenant_id)
    keep = (f"{prefix}{counters.epoch.partition(' ')[0]}:", f"{prefix}epoch")
    gone = [
        key
        for key in client().scan_iter(match=f"{prefix}*", count=1000)
        if not str(key).startswith(keep)
    ]
    for start in range(0, len(gone), 1000):
        client().unlink(*gone[start : start + 1000])
    return len(gone)


def _one_connection() -> redis.Redis:
    """A client of one connection: what it asks, one server answers, or none."""
    return cast("redis.Redis", client().client())  # type: ignore[no-untyped-call]


def _load_scripts(connection: redis.Redis) -> None:
    for text in _scripts.text.values():
        connection.script_load(text)


def _answered(ask: Any) -> Any:
    """What Redis answered; raises that there is nothing to trust, or that it did not answer."""
    try:
        return ask()
    except NoScriptError as error:
        raise CountersLost from error
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise CountersUnreachable from error


def _tenant_prefix(tenant_id: int) -> str:
    return f"costboard:{{b{tenant_id}}}:"


def _epoch_key(tenant_id: int) -> str:
    return f"{_tenant_prefix(tenant_id)}epoch"


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
