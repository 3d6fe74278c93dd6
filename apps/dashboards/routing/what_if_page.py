"""The what-if page: ask for a replay in one sentence, watch it run, read it, compare two."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from apps.dashboards.page import PageRequest, changing, usage_page
from apps.dashboards.pricing.words import moment_words
from apps.dashboards.reading import Names
from apps.dashboards.routing import savings_words as words
from apps.dashboards.routing.savings_figures import before_and_after
from apps.dashboards.sentences import Answer, Phrase
from apps.dashboards.templatetags.figures_of_speech import count, in_usd, usd_short
from apps.dashboards.ticks import day_label
from apps.dashboards.typed_numbers import NotANumber, typed_decimal
from apps.pricing.core.money import plain_decimal
from apps.pricing.selectors import list_backends
from apps.routing.errors import InvalidRoutingInput
from apps.routing.opportunities import last_days
from apps.routing.simulations import (
    SimulationInfo,
    ask_simulation,
    get_simulation,
    list_simulations,
)
from apps.routing.tasks import simulate_window
from apps.tenants.selectors import list_departments

SPANS: Final = {"7": "7 days", "14": "14 days", "30": "30 days", "60": "60 days"}
POLICIES: Final = (
    ("live", "the live policy would have sent it, planned anew"),
    ("as_stored", "the policies and overrides that stood would have"),
    ("as_happened", "it did"),
    ("cheapest", "the cheapest that meets each floor"),
    ("best", "the best that meets each floor"),
    ("all_to", "one backend, where floors allow it"),
    ("thresholds", "80 and 95% thresholds would have"),
)
FIELDS: Final = (
    "days", "policy", "backend", "price_backend", "price_percent", "budgets", "month_usd",
    "day_usd", "department", "department_usd", "local_factor", "new_name", "new_like", "new_in",
    "new_out", "name",
)  # fmt: skip
GROUPS: Final = (("departments", "department"), ("tiers", "tier"), ("customers", "customer"))


@usage_page
def what_if(request: PageRequest) -> HttpResponse:
    return _show(request)


@changing
def ask(request: PageRequest) -> HttpResponse:
    """Keeps what is asked and hands it to a worker."""
    form = {name: request.POST.get(name, "").replace("\0", "").strip()[:200] for name in FIELDS}
    try:
        days = int(form["days"]) if form["days"] in SPANS else 30
        start, end = last_days(request.now, days)
        asked = _asked(form)
        simulation_id = ask_simulation(
            asked,
            start=start,
            end=end,
            name=form["name"] or words.asked_words(asked)[:200],
            actor=request.user.get_username(),
            now=request.now,
        )
    except InvalidRoutingInput as error:
        errors = {_FIELD_OF.get(error.field, error.field): str(error)}
        return _show(request, form=form, errors=errors, status=422)
    transaction.on_commit(partial(simulate_window.delay, request.tenant.id, simulation_id))
    return redirect("what-if-one", simulation_id=simulation_id)


_FIELD_OF: Final = {
    "new_backend.name": "new_name",
    "new_backend.like": "new_like",
    "new_backend.usd_in_per_mtok": "new_in",
}


def one(request: HttpRequest, simulation_id: int) -> HttpResponse:
    """One replay; beside another with `?with=`."""
    return usage_page(lambda inside: _show_one(inside, simulation_id))(request)


def _asked(form: Mapping[str, str]) -> dict[str, Any]:
    asked: dict[str, Any] = {"policy": form["policy"] or "live"}
    if form["policy"] == "all_to":
        asked["backend"] = form["backend"]
    if form["price_backend"] and form["price_percent"]:
        asked["prices"] = {form["price_backend"]: _share(form["price_percent"])}
    for name in ("month_usd", "day_usd", "local_factor"):
        if form[name]:
            asked[name] = _plain(form[name], name)
    if form["budgets"]:
        asked["budgets"] = True
    if form["department"] and form["department_usd"]:
        amount = _plain(form["department_usd"], "department_usd")
        asked["department_usd"] = {form["department"]: amount}
    if form["new_name"]:
        asked["new_backend"] = {
            "name": form["new_name"],
            "like": form["new_like"],
            "usd_in_per_mtok": _plain(form["new_in"], "new_backend"),
            "usd_out_per_mtok": _plain(form["new_out"], "new_backend"),
        }
    return asked


def _plain(text: str, field: str) -> str:
    """What was typed, as the API takes it."""
    try:
        return plain_decimal(typed_decimal(text)) if text else ""
    except NotANumber as error:
        raise InvalidRoutingInput(str(error), field=field) from error


def _share(text: str) -> float:
    try:
        return float(typed_decimal(text)) / 100
    except NotANumber as error:
        raise InvalidRoutingInput(
            "write the percentage as a number, such as 80", field="price_percent"
        ) from error


def _show(request: PageRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    found = list_simulations(limit=30)
    backends = [backend.key for backend in list_backends() if backend.card is not None]
    context: dict[str, Any] = {
        "tenant": request.tenant,
        "answer": _list_answer(found),
        "spans": SPANS.items(),
        "policies": POLICIES,
        "backends": backends,
        "departments": [(one.code, one.name) for one in list_departments()],
        "form": {"days": "30", "policy": "live"},
        "errors": {},
        "simulations": [_row(one, request) for one in found],
    }
    return render(request, "dashboards/what_if.html", context | more, status=status)


def _list_answer(found: list[SimulationInfo]) -> Answer:
    done = [one for one in found if one.result]
    if not done:
        return (
            Phrase("Ask: "),
            Phrase("real traffic is replayed another way", strong=True),
            Phrase(", by your own rates, floors and values."),
        )
    best = max(done, key=lambda one: (one.result or {})["gained_usd"][0])
    gained = Decimal(repr((best.result or {})["gained_usd"][0]))
    return (
        Phrase("The best of those asked for: "),
        Phrase(best.name, strong=True),
        Phrase(f", {in_usd(usd_short(gained))} better in value and cost together."),
    )


def _row(one: SimulationInfo, request: PageRequest) -> dict[str, Any]:
    return {
        "info": one,
        "asked": words.asked_words(one.asked),
        "when": moment_words(one.created_at, request.tenant.zone),
        "saved": _decimal(one.result, "saved_usd"),
        "gained": _decimal(one.result, "gained_usd"),
    }


def _decimal(result: Mapping[str, Any] | None, name: str) -> Decimal | None:
    return None if result is None else Decimal(repr(result[name][0]))


def _show_one(request: PageRequest, simulation_id: int) -> HttpResponse:
    info = get_simulation(simulation_id)
    if info is None:
        raise Http404
    others = [one for one in list_simulations(limit=30) if one.result and one.id != info.id]
    with_id = request.GET.get("with", "")
    beside = next((one for one in others if str(one.id) == with_id), None)
    context: dict[str, Any] = {
        "tenant": request.tenant,
        "info": info,
        "asked": words.asked_words(info.asked),
        "span": _span(info, request),
        "others": others,
        "beside": beside,
        "is_waiting": info.state in ("queued", "running"),
    }
    if info.result:
        context |= _about(info.result)
        context["answer"] = words.replay_answer(info.result)
        if beside and beside.result:
            context["compared"] = _compared(info.result, beside.result)
            context["beside_asked"] = words.asked_words(beside.asked)
    is_poll = request.htmx and not request.htmx.boosted
    if is_poll and context["is_waiting"] and request.GET.get("seen") == str(info.progress):
        return HttpResponse(status=204)
    name = "what_if_one_body" if is_poll else "what_if_one"
    return render(request, f"dashboards/{name}.html", context)


def _span(info: SimulationInfo, request: PageRequest) -> str:
    zone = request.tenant.zone
    start = datetime.fromisoformat(info.asked["from"]).astimezone(zone)
    end = datetime.fromisoformat(info.asked["to"]).astimezone(zone) - timedelta(seconds=1)
    return f"{day_label(start.date())} to {day_label(end.date())}"


def _about(result: Mapping[str, Any]) -> dict[str, Any]:
    names = Names()
    called = {"department": names.department, "customer": names.customer}
    tables = [
        {
            "what": what,
            "rows": [
                _numbers(row) | {"name": called.get(what, str)(row["name"] or None)}
                for row in result[key]
            ],
        }
        for key, what in GROUPS
    ]
    dearest = max(result["backends"], key=lambda row: abs(row["would_usd"] - row["happened_usd"]))
    return {
        "figure": before_and_after(result["backends"]),
        "rows": min(10, len(result["backends"])),
        "chart_title": _chart_title(dearest),
        "backends": [_numbers(row) for row in result["backends"]],
        "tables": tables,
        "facts": _facts(result),
        "sampled": result["sampled"],
        "ledger_requests": result["ledger_requests"],
        "left_out": result["left_out_requests"],
    }


def _chart_title(row: Mapping[str, Any]) -> str:
    before, after = (Decimal(repr(row[key])) for key in ("happened_usd", "would_usd"))
    if before == after:
        return "Every backend would have cost the same"
    more = "more" if after > before else "less"
    return f"{row['name']} would have cost {in_usd(usd_short(abs(after - before)))} {more}"


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """Floats of a result as what the templates' filters take."""
    return {
        name: Decimal(repr(value)) if isinstance(value, float) else value
        for name, value in row.items()
    }


def _facts(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Label, happened, would, and the difference's interval."""
    happened, would = _numbers(result["happened"]), _numbers(result["would"])
    saved, gained = (_interval(result[name]) for name in ("saved_usd", "gained_usd"))
    return [
        {"what": "cost, USD", "kind": "money", "happened": happened["cost_usd"],
         "would": would["cost_usd"], "note": f"saves {saved}"},
        {"what": "value less cost, USD", "kind": "money", "happened": happened["worth_usd"],
         "would": would["worth_usd"], "note": f"gains {gained}"},
        {"what": "quality", "kind": "percent", "happened": happened["quality"],
         "would": would["quality"], "note": "mean of all that ran"},
        {"what": "refused requests", "kind": "count", "happened": happened["refused"],
         "would": would["refused"], "note": f"of {count(would['requests'])}"},
    ]  # fmt: skip


def _interval(values: list[float]) -> str:
    mean, low, high = (Decimal(repr(value)) for value in values)
    return f"{usd_short(mean)} ({usd_short(low)} to {usd_short(high)})"


def _compared(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for mine, theirs in zip(_facts(one), _facts(other), strict=True):
        rows.append(mine | {"other": theirs["would"], "other_note": theirs["note"]})
    return rows
