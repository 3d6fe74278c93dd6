"""The catalogue page: is the price list up to date, and what would a newer one change?"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import render

from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.pricing.words import meter_words, moment_words
from apps.dashboards.templatetags.figures_of_speech import count, usd_exact
from apps.pricing.catalogue_source import package_version
from apps.pricing.core.catalogue_diff import CatalogueDiff, ListedPrice, ModelChange, PriceChange
from apps.pricing.selectors import CatalogueInfo, read_catalogue_info
from apps.pricing.services import preview_catalogue_sync, sync_catalogue
from apps.tenants.services import record_audit

MOST_MODELS: Final = 50
MOST_NAMES: Final = 30
MILLION: Final = 1_000_000
KIND_WORDS: Final = {"added": "new", "changed": "changed", "closed": "no longer listed"}


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One price that differs, in USD per million of what is counted."""

    provider: str
    model: str
    what: str
    kind: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class CatalogueReport:
    """The catalogue in our tables against the package that is installed."""

    info: CatalogueInfo | None
    synced_at: str
    package_version: str
    diff: CatalogueDiff
    samples: list[SampleRow]
    models: Sequence[ModelChange]
    unlisted_models: int
    models_added: str
    models_removed: str

    @property
    def changes(self) -> int:
        return self.diff.added + self.diff.changed + self.diff.closed

    @property
    def is_up_to_date(self) -> bool:
        names = self.diff.models_added or self.diff.models_removed
        standing = self.info is not None and self.info.package_version == self.package_version
        return standing and not self.changes and not names


@page
def catalogue(request: PageRequest) -> HttpResponse:
    return render(request, "dashboards/catalogue.html", _context(request))


@changing
def apply_catalogue(request: PageRequest) -> HttpResponse:
    """Takes the installed package into our tables; what was charged keeps its price."""
    before = read_catalogue_info()
    result = sync_catalogue(now=request.now)
    said = "Nothing differed: the price list was up to date already."
    if result.changed:
        record_audit(
            actor=request.user.get_username(),
            action="catalogue.synced",
            subject="catalogue",
            before={"package_version": before.package_version, "revision": before.revision}
            if before
            else None,
            after={
                "package_version": result.package_version,
                "revision": result.revision,
                "rates_added": result.rates_added,
                "rates_closed": result.rates_closed,
            },
            now=request.now,
        )
        said = (
            f"Taken over. Prices recorded: {count(result.rates_added)},"
            f" closed: {count(result.rates_closed)}. Requests are charged by them from now on;"
            " what was charged before keeps its charge until it is repriced."
        )
    is_part = bool(request.htmx)
    name = "catalogue_body" if is_part else "catalogue"
    context = _context(request, said=said, is_part=is_part)
    return render(request, f"dashboards/{name}.html", context)


def _context(request: PageRequest, **more: Any) -> dict[str, Any]:
    info, diff = read_catalogue_info(), preview_catalogue_sync()
    report = CatalogueReport(
        info=info,
        synced_at=moment_words(info.synced_at, request.tenant.zone) if info else "",
        package_version=package_version(),
        diff=diff,
        samples=[_sample(change) for change in diff.samples],
        models=diff.models[:MOST_MODELS],
        unlisted_models=max(0, len(diff.models) - MOST_MODELS),
        models_added=_names(diff.models_added),
        models_removed=_names(diff.models_removed),
    )
    return {"report": report, "answer": _answer(report), "tenant": request.tenant} | more


def _answer(report: CatalogueReport) -> str:
    if report.is_up_to_date:
        return f"It is up to date: genai-prices {report.package_version}, price by price."
    if not report.changes:
        return "Every price is up to date; names and how they are matched are not."
    some = "1 price differs" if report.changes == 1 else f"{count(report.changes)} prices differ"
    return f"{some} from genai-prices {report.package_version}, which is installed."


def _sample(change: PriceChange) -> SampleRow:
    price = change.price
    tier = f", from {count(price.tier_start_tokens)} tokens" if price.tier_start_tokens else ""
    given = "".join(f", {name} {value}" for name, value in price.when)
    return SampleRow(
        provider=price.provider,
        model=price.model,
        what=f"{meter_words(price.meter)}{tier}{given}",
        kind=KIND_WORDS[change.kind],
        before=_per_million(change.before),
        after=_per_million(change.after),
    )


def _per_million(price: ListedPrice | None) -> str:
    if price is None:
        return usd_exact(None)
    return usd_exact(price.price_usd * MILLION / Decimal(price.unit_quantity))


def _names(names: Sequence[str]) -> str:
    more = f" and {count(len(names) - MOST_NAMES)} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
