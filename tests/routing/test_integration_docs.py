"""docs/integrations' pages on routing: what they show is run, against the web server."""

import asyncio
import json
import re
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from apps.routing.core import policy as policy_file
from apps.routing.core import rule as rule_file
from apps.routing.core.policy import to_json
from apps.routing.planning import pace_policy
from apps.usage.adapters.litellm import parse_litellm
from tests.conftest import Key, make_key, native_event
from tests.routing.policies import make_policy
from tests.usage.adapters.test_integration_docs import PAGES, blocks
from tests.usage.adapters.test_litellm import payload
from tests.web import WebServer

MINI = "openai/gpt-4o-mini"


class Caller:
    """Calls the web server with a key that may do everything, as an example does with its own."""

    def __init__(self, web: WebServer, key: Key) -> None:
        self.web, self.key = web, key

    def __call__(self, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.web.url}/api/v1{path}",
            json.dumps(body).encode() if body is not None else None,
            {"Content-Type": "application/json", **self.key.headers},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def budget(self, usd: str, **scope: str) -> int:
        """What does not fit is refused."""
        wanted = {"scope": scope, "period": "month", "amount_usd": usd, "on_limit": "refuse"}
        return int(self("/budgets", wanted)["id"])

    def stands(self, budget_id: int) -> tuple[Decimal, Decimal]:
        """Spent and held, USD."""
        row = self(f"/budgets/{budget_id}")
        return Decimal(row["spent_usd"]), Decimal(row["held_usd"])


