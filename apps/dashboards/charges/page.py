"""The pages of charges: the newest, narrowed as wanted, and one explained line by line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from apps.dashboards.charges import words as charge_words
from apps.dashboards.charges.filter import (
    MAX_LENGTH,
    ChargeFilter,
    read_charge_filter,
    where_pairs,
)
from apps.dashboards.explorer.reading import ValueNames
from apps.dashboards.page import PageRequest, page, usage_page
from apps.dashboards.pricing import words as pricing_words
from apps.dashboards.reading import Names
from apps.dashboards.sentences import Phrase
from apps.dashboards.templatetags.figures_of_speech import in_percent, localised
from apps.pricing.core.rates import Discount
from apps.pricing.core.rating import ChargeLine
from apps.pricing.rate_history import Recording, read_recordings
from apps.pricing.selectors import RateInfo
from apps.tenants.scoping import tenant_scope
from apps.usage.charges import (
    Charge,
    Explanation,
    explain_charge,
    find_charge_id,
    list_charges,
    read_charge,
)
from apps.usage.dimensions import tag_dimension

SPAN_WORDS: Final = {
    "day": "24 hours", "week": "7 days", "month": "31 days", "year": "366 days",
}  # fmt: skip
PAGE_SIZE: Final = 50
# What the form has a field for; all else that the list is narrowed to it carries along.
FIELDS: Final = ("model", "customer", "department", "status", "price", "span")
STATUSES: Final = ("success", "error", "timeout", "rate_limited", "cancelled")
DEFAULT_SOURCE: Final = "default"


@dataclass(frozen=True, slots=True)
class ChargeRow:
    charge: Charge
    when: str
    customer: str
    department: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an explanation, with the rate or discount that made it."""

    line: ChargeLine
    what: str
    priced_as: str
    unit_price: str
    validity: str


@dataclass(frozen=True, slots=True)
class RateUsed:
    rate: RateInfo
    meter: str
    condition: str
    usd_per_million: str
    span: str
    source_words: str
    recording: Recording | None
    recorded_at: str


_NOTHING: Final[tuple[list[ChargeRow], bool, bool]] = ([], False, False)


@usage_page
def charges(request: PageRequest) -> HttpResponse:
    """The list; for "more" its next rows alone. A search for an id goes to that charge."""
    sought = request.GET.get("id", "").replace("\0", "").strip()[:MAX_LENGTH]
    if sought:
        found = _find(sought, request.GET.get("source", "").replace("\0", "").strip())
        if found is not None:
            return redirect("charge", charge_id=found)
    wanted = read_charge_filter(request.GET)
    before_id = _number(request.GET.get("before", ""))
    listing = _NOTHING if sought else _list(request, wanted, before_id)
    rows, has_more, too_wide = listing
    context = {
        "rows": rows,
        "more": wanted.address(rows[-1].charge.id) if has_more else "",
        "too_wide": too_wide,
        "wanted": wanted,
        "filter_chips": wanted.chips(request.path, ValueNames().of),
        "kept": [pair for pair in wanted.pairs() if pair[0] not in FIELDS],
        "sought": sought,
        "spans": SPAN_WORDS.items(),
        "statuses": STATUSES,
        "continued": before_id is not None,
    }
    if request.htmx and not request.htmx.boosted and before_id is not None:
        return render(request, "dashboards/charge_rows.html", context)
    told = charge_words.Listed([row.charge for row in rows], has_more, wanted.narrowed)
    answer = (
        (Phrase(f"No charge has the id “{sought}”."),)
        if sought
        else charge_words.charges_answer(told)
    )
    return render(request, "dashboards/charges.html", context | {"answer": answer})


def charge(request: HttpRequest, charge_id: int) -> HttpResponse:
    """Why one request was charged what it was."""
    return page(lambda inside: _explain(inside, charge_id))(request)


