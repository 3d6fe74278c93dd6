"""The pricing page: what a token costs, since when, and setting an own rate."""

from dataclasses import replace
from typing import Any, Final

from django.http import Http404, HttpResponse
from django.shortcuts import render

from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.pricing.form import (
    NEEDED,
    Condition,
    RateForm,
    WantedRate,
    check_form,
    meter_choices,
    read_day,
    read_form,
)
from apps.dashboards.pricing.reading import (
    MOST_UNPRICED,
    SOURCES,
    PriceFilter,
    read_backend_row,
    read_pricing,
)
from apps.dashboards.pricing.words import (
    SOURCE_WORDS,
    VARIANT_WORDS,
    day_words,
    meter_words,
    offset_words,
)
from apps.dashboards.templatetags.figures_of_speech import in_usd, usd_exact
from apps.pricing.errors import InvalidRateError, PricingError
from apps.pricing.selectors import RateInfo, current_rate_book, list_rates
from apps.pricing.services import add_alias, add_rate, change_rate, end_rate

MAX_SEARCH_LENGTH: Final = 400


@page
def pricing(request: PageRequest) -> HttpResponse:
    """The page; for its own search the table alone."""
    form = read_form(request.GET.dict())
    if "effective_from" not in request.GET:
        form = replace(form, effective_from=request.tenant.local_date(request.now).isoformat())
    context = _context(request, form)
    is_part = request.htmx and not request.htmx.boosted
    name = "pricing_table" if is_part else "pricing"
    return render(request, f"dashboards/{name}.html", context)


@page
def pricing_backend(request: PageRequest) -> HttpResponse:
    """One backend's rows of the table, opened or closed."""
    opened = request.GET.get("closed") is None
    row = read_backend_row(
        request.tenant.zone, request.now, request.GET.get("open", ""), opened=opened
    )
    if row is None:
        raise Http404
    return render(request, "dashboards/pricing_backend.html", {"row": row})


@changing
def set_rate(request: PageRequest) -> HttpResponse:
    """Adds an own rate; where one is in force at that moment, lets its price change then."""
    form = read_form(request.POST.dict())
    wanted = check_form(form, request.tenant.zone)
    if isinstance(wanted, RateForm):
        return _answer(request, wanted, status=422)
    try:
        said = _set(request, wanted)
    except PricingError as error:
        return _answer(request, form.refused(error), status=422)
    key = f"{current_rate_book().canonical_provider(wanted.provider)}/{wanted.model}"
    missing = next((m for m in NEEDED if _standing(wanted, m) == []), wanted.meter)
    following = replace(form, price="", meter=missing)
    return _answer(request, following, said=said, open_key=key)


@changing
def end_own_rate(request: PageRequest) -> HttpResponse:
    """Lets an own rate end at the start of a day."""
    key, number = request.POST.get("open", ""), request.POST.get("rate_id", "")
    ends_at = read_day(request.POST.get("ends_on", ""), request.tenant.zone)
    error = ""
    if ends_at is None:
        error = "Give the day on which it no longer applies."
    elif number.isascii() and number.isdigit() and len(number) < 19:
        try:
            end_rate(
                rate_id=int(number),
                effective_to=ends_at,
                actor=request.user.get_username(),
                now=request.now,
            )
        except PricingError as refused:
            error = str(refused)
    else:
        error = "There is no such rate."
    context: dict[str, Any] = {"open_key": key}
    if error:
        context |= {"end_error": error, "end_error_of": number}
    elif ends_at is not None:
        context |= {"said": f"The rate ends on {day_words(ends_at, request.tenant.zone)}."}
    return _answer(request, RateForm(), status=422 if error else 200, **context)


@changing
def map_model(request: PageRequest) -> HttpResponse:
    """Lets a reported name that nothing prices be priced as another model, always."""
    given = {name: request.POST.get(name, "").strip() for name in ("provider", "model", "meaning")}
    priced_provider, _, priced_model = given["meaning"].partition("/")
    reported = f"{given['provider']}/{given['model']}"
    try:
        if not priced_model or any("\0" in value for value in given.values()):
            raise InvalidRateError("write the priced model as provider/model, e.g. openai/gpt-5")
        add_alias(
            provider=given["provider"],
            model=given["model"],
            priced_provider=priced_provider,
            priced_model=priced_model,
            actor=request.user.get_username(),
            now=request.now,
        )
    except PricingError as error:
        more = {"map_error": str(error), "map_error_of": reported}
        return _answer(request, RateForm(), status=422, **more)
    said = f"{reported} is priced as {given['meaning']} from now on; reprice to rate what is past."
    return _answer(request, RateForm(), said=said)