@pytest.fixture
def call(web: WebServer, key: Key, post_events: Any, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """A tenant that has chats of sales behind it, and the environment that an example reads."""
    post_events(
        [
            native_event(department="sales", task="chat", model=model)
            for model in ("gpt-4o-mini", "gpt-4.1-nano")
            for _ in range(20)
        ]
    )
    call = Caller(web, make_key(key.identity.tenant_id, "ingest", "route", "read", "manage"))
    monkeypatch.setenv("COSTBOARD_URL", web.url)
    monkeypatch.setenv("COSTBOARD_API_KEY", call.key.secret)
    return call


@pytest.fixture
def lifted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """policy.py and rule.py, copied as the page says."""
    for module in (policy_file, rule_file):
        source = Path(str(module.__file__))
        text = source.read_text().replace("from apps.routing.core.policy", "from policy")
        assert "apps." not in text
        (tmp_path / source.name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("policy", "rule"):
        sys.modules.pop(name, None)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: a browser that other tests opened has a loop running in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def example(page: str, name: str = "example") -> Any:
    """The page's first block of Python, as a module."""
    module = ModuleType(name)
    exec(blocks("python", (PAGES / page).read_text())[0], module.__dict__)
    return module


def test_a_router_of_your_own_decides_reserves_and_settles(
    call: Caller, lifted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget_id = call.budget("5.00", department="sales")
    spent, _ = call.stands(budget_id)
    shown = example("routing-python.md")
    asked: list[str] = []

    def ask(backend: str) -> tuple[str, float]:
        asked.append(backend)
        _, held = call.stands(budget_id)
        assert held > 0
        return "hello", 0.0001

    # The second block starts it and routes a chat; its thread waits for versions meanwhile.
    monkeypatch.setattr(shown.Guide, "keep", lambda guide: None)
    shown.ask = ask
    exec(blocks("python", (PAGES / "routing-python.md").read_text())[1], shown.__dict__)
    assert (shown.backend, shown.answer, asked) == (MINI, "hello", [MINI])
    assert call.stands(budget_id) == (spent + Decimal("0.0001"), 0)

    def fails(backend: str) -> tuple[str, float]:
        raise TimeoutError(backend)

    with pytest.raises(TimeoutError):
        shown.run(shown.guide, uuid.uuid4().hex, shown.request, fails)
    assert call.stands(budget_id) == (spent + Decimal("0.0001"), 0)
    # A department that the policy does not name is priced as the others are.
    stranger = shown.request._replace(department="nobody")
    shown.run(shown.guide, uuid.uuid4().hex, stranger, lambda backend: ("hello", 0.0001))
    # A cap has no room: the policy in hand does not know yet, the reservation does.
    call.budget("0.0002")
    with pytest.raises(shown.Refused, match="no cap"):
        shown.run(shown.guide, uuid.uuid4().hex, shown.request, ask)
    assert asked == [MINI]


def test_a_router_of_your_own_waits_for_the_next_policy_and_knows_a_stale_one(
    call: Caller, lifted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = example("routing-python.md")
    guide = shown.Guide()
    first = guide.rule().policy
    guide.pull()
    assert guide.rule().policy is first
    tenant_id = call.key.identity.tenant_id
    pace_policy(tenant_id, now=datetime.now(UTC) + timedelta(seconds=1))
    guide.pull(wait_s=20)
    newest = guide.rule().policy
    assert newest.version > first.version
    room = guide.room
    dear = shown.Request("sales", "standard", "chat", 1000, 200.0, 500.0, 5.0, 0.5)
    cheapest = guide.rule().by_cost(dear)[0][1].backend
    fresh = guide.rule()
    monkeypatch.setattr(shown.time, "time", lambda: newest.valid_until_s + 1)
    stale = guide.rule()
    assert stale is not fresh
    assert stale.decide(dear, room).backend == cheapest
    # The server is gone: the last policy stands.
    monkeypatch.setenv("COSTBOARD_URL", "http://127.0.0.1:9")
    with pytest.raises(OSError, match="refused"):
        guide.pull()
    assert guide.rule() is stale


class Rejected(Exception):
    def __init__(self, status_code: int, detail: str) -> None:
        super().__init__(detail)
        self.status_code = status_code


@pytest.fixture
def hook(call: Caller, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The hook shown, on stand-ins for LiteLLM and FastAPI, which are no dependencies of ours."""
    tokens = SimpleNamespace(token_counter=lambda model, messages: len(str(messages)))
    stand_ins: dict[str, Any] = {
        "fastapi": SimpleNamespace(HTTPException=Rejected),
        "litellm": tokens,
        "litellm.integrations": SimpleNamespace(),
        "litellm.integrations.custom_logger": SimpleNamespace(CustomLogger=object),
    }
    for name, module in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, module)
    return example("routing-litellm.md")


SALES = SimpleNamespace(team_alias="sales", team_id=None, end_user_id=None)


def before(hook: Any, **data: Any) -> dict[str, Any]:
    asked = {
        "model": "auto",
        "messages": [{"role": "user", "content": "hello"}],
        "metadata": {"spend_logs_metadata": {"task": "chat"}},
    } | data
    return dict(run(hook.router.async_pre_call_hook(SALES, None, asked, "completion")))


def test_litellm_runs_what_costboard_chose_and_its_usage_settles_it(
    call: Caller, hook: Any
) -> None:
    budget_id = call.budget("5.00", department="sales")
    spent, _ = call.stands(budget_id)
    assert before(hook, model="gpt-4o")["model"] == "gpt-4o"
    data = before(hook)
    # While the tenant only observes: the cheapest that meets the floor of a standard chat.
    assert (data["model"], data["max_tokens"]) == ("nano", 1000)
    assert call.stands(budget_id)[1] > 0
    labels = data["metadata"]["spend_logs_metadata"]
    body = json.dumps(payload(metadata={"spend_logs_metadata": labels})).encode()
    (event,) = parse_litellm(body).events
    assert (event.decision_id, event.task) == (labels["decision_id"], "chat")
    assert not event.tags or "decision_id" not in event.tags
    failed = hook.router.async_post_call_failure_hook(data, TimeoutError(), SALES)
    run(failed)
    assert call.stands(budget_id) == (spent, 0)


def test_litellm_tells_its_client_why_nothing_runs(
    call: Caller, hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call.budget("0.000001", department="sales")
    with pytest.raises(Rejected, match="sales") as refused:
        before(hook)
    assert refused.value.status_code == 402
    monkeypatch.setenv("COSTBOARD_URL", "http://127.0.0.1:9")
    assert before(hook)["model"] == hook.FALLBACK


def test_nginx_gets_the_policys_weights(call: Caller, tmp_path: Path) -> None:
    shown = example("routing-nginx.md", "weights")
    policy, etag = shown.pull("", 0)
    assert shown.pull(etag, 0) == (None, etag)
    file = tmp_path / "costboard.conf"
    assert shown.write(policy, str(file))
    assert not shown.write(policy | {"version": policy["version"] + 1}, str(file))
    text = file.read_text()
    variable = re.search(r'"sales:standard:chat" (\$costboard_\d+);', text)
    assert variable is not None
    assert f'"$request_id" {variable[1]} {{\n    * openai_gpt-4o-mini;\n}}' in text


def test_the_weights_shown_for_nginx_are_those_written() -> None:
    page = (PAGES / "routing-nginx.md").read_text()
    weights = {"sales": "072,,1,"}
    policy = json.loads(to_json(make_policy(weights=weights)))
    written = example("routing-nginx.md", "weights").render(policy)
    assert written == blocks("nginx", page)[0]
    # Each of a split's shares is a percentage, and the last takes the rest.
    assert example("routing-nginx.md", "weights").shares_of("01a28") == [(0, 10), (10, 20), (8, 70)]