def _explain(request: PageRequest, charge_id: int) -> HttpResponse:
    explained = explain_charge(charge_id) if charge_id < 2**63 else None
    if explained is None:
        raise Http404
    zone, names = request.tenant.zone, Names()
    one = explained.charge
    context = {
        "charge": one,
        "explained": explained,
        "question": charge_words.charge_question(one),
        "answer": charge_words.charge_answer(explained),
        "recomputed": charge_words.recomputed_words(explained),
        "lines": _lines(explained, zone),
        "rates": _rates(explained.rates, zone),
        "source_words": pricing_words.SOURCE_WORDS[explained.price_source],
        "adjustments": [
            (pricing_words.moment_words(a.received_at, zone), a) for a in explained.adjustments
        ],
        "moves": [
            (pricing_words.moment_words(m.received_at, zone), m, charge_words.move_words(m))
            for m in explained.moves
        ],
        "occurred": pricing_words.moment_words(one.occurred_at, zone),
        "received": pricing_words.moment_words(one.received_at, zone),
        "customer": names.customer(one.customer) if one.customer else "",
        "department": names.department(one.department) if one.department else "",
        "tags": [
            (key, value, f"?{urlencode(where_pairs([(tag_dimension(key), value)]))}")
            for key, value in sorted((one.tags or {}).items())
        ],
        "conditions": sorted((one.price_context or {}).items()),
    }
    return render(request, "dashboards/charge.html", context)


def _list(
    request: PageRequest, wanted: ChargeFilter, before_id: int | None
) -> tuple[list[ChargeRow], bool, bool]:
    """(rows, whether more follow, whether the search was given up for reading too much)."""
    query = wanted.as_query(
        request.tenant.zone, now=request.now, before_id=before_id, limit=PAGE_SIZE + 1
    )
    try:
        # A scope of its own: a statement that is given up takes back no more than itself.
        with tenant_scope(request.tenant.id):
            found = list_charges(query)
    except DatabaseError as error:
        if not _took_too_long(error):
            raise
        return [], False, True
    names, zone = Names(), request.tenant.zone
    rows = [
        ChargeRow(
            charge=one,
            when=pricing_words.moment_words(one.occurred_at, zone),
            customer=names.customer(one.customer) if one.customer else "",
            department=names.department(one.department) if one.department else "",
        )
        for one in found[:PAGE_SIZE]
    ]
    return rows, len(found) > PAGE_SIZE, False


def _took_too_long(error: BaseException | None) -> bool:
    """What was done about the timeout may have failed too: then it stands behind that."""
    while error is not None:
        if "statement timeout" in str(error):
            return True
        error = error.__context__
    return False


def _find(sought: str, source: str) -> int | None:
    """By its own id, else by what the router called the event."""
    number = _number(sought)
    if number is not None and read_charge(number) is not None:
        return number
    return find_charge_id(source=source or DEFAULT_SOURCE, event_id=sought)


def _number(text: str) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) < 20
    return int(text) if is_number and int(text) < 2**63 else None


def _lines(explained: Explanation, zone: ZoneInfo) -> list[Line]:
    rates = {rate.id: rate for rate in explained.rates}
    discounts = {discount.reference: discount for discount in explained.discounts}
    made = []
    for line in explained.lines:
        in_force = rates.get(line.rate_id or "") or discounts.get(line.rate_id or "")
        what = pricing_words.meter_words(line.meter)
        if isinstance(in_force, Discount):
            what = f"discount on {what}{_percent(in_force)}"
        made.append(
            Line(
                line=line,
                what=what,
                priced_as=(
                    pricing_words.meter_words(line.priced_as)
                    if line.priced_as != line.meter
                    else ""
                ),
                unit_price=pricing_words.price_words(line.unit_price_usd_per_mtok),
                validity=_validity(in_force, zone),
            )
        )
    return made


def _percent(discount: Discount) -> str:
    return (
        f", {in_percent(localised(f'{discount.percent.normalize():f}'))}"
        if discount.percent is not None
        else ""
    )


def _validity(in_force: RateInfo | Discount | None, zone: ZoneInfo) -> str:
    if in_force is None:
        return "listed without a price: free"
    return pricing_words.span_words(in_force.effective_from, in_force.effective_to, zone)


def _rates(rates: Sequence[RateInfo], zone: ZoneInfo) -> list[RateUsed]:
    recordings: Mapping[str, Any] = read_recordings(rates)
    return [
        RateUsed(
            rate=rate,
            meter=pricing_words.meter_words(rate.meter),
            condition=pricing_words.condition_words(
                rate.when, rate.tier_start_tokens, rate.window_start_s, rate.window_end_s
            ),
            usd_per_million=pricing_words.price_words(
                rate.price_usd * Decimal(1_000_000) / rate.unit_quantity
            ),
            span=pricing_words.span_words(rate.effective_from, rate.effective_to, zone),
            source_words=pricing_words.SOURCE_WORDS[rate.source],
            recording=recordings.get(rate.id),
            recorded_at=_recorded_at(recordings.get(rate.id), zone),
        )
        for rate in rates
    ]


def _recorded_at(recording: Recording | None, zone: ZoneInfo) -> str:
    return pricing_words.day_words(recording.at, zone) if recording else ""
