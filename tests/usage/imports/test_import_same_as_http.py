"""Whatever the events: a file of them comes to the same charges as posting them over HTTP."""

import json
import tempfile
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import MakeTenant, make_key
from tests.usage.imports.tables import (
    BEGIN,
    as_csv,
    as_ndjson,
    as_parquet,
    charges_of,
    run_import,
)

words = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=12)
names = words.filter(lambda text: text not in ("NULL", "\\N"))
amounts = st.decimals(0, 1000, places=9).map(lambda amount: format(amount, "f"))


@st.composite
def events(draw: st.DrawFn, number: int) -> dict[str, Any]:
    """A native event that is good, with some of its fields."""
    read, write, uncached = (draw(st.integers(0, 10**6)) for _ in range(3))
    output = draw(st.integers(0, 10**5))
    provider, model = draw(
        st.sampled_from(
            [("openai", "gpt-4o-mini"), ("anthropic", "claude-sonnet-4-5"), ("nobody", "own-7b")]
        )
    )
    event: dict[str, Any] = {
        "id": f"{draw(names)}-{number}",
        "timestamp": (BEGIN + timedelta(microseconds=draw(st.integers(0, 4 * 10**12)))).isoformat(),
        "provider": provider,
        "model": model,
        "usage": {
            "input_tokens": read + write + uncached,
            "cache_read_tokens": read,
            "cache_write_tokens": write,
            "output_tokens": output,
        },
    }
    for name in ("customer", "department", "user", "project", "environment", "task", "status"):
        if draw(st.booleans()):
            event[name] = draw(names)
    for name, values in (("reported_cost", amounts), ("latency_ms", st.integers(0, 10**6)),
                         ("converted", st.booleans())):  # fmt: skip
        if draw(st.booleans()):
            event[name] = draw(values)
    if draw(st.booleans()):
        event["tags"] = {"team": draw(names)}
    if draw(st.booleans()):
        event["status"] = "success"
    return event


tables = st.integers(1, 6).flatmap(lambda size: st.tuples(*(events(n) for n in range(size))))


def as_row(event: dict[str, Any]) -> dict[str, Any]:
    """An event as a row of columns; a field that is absent is an empty cell."""
    row = {f"usage.{name}": count for name, count in event["usage"].items()}
    row |= {name: event.get(name) for name in COLUMNS}
    return row | {"tags.team": event.get("tags", {}).get("team")}


COLUMNS = ("id", "timestamp", "provider", "model", "customer", "department", "user", "project",
           "environment", "task", "status", "reported_cost", "latency_ms", "converted")  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet", "native"])
@given(table=tables)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_file_of_events_is_charged_as_the_same_events_posted(
    make_tenant: MakeTenant, client: Client, form: str, table: tuple[dict[str, Any], ...]
) -> None:
    posted, imported = make_tenant(), make_tenant()
    answer = client.post(
        "/api/v1/usage/events",
        json.dumps(table),
        content_type="application/json",
        headers=make_key(posted.id).headers,
    )
    assert (answer.status_code, answer.json()["accepted"]) == (200, len(table)), answer.content
    rows = [as_row(event) for event in table]
    data = {
        "csv": lambda: as_csv(rows),
        "ndjson": lambda: as_ndjson(rows),
        "parquet": lambda: as_parquet(rows),
        "native": lambda: as_ndjson(table),
    }[form]()
    with tempfile.TemporaryDirectory() as folder:
        info, said = run_import(imported, Path(folder), data)
    assert (info.state, info.accepted) == ("done", len(table)), said
    charges = charges_of(posted)
    assert charges_of(imported) == charges
    assert info.cost_usd == sum((row[10] or Decimal(0) for row in charges), Decimal(0))
