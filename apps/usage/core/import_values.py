"""One cell of a table as one value of a native event: a number, an amount, a time. Pure.

A cell is text (CSV), or what JSON and Parquet hold. An error repeats a short number or time, never
a text: that may be a prompt.
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

TimestampFormat = Literal["auto", "rfc3339", "epoch_s", "epoch_ms", "epoch_us"]
TIMESTAMP_FORMATS: Final[tuple[TimestampFormat, ...]] = (
    "auto", "rfc3339", "epoch_s", "epoch_ms", "epoch_us",
)  # fmt: skip

MAX_SHOWN: Final = 40
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# How exporters write "nothing"; in a text only those that are nobody's name.
NOTHING: Final = frozenset({"", "NULL", "null", "None", "none", "NaN", "nan", "\\N", "N/A", "-"})
NO_TEXT: Final = frozenset({"", "NULL", "\\N"})

_WHOLE: Final = re.compile(r"\d{1,15}(?:\.0*)?\Z", re.ASCII)
_DECIMAL: Final = re.compile(
    r"[+-]?(?:\d{1,30}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,2})?\Z", re.ASCII
)
_WITH_COMMA: Final = re.compile(r"[+-]?[\d.\s']*,[\d.,\s']*\Z", re.ASCII)
_EPOCH_TEXT: Final = re.compile(r"\d{9,19}(?:\.\d{1,9})?\Z", re.ASCII)
_MAX: Final = 10**30
_YES: Final = frozenset({"true", "t", "yes", "y", "1"})
_NO: Final = frozenset({"false", "f", "no", "n", "0"})
# Bounds between seconds, ms, us and ns since 1970, for times from 1973 to 5138.
_MILLIS_FROM: Final = 10**11
_MICROS_FROM: Final = 10**14
_NANOS_FROM: Final = 10**17


class CellError(ValueError):
    """A cell that cannot be taken. `shown` is its value, where that may be repeated."""

    def __init__(self, code: str, detail: str, shown: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.shown = shown


Reader = Callable[[Any], Any]


def read_text(cell: Any) -> str | None:
    """A name or an id; a number as it is written."""
    if isinstance(cell, str):
        stripped = cell.strip()
        return None if stripped in NO_TEXT else stripped
    if cell is None:
        return None
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        return None if math.isnan(cell) else str(int(cell)) if cell.is_integer() else repr(cell)
    if isinstance(cell, int | Decimal):
        return str(cell)
    if isinstance(cell, datetime | date):
        return cell.isoformat()
    raise CellError("wrong_type", "is a list or an object; map one of its parts")


def read_status(cell: Any) -> str | None:
    """What became of the call: 2xx and words for success are "success"."""
    text = read_text(cell)
    if text is None:
        return None
    if text.lower() in ("success", "succeeded", "ok") or re.match(r"2\d\d\Z", text):
        return "success"
    return text


def read_count(cell: Any) -> int | None:
    """A whole number that is not negative."""
    if isinstance(cell, str):
        cell = cell.strip()
        if cell in NOTHING:
            return None
        if not _WHOLE.match(cell):
            raise _no_number(cell, "a whole number such as 1200")
        return int(cell.partition(".")[0])
    number = _number_of(cell)
    if number is None:
        return None
    if number != int(number) or number < 0:
        raise CellError(
            "not_a_number", "must be a whole number such as 1200", str(number)[:MAX_SHOWN]
        )
    return int(number)


def read_amount(cell: Any) -> str | None:
    """A decimal number, as text with every digit."""
    if isinstance(cell, str):
        cell = cell.strip().removeprefix("$")
        if cell in NOTHING:
            return None
        if not _DECIMAL.match(cell):
            raise _no_number(cell, "a number such as 0.0125")
        return format(Decimal(cell), "f")
    number = _number_of(cell)
    return (
        None
        if number is None
        else format(Decimal(repr(number) if isinstance(number, float) else number), "f")
    )


def read_number(cell: Any) -> float | None:
    amount = read_amount(cell)
    return None if amount is None else float(amount)


def read_seconds(cell: Any) -> float | None:
    """Seconds as milliseconds."""
    seconds = read_number(cell)
    return None if seconds is None else round(seconds * 1000, 3)


def read_truth(cell: Any) -> bool | None:
    if isinstance(cell, bool):
        return cell
    text = read_text(cell)
    if text is None or text in NOTHING:
        return None
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise CellError("wrong_type", "must be true or false", _short(text))


def timestamp_reader(form: TimestampFormat, zone: ZoneInfo | None) -> Reader:
    """A reader of times: `form` says what numbers are, `zone` where a time without a zone was.

    Of the hour that a zone's clocks go back over, the first is taken.
    """

    def read(cell: Any) -> str | None:
        if isinstance(cell, str):
            cell = cell.strip()
            if cell in NOTHING:
                return None
            if form.startswith("epoch") or (form == "auto" and _EPOCH_TEXT.match(cell)):
                if not _DECIMAL.match(cell):
                    raise _no_time(cell, f"is not the number that {form} is")
                return _from_epoch(Decimal(cell), form).isoformat()
            return _in_zone(_parse(cell), zone, cell).isoformat()
        if isinstance(cell, datetime):
            return _in_zone(cell, zone, cell.isoformat()).isoformat()
        if isinstance(cell, date):
            return _in_zone(datetime.combine(cell, time.min), zone, cell.isoformat()).isoformat()
        number = _number_of(cell)
        return None if number is None else _from_epoch(Decimal(number), form).isoformat()

    return read


def _parse(text: str) -> datetime:
    # As databases print it: "2026-10-01 10:00:00.123456 UTC".
    plain = text.removesuffix(" UTC") + "+00:00" if text.endswith(" UTC") else text
    # "20261001" would be taken for a date, and is more likely a number.
    if not plain.isdigit():
        try:
            return datetime.fromisoformat(plain)
        except (ValueError, OverflowError):
            pass
    raise _no_time(text, "is not a time such as 2026-10-01T10:00:00Z")


def _in_zone(moment: datetime, zone: ZoneInfo | None, shown: str) -> datetime:
    if moment.tzinfo is None:
        if zone is None:
            raise CellError(
                "timestamp_without_zone",
                "has no zone; say in which zone its times are, such as Europe/Berlin or UTC",
                _short(shown),
            )
        moment = moment.replace(tzinfo=zone)
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError):
        raise _no_time(shown, "is outside the calendar") from None


def _from_epoch(number: Decimal, form: TimestampFormat) -> datetime:
    unit = {"epoch_s": 1, "epoch_ms": 10**3, "epoch_us": 10**6}.get(form) or _guess_unit(number)
    try:
        return EPOCH + timedelta(microseconds=int(number * 10**6 / unit))
    except (OverflowError, ValueError, ArithmeticError):
        raise _no_time(str(number), "is outside the calendar") from None


def _guess_unit(number: Decimal) -> int:
    if number < _MILLIS_FROM:
        return 1
    if number < _MICROS_FROM:
        return 10**3
    return 10**6 if number < _NANOS_FROM else 10**9


def _number_of(cell: Any) -> int | float | Decimal | None:
    if cell is None:
        return None
    if isinstance(cell, int | float | Decimal) and not isinstance(cell, bool):
        if isinstance(cell, float) and math.isnan(cell):
            return None
        if isinstance(cell, int) or (math.isfinite(cell) and -_MAX <= cell <= _MAX):
            return cell
    raise CellError("not_a_number", "must be a number")


def _no_number(text: str, wanted: str) -> CellError:
    if _WITH_COMMA.match(text):
        return CellError(
            "comma_in_number",
            f"holds a comma, which may part thousands or decimals; write {wanted}",
            _short(text),
        )
    return CellError("not_a_number", f"must be {wanted}", _short(text))


def _no_time(text: str, complaint: str) -> CellError:
    return CellError("invalid_timestamp", complaint, _short(text))


def _short(text: str) -> str | None:
    """A value worth repeating: short, printable and with a digit, so no words of a prompt."""
    is_fit = len(text) <= MAX_SHOWN and text.isprintable() and any(c.isdigit() for c in text)
    return text if is_fit else None
