"""The pages about own hardware: what it costs a token, when it pays, and saying what there is."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django_htmx.http import replace_url

from apps.dashboards.hardware import forms, sentences
from apps.dashboards.hardware.page import read_comparisons, read_hardware
from apps.dashboards.page import PageRequest, changing, page
from apps.pricing import hardware_services as services
from apps.pricing.core.allocation import Throughput
from apps.pricing.core.depreciation import Loan
from apps.pricing.errors import HardwareError
from apps.pricing.hardware_pool import PoolInfo
from apps.pricing.hardware_selectors import list_pools
from apps.pricing.selectors import list_backends

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PoolSetup:
    """A pool with its forms, as admins see it; viewers see no forms."""

    pool: PoolInfo
    forms: list[forms.Form]

    @property
    def key(self) -> str:
        """Tells its fields' ids from those of other pools."""
        return str(self.pool.id)


@page
def hardware(request: PageRequest) -> HttpResponse:
    return render(request, "dashboards/hardware.html", _context(request))


@page
def comparison(request: PageRequest) -> HttpResponse:
    pools = list_pools()
    reports = read_comparisons(pools, request.now)
    context = {
        "reports": reports,
        "has_hardware": bool(pools),
        "answer": sentences.comparison_answer([one.local for one in reports]),
    }
    return render(request, "dashboards/hardware_comparison.html", context)


@changing
def add_hardware(request: PageRequest) -> HttpResponse:
    """Adds a pool or a part of one; a form that cannot be taken comes back with what is wrong."""
    kind, pool_id = request.POST.get("form", ""), request.POST.get("pool", "")
    form = _forms(request, request.tenant.local_date(request.now)).get(kind)
    if form is None or not (kind == "pool" or pool_id.isdecimal()):
        return HttpResponse(status=404)
    values, form = forms.read_form(form, request.POST)
    if not forms.has_errors(form):
        try:
            _ADD[kind](int(pool_id or 0), values, _who(request))
            return redirect("hardware")
        except HardwareError as error:
            form = forms.with_error(form, str(error), error.field)
    context = _context(request, sent=(pool_id, form))
    return _sent_back(request, context)


@changing
def end_hardware(request: PageRequest) -> HttpResponse:
    """Lets a part of a pool end before a day."""
    kind, part_id = request.POST.get("form", ""), request.POST.get("part_id", "")
    day = request.POST.get("ends_before", "")
    try:
        if not part_id.isdecimal():
            raise HardwareError("there is no such part")
        services.end_part(
            kind=kind, part_id=int(part_id), ends_before=date.fromisoformat(day), **_who(request)
        )
    except (HardwareError, ValueError) as error:
        detail = str(error) if isinstance(error, HardwareError) else f"{day!r} is not a day"
        context = _context(request) | {"refusal": f"{detail[:1].upper()}{detail[1:]}."}
        return _sent_back(request, context)
    return redirect("hardware")


urlpatterns = [
    path("hardware", hardware, name="hardware"),
    path("hardware/comparison", comparison, name="hardware-comparison"),
    path("hardware/add", add_hardware, name="add-hardware"),
    path("hardware/end", end_hardware, name="end-hardware"),
]


def _sent_back(request: PageRequest, context: dict[str, Any]) -> HttpResponse:
    response = render(request, "dashboards/hardware.html", context, status=422)
    # The address stays the page's: it can be loaded again.
    return replace_url(response, reverse("hardware"))


def _who(request: PageRequest) -> dict[str, Any]:
    return {"actor": request.user.get_username(), "now": request.now}


def _forms(request: PageRequest, today: date) -> dict[str, forms.Form]:
    local = tuple(backend.key for backend in list_backends() if backend.kind == "local")
    made = [
        forms.pool_form(request.tenant.time_zone),
        forms.asset_form(today),
        forms.node_form(today),
        forms.tariff_form(today),
        forms.running_cost_form(today),
        forms.deployment_form(today, local),
    ]
    return {form.kind: form for form in made}


