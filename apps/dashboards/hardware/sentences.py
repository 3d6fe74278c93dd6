"""What the pages about own hardware say in words. Pure."""

from collections.abc import Sequence
from decimal import Decimal

from apps.dashboards.periods import month_name
from apps.dashboards.templatetags.figures_of_speech import (
    fixed,
    in_usd,
    percent,
    times,
    unit_price,
    usd_short,
)
from apps.pricing.core.breakeven import BreakEven, Never, Payback
from apps.usage.hardware_comparison import CloudComparison, LocalComparison
from apps.usage.hardware_report import CostSummary

NEVER = {
    Never.FULL_USE_COSTS_MORE: "never: dearer even in use all the time",
    Never.NOTHING_SAVED: "never: running it costs as much as the cloud, or more",
    Never.LIFE_TOO_SHORT: "never: its useful life ends first",
}


def hardware_answer(summaries: Sequence[tuple[str, CostSummary]]) -> str:
    """(model, its hours together), each; about the dearest, then how many others there are."""
    known = [(model, s) for model, s in summaries if s.problem is None and s.hours]
    if not known:
        return ""
    model, summary = max(known, key=lambda pair: pair[1].total_usd)
    if summary.allocated_usd_per_mtok is None or summary.usage_usd_per_mtok is None:
        return (
            f"{model} served nothing in the last 7 days, and its hardware cost"
            f" {in_usd(usd_short(summary.total_usd))} all the same."
        )
    words = (
        f"A million tokens of {model} cost {in_usd(unit_price(summary.allocated_usd_per_mtok))}"
        f" in the last 7 days, with the hardware {percent(summary.utilisation)} in use"
    )
    if summary.utilisation and summary.utilisation < Decimal("0.8"):
        words += f"; {unit_price(summary.usage_usd_per_mtok)} of it is hardware time that they took"
    return f"{words}."


def backend_title(model: str, summary: CostSummary) -> str:
    """The finding about one backend's hours."""
    if summary.problem is not None or not summary.total_usd:
        return model
    idle = summary.idle_usd / summary.total_usd
    if not summary.tokens.total:
        return (
            f"{model} stood idle: nobody used what {in_usd(usd_short(summary.total_usd))} paid for"
        )
    if idle < Decimal("0.1"):
        return f"{model} keeps its hardware busy: {percent(1 - idle)} of what it costs is used"
    return f"{percent(idle)} of what {model}’s hardware costs goes to time that nobody used"


def comparison_answer(found: Sequence[LocalComparison]) -> str:
    known = [one for one in found if one.usd_per_mtok is not None]
    if not known:
        return ""
    return " ".join(_stands(one) for one in known)


def _stands(one: LocalComparison) -> str:
    priced = [cloud for cloud in one.clouds if cloud.usd_per_mtok is not None]
    dearer = [cloud for cloud in priced if _usd(cloud) > (one.usd_per_mtok or 0)]
    if not priced:
        return f"There is no cloud model with a price to hold {one.model} against."
    price = unit_price(one.usd_per_mtok)
    if len(dearer) == len(priced):
        return (
            f"At {in_usd(price)} per million tokens, {one.model} is cheaper than every cloud model."
        )
    if not dearer:
        return (
            f"At {in_usd(price)} per million tokens, {one.model} is dearer than every cloud model."
        )
    return (
        f"At {in_usd(price)} per million tokens, {one.model} is cheaper than {len(dearer)} of"
        f" {len(priced)} cloud models."
    )


def comparison_title(one: LocalComparison) -> str:
    """The finding about one local backend: against the cheapest cloud that it can beat."""
    priced = [cloud for cloud in one.clouds if cloud.break_even is not None]
    if one.problem is not None or not priced:
        return one.model
    reachable = [cloud for cloud in priced if cloud.break_even and cloud.break_even.utilisation]
    if not reachable:
        return f"{one.model} is dearer than every cloud model, even in use all the time"
    nearest = next((c for c in reversed(reachable) if _from(c) > one.utilisation), reachable[0])
    at = _from(nearest)
    if at > one.utilisation:
        return (
            f"{one.model} is {percent(one.utilisation)} in use; from {percent(at)} on it costs less"
            f" than {nearest.model}"
        )
    return (
        f"{one.model} costs less than {nearest.model} from {percent(at)} use on, and is"
        f" {percent(one.utilisation)} in use"
    )


def against(usd_per_mtok: Decimal | None, cloud_usd_per_mtok: Decimal | None) -> str:
    """How the cloud's price stands to ours: 3.2 times ours, 0.4 of ours."""
    if not usd_per_mtok or cloud_usd_per_mtok is None:
        return "—"
    ratio = cloud_usd_per_mtok / usd_per_mtok
    return f"{times(ratio)} ×" if ratio >= 1 else f"{fixed(ratio, 2)} ×"


def break_even_words(found: BreakEven | None) -> str:
    if found is None:
        return "—"
    if found.never is not None or found.utilisation is None:
        return NEVER[found.never or Never.FULL_USE_COSTS_MORE]
    return f"from {percent(found.utilisation)} in use"


def payback_words(found: Payback | None) -> str:
    if found is None:
        return "—"
    if found.month is None:
        return NEVER[found.never or Never.NOTHING_SAVED]
    years, months = divmod(found.months or 0, 12)
    length = " ".join(
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in ((years, "year"), (months, "month"))
        if count
    )
    return f"{month_name(found.month)} {found.month.year}, after {length or 'no time'}"


def _usd(cloud: CloudComparison) -> Decimal:
    return cloud.usd_per_mtok or Decimal(0)


def _from(cloud: CloudComparison) -> Decimal:
    found = cloud.break_even.utilisation if cloud.break_even else None
    return found if found is not None else Decimal(2)
