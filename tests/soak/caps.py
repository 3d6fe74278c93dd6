"""Caps under load and kill -9, over real HTTP and real Valkey. `make soak ARGS=caps`.

    python -m tests.soak.caps [--decisions N] [--clients N] [--kills N] [--seed N]

First without kills, then the same with kill -9 of Valkey and web at random. One client in eight
leases what it may. Prints what was decided and found; exits 1 if a cap was overspent at any sampled
instant, a request that fitted was refused, an answer held another amount than its worst case, or
spent and held are not what the clients' own books and the ledger say in the end.
"""

import argparse
import http.client
import itertools
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.budgets.caps_load import Books, Clients, Granted, Request, Sampler, TurnedAway
from tests.budgets.lease_load import Leasing
from tests.demo_tree import DemoTree, running_demo
from tests.processes import wait_until

HOLD_SECONDS = 60
QUIET_LIMIT_S = 240.0
RETRY_S = 0.2
GIVE_UP_S = 120.0
# One client in so many leases.
LEASES_ONE_IN = 8
# Of what is asked for in all, about so much fits: near exhaustion for most of the run.
FITS = Decimal("0.5")
WORST_USD_A_DECISION = Decimal("0.0027")


class OverHttp:
    """A client's connection; every call is repeated until it is answered."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self._port = port
        self._headers = headers | {"Content-Type": "application/json"}
        self._connection: http.client.HTTPConnection | None = None

    def reserve(self, request: Request) -> Granted | TurnedAway:
        body = {
            "request_id": request.request_id,
            "department": request.department,
            "input_tokens": request.input_tokens,
            "max_output_tokens": request.max_output_tokens,
            "candidates": ["openai/gpt-4o-mini"],
            "reserve": True,
        }
        asked_at = time.monotonic()
        status, answer = self._call("/routing/decisions", body)
        if status == 402:
            cap = answer["caps"][0]
            return TurnedAway(Decimal(cap["left"]), Decimal(cap["asked"]))
        held_usd = Decimal(answer["held_usd"])
        if held_usd == 0 and time.monotonic() - asked_at > HOLD_SECONDS:
            # Answered so late that the hold had run out: it stands at its worst case, not held.
            held_usd = request.worst_usd
        return Granted(answer["decision_id"], held_usd)

    def charge(self, request: Request, decision_id: str, output_tokens: int) -> None:
        event = {
            "id": request.request_id,
            "timestamp": STARTED.isoformat(),
            "provider": "openai",
            "model": "gpt-4o-mini",
            "department": request.department,
            "decision_id": decision_id,
            "usage": {"input_tokens": request.input_tokens, "output_tokens": output_tokens},
        }
        _, answer = self._call("/usage/events", [event])
        assert answer["rejected"] == [], answer

    def say(self, decision_id: str, cost_usd: Decimal) -> None:
        self._call(f"/routing/decisions/{decision_id}/settle", {"cost_usd": f"{cost_usd:f}"})

    def release(self, decision_id: str) -> None:
        self._call(f"/routing/decisions/{decision_id}/release", {})

    def lease(self, path: str, body: object) -> tuple[int, Any]:
        return self._call(f"/budgets/leases{path}", body)

    def _call(self, path: str, body: object) -> tuple[int, Any]:
        give_up_at = time.monotonic() + GIVE_UP_S
        while True:
            try:
                status, answer = self._send(path, json.dumps(body))
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                self._connection = None
            else:
                if status in (200, 201, 402):
                    return status, answer
                if status < 500:
                    raise AssertionError(f"{path}: {status} {answer}")
            if time.monotonic() > give_up_at:
                raise AssertionError(f"{path}: not answered in {GIVE_UP_S} s")
            time.sleep(RETRY_S)

    def _send(self, path: str, body: str) -> tuple[int, Any]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        self._connection.request("POST", f"/api/v1{path}", body, self._headers)
        answer = self._connection.getresponse()
        return answer.status, json.load(answer)


STARTED = datetime.now(UTC)


def main() -> int:
    arguments = _arguments()
    scratch = Path(tempfile.mkdtemp(prefix="costboard-caps-"))
    try:
        with running_demo(scratch) as demo:
            os.environ.update(demo.environment)
            return _run(demo, arguments)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--decisions", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    return parser.parse_args()


def _run(demo: DemoTree, arguments: argparse.Namespace) -> int:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costboard.settings")
    django.setup()
    print(f"seed {arguments.seed}", flush=True)
    calm = arguments.decisions * 3 // 4
    wrongs = _round(demo, arguments, decisions=calm, kills=0)
    wrongs += _round(demo, arguments, decisions=arguments.decisions - calm, kills=arguments.kills)
    print("\n".join(wrongs) or "nothing wrong")
    return 1 if wrongs else 0


def _round(
    demo: DemoTree, arguments: argparse.Namespace, *, decisions: int, kills: int
) -> list[str]:
    """A tenant of its own, its caps, the clients, and what is wrong in the end."""
    from tests.soak.caps_tenant import CapsTenant

    tenant = CapsTenant(decisions * WORST_USD_A_DECISION * FITS, hold_seconds=HOLD_SECONDS)
    port = int(demo.url.rpartition(":")[2])
    leasing: list[Leasing] = []
    turn = itertools.count(1)

    def gate() -> OverHttp | Leasing:
        if next(turn) % LEASES_ONE_IN:
            return OverHttp(port, tenant.headers)
        single = OverHttp(port, tenant.new_router())
        leasing.append(Leasing(single, single.lease))
        return leasing[-1]

    clients = Clients(
        gate,
        decisions=decisions,
        clients=arguments.clients,
        seed=arguments.seed,
    )
    sampler = Sampler(tenant.left, every_s=0.05)
    began_s = time.monotonic()
    sampler.start()
    clients.start()
    killed = _kill_meanwhile(demo, clients.is_alive, kills, random.Random(arguments.seed))
    books = clients.join()
    wrongs = _return_leases(leasing)
    seconds = time.monotonic() - began_s
    wrongs += _settle_down(tenant, books)
    sampler.stop()
    print(
        f"{decisions} decisions by {arguments.clients} clients in {seconds:.0f} s"
        f" ({decisions / seconds:.0f}/s), killed {killed or 'nothing'}: {books.granted} granted"
        f" ({sum(each.leased for each in leasing)} of them under"
        f" {sum(len(each.leases) for each in leasing)} leases),"
        f" {books.refused} refused, {books.refused_although_it_fitted} of them although they"
        f" fitted; {dict(books.fates)}; {sampler.samples} samples of the caps"
        f" ({sampler.unanswered} unanswered), worst left {sampler.worst}",
        flush=True,
    )
    if sampler.worst < 0:
        wrongs.append(f"overspent by {-sampler.worst} billionths of a dollar at some instant")
    if sampler.samples < 10 or not books.granted or not books.refused:
        wrongs.append("the run saw too little to say anything")
    if books.refused_although_it_fitted:
        wrongs.append(f"{books.refused_although_it_fitted} refused although they fitted")
    return wrongs + books.errors[:5]


def _kill_meanwhile(
    demo: DemoTree, goes_on: Callable[[], bool], kills: int, chance: random.Random
) -> dict[str, int]:
    done = {"valkey": 0, "granian": 0}
    for n in range(kills):
        pause_until = time.monotonic() + chance.uniform(2, 6)
        while time.monotonic() < pause_until and goes_on():
            time.sleep(0.1)
        if not goes_on():
            break
        word = "valkey" if n % 2 == 0 else "granian"
        with suppress(AssertionError):
            demo.kill(word)
            done[word] += 1
    return {word: count for word, count in done.items() if count}


def _return_leases(leasing: Sequence[Leasing]) -> list[str]:
    wrongs = []
    for each in leasing:
        try:
            each.close()
        except AssertionError as error:
            wrongs.append(f"a lease was not returned: {error}")
    return wrongs


def _settle_down(tenant: Any, books: Books) -> list[str]:
    """Wait for holds to run out and charges to fold; then compare with the clients' books, and what
    they do not know with the journal and the ledger."""
    for request in books.unanswered:
        spent_usd, is_charge = tenant.spent_on(request.request_id)
        books.spend(request.department, spent_usd, is_charge=is_charge)
    expected = {
        "all": sum(books.spent_usd.values(), Decimal(0)),
        "eng": books.spent_usd["eng"] + books.spent_usd["ml"],
        "ml": books.spent_usd["ml"],
    }
    with suppress(AssertionError):
        wait_until(
            lambda: tenant.standings() == {name: (usd, 0) for name, usd in expected.items()},
            limit_s=QUIET_LIMIT_S,
            what="the caps are at rest",
        )
    wrongs = [
        f"{name}: spent and held are {found}, not {(expected[name], 0)}"
        for name, found in tenant.standings().items()
        if found != (expected[name], 0)
    ]
    in_ledger = tenant.charged()
    if in_ledger != books.charged_usd:
        wrongs.append(
            f"the ledger holds {in_ledger} USD, the clients were told {books.charged_usd}"
        )
    return wrongs


if __name__ == "__main__":
    threading.stack_size(512 * 1024)
    sys.exit(main())