def _context(request: PageRequest, sent: tuple[str, forms.Form] | None = None) -> dict[str, Any]:
    """`sent`: the pool and the form that came back with errors."""
    zone, now = request.tenant.zone, request.now
    today = now.astimezone(zone).date()
    pools = list_pools()
    reports = read_hardware(pools, zone, now)
    blank = _forms(request, today)
    pool_form = blank.pop("pool")
    if sent and sent[1].kind == "pool":
        pool_form = sent[1]
    return {
        "reports": reports,
        "answer": sentences.hardware_answer([(r.series.name, r.summary) for r in reports]),
        "pools": [PoolSetup(pool, _pool_forms(pool, blank, sent)) for pool in pools],
        "pool_form": pool_form,
        "today": today,
    }


def _pool_forms(
    pool: PoolInfo, blank: dict[str, forms.Form], sent: tuple[str, forms.Form] | None
) -> list[forms.Form]:
    if sent is None or sent[0] != str(pool.id):
        return list(blank.values())
    return [sent[1] if form.kind == sent[1].kind else form for form in blank.values()]


def _add_pool(_: int, values: Values, who: dict[str, Any]) -> None:
    services.add_pool(name=values["name"], time_zone=values["time_zone"], **who)


def _add_asset(pool_id: int, values: Values, who: dict[str, Any]) -> None:
    loan = None
    terms = [values.pop(f"loan_{name}") for name in ("principal_usd", "annual_rate", "term_months")]
    if any(term is not None for term in terms):
        if None in terms:
            raise HardwareError(
                "a loan has an amount, interest and a term", field="loan_principal_usd"
            )
        try:
            loan = Loan(*terms)
        except ValueError as error:
            raise HardwareError(str(error), field="loan_principal_usd") from error
    services.add_asset(pool_id=pool_id, loan=loan, **values, **who)


def _add_node(pool_id: int, values: Values, who: dict[str, Any]) -> None:
    services.add_node(pool_id=pool_id, **values, **who)


def _set_tariff(pool_id: int, values: Values, who: dict[str, Any]) -> None:
    price, starts, ends = (values.pop(f"window_{n}") for n in ("usd_per_kwh", "starts", "ends"))
    days = values.pop("window_days") or "all"
    windows = []
    if any(given is not None for given in (price, starts, ends)):
        if None in (price, starts, ends):
            raise HardwareError(
                "such hours have a price, a beginning and an end", field="window_usd_per_kwh"
            )
        windows.append(
            {
                "usd_per_kwh": f"{price:f}",
                "starts": starts.isoformat("minutes"),
                "ends": ends.isoformat("minutes"),
                "days": days,
            }
        )
    services.set_tariff(pool_id=pool_id, windows=windows, **values, **who)


def _add_running_cost(pool_id: int, values: Values, who: dict[str, Any]) -> None:
    services.add_running_cost(pool_id=pool_id, **values, **who)


def _deploy(pool_id: int, values: Values, who: dict[str, Any]) -> None:
    reads, writes, cached = (
        values.pop(name)
        for name in ("input_tokens_per_second", "output_tokens_per_second", "cached_input_weight")
    )
    try:
        throughput = Throughput(reads, writes, cached)
    except ValueError as error:
        raise HardwareError(
            "a backend reads and writes more than 0 tokens a second, and a cached token weighs"
            " 0 to 100%",
            field="input_tokens_per_second",
        ) from error
    services.deploy_backend(pool_id=pool_id, throughput=throughput, **values, **who)


_ADD: Final[dict[str, Callable[[int, Values, dict[str, Any]], None]]] = {
    "pool": _add_pool,
    "asset": _add_asset,
    "node": _add_node,
    "tariff": _set_tariff,
    "running_cost": _add_running_cost,
    "deployment": _deploy,
}
