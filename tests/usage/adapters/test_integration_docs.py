"""The pages in docs/integrations say what the adapters do."""

import ast
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from apps.usage.adapters.cloudevents import STRUCTURED, parse_cloudevents
from apps.usage.adapters.native import NativeEvent, NativeUsage, parse_native
from tests.usage.adapters.bodies import (
    ANTHROPIC_CALL,
    ANTHROPIC_CALL_WITHOUT_AGES,
    OPENAI_CALL,
    OPENAI_CALL_WITHOUT_DETAILS,
    OPENAI_CALL_WITHOUT_REASONING,
    native_row,
    tokens_of,
)

PAGES = Path(__file__).parents[3] / "docs" / "integrations"
NATIVE = (PAGES / "native.md").read_text()
CLOUDEVENTS = (PAGES / "cloudevents.md").read_text()
RAW_USAGE = (PAGES / "provider-usage.md").read_text()
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def blocks(language: str, page: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_event_that_curl_posts_is_taken() -> None:
    (event,) = parse_native(posted_by_curl(NATIVE)).events
    assert tokens_of(event) == OPENAI_CALL


def posted_by_curl(page: str) -> bytes:
    command = blocks("sh", page)[0]
    return command.partition("-d '")[2].rstrip().removesuffix("'").encode()


def test_the_meters_and_the_variant_shown_are_taken() -> None:
    (event,) = parse_native(blocks("json", NATIVE)[1].encode()).events
    assert (event.meters, event.price_context) == ({"web_searches": 2}, {"service_tier": "flex"})


def test_the_providers_objects_shown_are_taken() -> None:
    taken = [
        event
        for block in blocks("json", RAW_USAGE)
        for event in parse_native(block.encode()).events
    ]
    assert {event.event_id: tokens_of(event) for event in taken} == {
        "openai-1": OPENAI_CALL,
        "anthropic-1": ANTHROPIC_CALL,
        "gemini-1": OPENAI_CALL,
        "bedrock-1": ANTHROPIC_CALL_WITHOUT_AGES,
        "ollama-1": OPENAI_CALL_WITHOUT_DETAILS,
    }


def test_the_cloudevent_that_curl_posts_is_taken() -> None:
    body = posted_by_curl(CLOUDEVENTS)
    (event,) = parse_cloudevents(body, {"content-type": STRUCTURED}, now=NOW).events
    assert tokens_of(event) == OPENAI_CALL_WITHOUT_REASONING
    assert (event.customer, event.department) == ("acme", "support")


def test_the_openmeter_event_shown_is_taken() -> None:
    """The example is run against a stand-in for OpenMeter's SDK, which is no dependency of ours."""
    sent: list[dict[str, Any]] = []
    events = SimpleNamespace(ingest_event=sent.append)
    clients = SimpleNamespace(Client=lambda endpoint, token: SimpleNamespace(events=events))
    stand_ins = {"openmeter": clients, "openmeter.models": SimpleNamespace(Event=dict)}
    (example,) = blocks("python", CLOUDEVENTS)
    environment = {"COSTBOARD_URL": "http://localhost", "COSTBOARD_API_KEY": "KEY"}
    with patch.dict("sys.modules", stand_ins), patch.dict("os.environ", environment):
        exec(example, {})
    (shown,) = sent
    body = json.dumps(shown | {"time": shown["time"].isoformat()}).encode()
    (event,) = parse_cloudevents(body, {"content-type": STRUCTURED}, now=NOW).events
    assert (event.customer, event.uncached_input_tokens) == ("acme", 1000)


def test_every_kind_of_tokens_named_is_known() -> None:
    (row,) = re.findall(r"\| one kind of tokens: (.*?)\. ", CLOUDEVENTS)
    for kind in re.findall(r"`(\w+)`", row):
        body = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
        data = {"tokens": 1, "model": "gpt-4o-mini", "type": kind}
        raw = json.dumps(body | {"data": data}).encode()
        assert parse_cloudevents(raw, {"content-type": STRUCTURED}, now=NOW).rejections == []


def test_the_refusal_shown_is_the_one_given() -> None:
    shown = json.loads(blocks("json", NATIVE)[2])["rejected"][0]
    usage = {"input_tokens": 1, "output_tokens": 1, "foo": 1}
    rows = [native_row(), native_row(id="x", usage=usage)]
    (given,) = parse_native(json.dumps(rows).encode()).rejections
    assert {key: getattr(given, key) for key in shown} == shown


def test_every_field_is_named() -> None:
    for field in (*NativeEvent.__struct_fields__, *NativeUsage.__struct_fields__):
        assert f"`{field}`" in NATIVE


def test_the_python_shown_is_python() -> None:
    for page in PAGES.glob("*.md"):
        for block in blocks("python", page.read_text()):
            ast.parse(block)


def test_links_lead_somewhere() -> None:
    for page in PAGES.glob("*.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (PAGES / target).exists(), (page.name, target)
