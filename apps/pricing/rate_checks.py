"""What a rate must be, and the sentences that refuse it. A part of services; the database's
constraints say the same (models.py)."""

from decimal import Decimal
from typing import Final

from apps.pricing.core.meters import RATEABLE
from apps.pricing.core.money import PRICE_DECIMALS, PRICE_INTEGER_DIGITS, plain_decimal
from apps.pricing.core.rates import DAY_S, Rate
from apps.pricing.core.variants import CONTEXT_KEYS, MAX_CONTEXT_LENGTH, variant_name
from apps.pricing.errors import InvalidRateError, RateOverlapError

MAX_NAME_LENGTH: Final = 200
# More input than any event can report.
MAX_TIER_START_TOKENS: Final = 10_000_000_000


def check_names(provider: str, model: str) -> None:
    for field, value in (("provider", provider), ("model", model)):
        if value == "*":
            raise InvalidRateError("* is no name; see the default rate", field=field)
        if not 0 < len(value) <= MAX_NAME_LENGTH or "\0" in value:
            raise InvalidRateError(f"{field} has 1 to {MAX_NAME_LENGTH} characters", field=field)


def check_rate(rate: Rate) -> None:
    """Raise InvalidRateError, naming the field and the numbers."""
    if rate.meter not in RATEABLE:
        raise InvalidRateError(
            f"meter is one of {', '.join(RATEABLE)}; got {rate.meter!r}", field="meter"
        )
    _check_price(rate.price_usd)
    for field in ("effective_from", "effective_to"):
        moment = getattr(rate, field)
        if moment is not None and moment.tzinfo is None:
            raise InvalidRateError(f"{field} needs a time zone", field=field)
    if rate.starts_at_s >= rate.ends_at_s:
        raise InvalidRateError(
            f"the rate would end ({rate.effective_to}) before it starts ({rate.effective_from})",
            field="effective_to",
        )
    if not 0 <= rate.tier_start_tokens <= MAX_TIER_START_TOKENS:
        raise InvalidRateError(
            f"tier_start_tokens is from 0 to {MAX_TIER_START_TOKENS}, not {rate.tier_start_tokens}",
            field="tier_start_tokens",
        )
    _check_variant(rate)
    _check_window(rate.window_start_s, rate.window_end_s)


def overlap(provider: str, model: str, rate: Rate, other: Rate) -> RateOverlapError:
    """The refusal of a rate for requests that another one prices already."""
    hours = (rate.window_start_s, rate.window_end_s)
    same_hours = hours == (other.window_start_s, other.window_end_s)
    what = "change or end that rate instead"
    if not same_hours and other.is_all_day:
        what = "change that rate instead, or end it and give each part of the day a rate"
    elif not same_hours:
        what += ", or choose hours that it leaves free"
    return RateOverlapError(
        f"{provider}/{model} {rate.meter}{_condition(other)} already costs"
        f" {plain_decimal(other.price_usd)} USD"
        f" per million from {other.effective_from or 'ever'}"
        f" to {other.effective_to or 'further notice'} (rate {other.id});"
        f" {what}",
        field="effective_from" if same_hours else "window_start_s",
    )


def clock(second: int) -> str:
    """A second of the day as people write it: 06:00, 24:00, 06:00:30."""
    text = f"{second // 3600:02d}:{second % 3600 // 60:02d}"
    return text if second % 60 == 0 else f"{text}:{second % 60:02d}"


def _check_price(price_usd: Decimal) -> None:
    field = "price_usd_per_mtok"
    if not isinstance(price_usd, Decimal) or not price_usd.is_finite():
        raise InvalidRateError("the price is a finite Decimal", field=field)
    if price_usd < 0:
        raise InvalidRateError(f"the price is 0 or more, not {price_usd}", field=field)
    if price_usd != 0 and price_usd.adjusted() >= PRICE_INTEGER_DIGITS:
        raise InvalidRateError(
            f"the price has at most {PRICE_INTEGER_DIGITS} digits before the point", field=field
        )
    if int(price_usd.as_tuple().exponent) < -PRICE_DECIMALS:
        raise InvalidRateError(f"the price has at most {PRICE_DECIMALS} decimals", field=field)


def _check_variant(rate: Rate) -> None:
    """A variant that no request's context can hold would never apply: it is a mistake."""
    for key, value in rate.when:
        if key not in CONTEXT_KEYS:
            raise InvalidRateError(
                f"when takes {', '.join(CONTEXT_KEYS)}; no request states {key!r}", field="when"
            )
        if variant_name(value) != value:
            raise InvalidRateError(
                f"when.{key} is a variant's name in small letters, of at most"
                f" {MAX_CONTEXT_LENGTH} characters, not {value!r}; leave it out for the standard"
                " price",
                field="when",
            )


def _check_window(start_s: int, end_s: int) -> None:
    if not 0 <= start_s < DAY_S or not 0 <= end_s <= DAY_S:
        raise InvalidRateError(
            f"a window is within the UTC day, seconds 0 to {DAY_S}, not {start_s} to {end_s}",
            field="window_start_s" if not 0 <= start_s < DAY_S else "window_end_s",
        )
    if start_s == end_s:
        raise InvalidRateError(
            f"a window from {clock(start_s)} to {clock(end_s)} is empty; leave it out for all day",
            field="window_end_s",
        )
    if start_s > end_s:
        second = f" and {clock(0)} to {clock(end_s)}" if end_s else ""
        raise InvalidRateError(
            f"{clock(start_s)} to {clock(end_s)} UTC runs over midnight, and a window is within one"
            f" day: record {'two rates, ' if second else ''}{clock(start_s)} to 24:00{second}",
            field="window_end_s",
        )


def _condition(rate: Rate) -> str:
    """What a rate is for, where that is not every request."""
    parts = [f"{name} {value}" for name, value in rate.when]
    if rate.tier_start_tokens:
        parts.append(f"more than {rate.tier_start_tokens} input tokens")
    if not rate.is_all_day:
        parts.append(f"{clock(rate.window_start_s)} to {clock(rate.window_end_s)} UTC")
    return f" ({', '.join(parts)})" if parts else ""
