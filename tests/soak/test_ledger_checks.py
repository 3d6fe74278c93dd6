"""The soak's own checks: what was sent is known again, and every kind of loss is told."""

from datetime import UTC, datetime

import pytest

from apps.usage.adapters.litellm import parse_litellm
from apps.usage.adapters.native import parse_native
from apps.usage.adapters.otlp import parse_otlp_traces
from apps.usage.core.events import UsageEvent
from tests.soak.calls import LITELLM, NATIVE, OTLP, Calls
from tests.soak.ingest import Found, compare_row
from tests.soak.senders import Tally
from tests.usage.adapters.bodies import JSON, PROTOBUF, tokens_of

CALLS = Calls(7, datetime(2026, 11, 23, 12, tzinfo=UTC), 5_000)
NUMBERS = range(40)
EVENTS = {
    "array": (NATIVE, parse_native(CALLS.native(NUMBERS, as_lines=False)).events),
    "lines": (NATIVE, parse_native(CALLS.native(NUMBERS, as_lines=True)).events),
    "litellm": (LITELLM, parse_litellm(CALLS.litellm(NUMBERS)).events),
    "protobuf": (
        OTLP,
        parse_otlp_traces(CALLS.otlp(NUMBERS, as_json=False), PROTOBUF).events,
    ),
    "json": (OTLP, parse_otlp_traces(CALLS.otlp(NUMBERS, as_json=True), JSON).events),
    "litellm's spans": (
        LITELLM,
        parse_otlp_traces(CALLS.otlp(NUMBERS, as_json=True, source=LITELLM), JSON).events,
    ),
}


def ledger_row(event: UsageEvent, number: int) -> list[str | None]:
    cost = CALLS.row(number, event.source).cost
    milliseconds = str(round(event.occurred_at.timestamp() * 1000))
    tokens = [str(count) for count in tokens_of(event)[:5]]
    return [
        event.source,
        event.event_id,
        milliseconds,
        *tokens,
        None if cost is None else str(cost),
    ]


@pytest.mark.parametrize("door", EVENTS)
def test_every_door_reports_the_call_of_its_number(door: str) -> None:
    source, events = EVENTS[door]
    tally, found, seen = Tally(), Found(), bytearray(len(NUMBERS))
    tally.allocate(len(NUMBERS), source)
    assert [CALLS.number_of(source, event.event_id) for event in events] == list(NUMBERS)
    for number, event in enumerate(events):
        compare_row(found, seen, CALLS, tally, tuple(ledger_row(event, number)))
    assert (found.rows, found.wrong) == (len(NUMBERS), [])


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        (None, None, "doubled"),
        (0, "elsewhere", "invented"),
        (1, "7-999", "invented"),
        (1, "never", "invented"),
        (2, "0", "wrong"),
        (4, "77777", "wrong"),
        (8, "1.5", "wrong"),
        (8, None, "wrong"),
    ],
)
def test_what_is_not_as_it_was_sent_is_told(
    column: int | None, value: str | None, told: str
) -> None:
    source, events = EVENTS["array"]
    tally, found, seen = Tally(), Found(), bytearray(len(NUMBERS))
    tally.allocate(len(NUMBERS), source)
    priced = next(n for n in NUMBERS if CALLS.row(n, source).cost)
    row = ledger_row(events[priced], priced)
    if column is None:
        compare_row(found, seen, CALLS, tally, tuple(row))
    else:
        row[column] = value
    compare_row(found, seen, CALLS, tally, tuple(row))
    assert list(found.wrongs) == [told]
