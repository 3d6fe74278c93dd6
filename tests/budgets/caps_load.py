"""Many clients against nested caps near exhaustion, and what must hold of them at each instant.

The clients keep books of their own: what was granted, what became of it. A gate says how a request
is reserved and ended: over HTTP, in process, or naively, to see that the test sees overspending.
"""

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

INPUT_USD, OUTPUT_USD = Decimal("0.15e-6"), Decimal("0.60e-6")  # gpt-4o-mini, a token
DEPARTMENTS = ("eng", "ml", "ops")


@dataclass(frozen=True)
class Request:
    request_id: str
    department: str
    input_tokens: int
    max_output_tokens: int

    @property
    def worst_usd(self) -> Decimal:
        return self.cost_usd(self.max_output_tokens)

    def cost_usd(self, output_tokens: int) -> Decimal:
        return self.input_tokens * INPUT_USD + output_tokens * OUTPUT_USD


@dataclass(frozen=True)
class Granted:
    decision_id: str
    held_usd: Decimal


@dataclass(frozen=True)
class TurnedAway:
    """The cap that the request would break: what was left, and what it asked."""

    left: Decimal
    asked: Decimal


class Gate(Protocol):
    """How clients reach the caps. Each call is made again until it is answered."""

    def reserve(self, request: Request) -> Granted | TurnedAway: ...
    def charge(self, request: Request, decision_id: str, output_tokens: int) -> None: ...
    def say(self, decision_id: str, cost_usd: Decimal) -> None: ...
    def release(self, decision_id: str) -> None: ...


@dataclass
class Books:
    """What the clients know."""

    granted: int = 0
    refused: int = 0
    refused_although_it_fitted: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    # By department: what must have been spent in the end.
    spent_usd: dict[str, Decimal] = field(
        default_factory=lambda: dict.fromkeys(DEPARTMENTS, Decimal(0))
    )
    charged_usd: Decimal = Decimal(0)
    # Of whom an answer got lost for good: what became of it the books do not know.
    unanswered: list[Request] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def spend(self, department: str, usd: Decimal, *, is_charge: bool) -> None:
        with self.lock:
            self.spent_usd[department] += usd
            if is_charge:
                self.charged_usd += usd


# What a client does with what it was granted, of a hundred.
FATES = (
    *("charge",) * 60,
    *("charge twice",) * 10,
    *("charge later",) * 10,
    *("say, then charge",) * 5,
    *("say",) * 5,
    *("release",) * 5,
    *("vanish",) * 5,
)


class Clients:
    """`clients` threads that make `decisions` decisions between them."""

    def __init__(
        self,
        gate_of: Callable[[], Gate],
        *,
        decisions: int,
        clients: int,
        seed: int,
        fates: Sequence[str] = FATES,
        stop: threading.Event | None = None,
    ) -> None:
        self.books = Books()
        self._gate_of = gate_of
        self._left = decisions
        self._fates = fates
        self._lock = threading.Lock()
        self._stop = stop or threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(seed * 1000 + n),), daemon=True)
            for n in range(clients)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> Books:
        for thread in self._threads:
            thread.join()
        return self.books

    def is_alive(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _run(self, chance: random.Random) -> None:
        later: list[tuple[Request, str, int]] = []
        try:
            self._work(chance, later)
        except Exception as error:
            self.books.errors.append(repr(error))
            # Who gave up charges no more: these end as those that vanished, at their worst case.
            for request, _, _ in later:
                self.books.spend(request.department, request.worst_usd, is_charge=False)

    def _work(self, chance: random.Random, later: list[tuple[Request, str, int]]) -> None:
        gate = self._gate_of()
        while self._take() and not self._stop.is_set():
            request = Request(
                request_id=uuid.uuid4().hex,
                department=chance.choice(DEPARTMENTS),
                input_tokens=chance.randint(1, 20_000),
                max_output_tokens=chance.randint(1, 4_000),
            )
            with self._answered(request):
                outcome = gate.reserve(request)
            if isinstance(outcome, TurnedAway):
                with self.books.lock:
                    self.books.refused += 1
                    self.books.refused_although_it_fitted += outcome.asked <= outcome.left
                continue
            assert outcome.held_usd == request.worst_usd, (outcome, request)
            self._end(gate, request, outcome.decision_id, chance, later)
            if len(later) > 20:
                chance.shuffle(later)
                self._charge(gate, *later.pop())
        while later:
            self._charge(gate, *later.pop())

    @contextmanager
    def _answered(self, request: Request) -> Iterator[None]:
        try:
            yield
        except Exception:
            self.books.unanswered.append(request)
            raise

    def _take(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0

    def _end(
        self,
        gate: Gate,
        request: Request,
        decision_id: str,
        chance: random.Random,
        later: list[tuple[Request, str, int]],
    ) -> None:
        fate = chance.choice(self._fates)
        output = chance.randint(0, request.max_output_tokens)
        with self.books.lock:
            self.books.granted += 1
            self.books.fates[fate] += 1
        if fate in ("charge", "charge twice"):
            self._charge(gate, request, decision_id, output)
            if fate == "charge twice":
                gate.charge(request, decision_id, output)  # charged and booked: nothing is unknown
        elif fate == "charge later":
            later.append((request, decision_id, output))
        elif fate == "say, then charge":
            with self._answered(request):
                gate.say(decision_id, request.worst_usd)
            later.append((request, decision_id, output))
        elif fate == "say":
            with self._answered(request):
                gate.say(decision_id, Decimal("0.000001"))
            self.books.spend(request.department, Decimal("0.000001"), is_charge=False)
        elif fate == "release":
            with self._answered(request):
                gate.release(decision_id)
        else:  # vanished: the hold runs out at its worst case
            self.books.spend(request.department, request.worst_usd, is_charge=False)

    def _charge(self, gate: Gate, request: Request, decision_id: str, output: int) -> None:
        with self._answered(request):
            gate.charge(request, decision_id, output)
        cost_usd = request.cost_usd(output)
        self.books.spend(request.department, cost_usd, is_charge=True)


class Sampler(threading.Thread):
    """Looks at the caps all the time; `left_of` gives what is left of each, in any unit."""

    def __init__(self, left_of: Callable[[], Sequence[int]], *, every_s: float) -> None:
        super().__init__(daemon=True)
        self._left_of = left_of
        self._every_s = every_s
        self._over = threading.Event()
        self.samples = 0
        self.unanswered = 0
        self.worst = 0

    def run(self) -> None:
        while not self._over.is_set():
            try:
                left = self._left_of()
            except Exception:
                self.unanswered += 1
            else:
                self.samples += 1
                self.worst = min([self.worst, *left])
            time.sleep(self._every_s)

    def stop(self) -> None:
        self._over.set()
        self.join()