def _set(request: PageRequest, wanted: WantedRate) -> str:
    """Record what was asked for and say in words what now holds."""
    actor, zone = request.user.get_username(), request.tenant.zone
    only_for = f" ({wanted.condition.words})" if wanted.condition.words else ""
    what = f"{wanted.model}: {meter_words(wanted.meter)}{only_for}"
    price = f"{in_usd(usd_exact(wanted.price_usd_per_mtok))} per million"
    old = _changeable(wanted)
    if old is not None and wanted.effective_from is not None:
        _check_kind(wanted, old)
        change_rate(
            rate_id=old.number,
            price_usd_per_mtok=wanted.price_usd_per_mtok,
            effective_from=wanted.effective_from,
            actor=actor,
            now=request.now,
        )
        begins = day_words(wanted.effective_from, zone)
        return f"{what} costs {price} from {begins}, after {usd_exact(old.price_usd)}."
    add_rate(
        provider=wanted.provider,
        model=wanted.model,
        meter=wanted.meter,
        price_usd_per_mtok=wanted.price_usd_per_mtok,
        effective_from=wanted.effective_from,
        kind=wanted.kind,
        actor=actor,
        now=request.now,
        when=wanted.condition.when,
        tier_start_tokens=wanted.condition.tier_start_tokens,
        window_start_s=wanted.condition.window_start_s,
        window_end_s=wanted.condition.window_end_s,
    )
    begins = f" from {day_words(wanted.effective_from, zone)}" if wanted.effective_from else ""
    return f"{what} costs {price}{begins}."


def _changeable(wanted: WantedRate) -> RateInfo | None:
    """The own rate of that meter, for the same requests, in force when the wanted one begins."""
    begins = wanted.effective_from
    if begins is None:
        return None
    for rate in _standing(wanted, wanted.meter):
        begun = rate.effective_from is None or rate.effective_from <= begins
        if begun and (rate.effective_to is None or begins < rate.effective_to):
            return rate
    return None


def _check_kind(wanted: WantedRate, old: RateInfo) -> None:
    """A change is of the price alone; all rates of a backend are of one kind."""
    kind = current_rate_book().resolve_listed(old.provider, old.model).kind
    if kind != wanted.kind:
        raise InvalidRateError(f"{old.provider}/{old.model} is {kind} so far", field="kind")


def _standing(wanted: WantedRate, meter: str) -> list[RateInfo]:
    """The own rates of that meter for the same requests."""
    provider = current_rate_book().canonical_provider(wanted.provider)
    return [
        rate
        for rate in list_rates(source="tenant", provider=provider, model=wanted.model)
        if rate.meter == meter and _condition(rate) == wanted.condition
    ]


def _condition(rate: RateInfo) -> Condition:
    return Condition(**{name: getattr(rate, name) for name in Condition.__slots__})


def _answer(
    request: PageRequest, form: RateForm, *, status: int = 200, open_key: str = "", **more: Any
) -> HttpResponse:
    context = _context(request, form, open_key=open_key) | more
    name = "pricing_body" if request.htmx else "pricing"
    return render(request, f"dashboards/{name}.html", context, status=status)


def _context(request: PageRequest, form: RateForm, open_key: str = "") -> dict[str, Any]:
    zone = request.tenant.zone
    search = request.GET.get("q", "").replace("\0", "").strip()[:MAX_SEARCH_LENGTH]
    source, kind = request.GET.get("source", ""), request.GET.get("kind", "")
    wanted = PriceFilter(
        search=search,
        source=source if source in SOURCES else "",
        kind=kind if kind in ("cloud", "local") else "",
    )
    report = read_pricing(zone, request.now, wanted, open_key or request.GET.get("open", ""))
    common, further = meter_choices()
    return {
        "report": report,
        "answer": report.answer,
        "wanted": wanted,
        "form": form,
        "sources": [(name, SOURCE_WORDS[name]) for name in SOURCES],
        "common_meters": common,
        "further_meters": further,
        "variants": VARIANT_WORDS.items(),
        "utc_offset": offset_words(request.now, zone),
        "most_unpriced": MOST_UNPRICED,
        "today": request.tenant.local_date(request.now).isoformat(),
        "tenant": request.tenant,
    }
