"""What an alert says, and which alerts a channel takes. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

JSON = str | int | float | bool | None | list[Any] | dict[str, Any]

MAX_KEY_LENGTH: Final = 200
MAX_KIND_LENGTH: Final = 40
MAX_SUBJECT_LENGTH: Final = 200
MAX_BODY_LENGTH: Final = 4_000
MAX_PATH_LENGTH: Final = 500
MAX_DETAILS_LENGTH: Final = 20_000
KIND_PATTERN: Final = r"^[a-z][a-z0-9_]{0,39}$"
TEST_KIND: Final = "test"
# The kinds a channel may choose from, in words. Others are delivered too, under their own name.
KIND_WORDS: Final = {
    "anomaly": "something stands out",
    "budget_threshold": "a budget reached a threshold",
    "report": "a report is ready",
}


class Severity(StrEnum):
    """How loud. The order is that of declaration."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class AlertFact:
    """An alert as it was raised. `path` is the page it leads to; `amount_usd` what is at stake."""

    id: int
    key: str
    kind: str
    severity: Severity
    subject: str
    body: str
    path: str
    amount_usd: Decimal | None
    details: Mapping[str, Any]
    raised_at: datetime


@dataclass(frozen=True, slots=True)
class Filter:
    """What a channel takes: `kinds` empty means all; None means no minimum."""

    kinds: frozenset[str] = frozenset()
    min_severity: Severity = Severity.INFO
    min_amount_usd: Decimal | None = None

    def takes(self, *, kind: str, severity: Severity, amount_usd: Decimal | None) -> bool:
        """An alert without an amount is not held back by a minimum amount: what it is worth is
        not known, and unknown is not zero."""
        if self.kinds and kind not in self.kinds:
            return False
        if severity.rank < self.min_severity.rank:
            return False
        minimum = self.min_amount_usd
        return minimum is None or amount_usd is None or amount_usd >= minimum


def cut(text: str, length: int) -> str:
    """The text without NUL, shortened with an ellipsis where it is too long."""
    text = text.replace("\0", "")
    return text if len(text) <= length else text[: length - 1] + "…"


def one_line(text: str) -> str:
    """Without line breaks and runs of space: a subject is a header in an e-mail."""
    return " ".join(text.split())


def is_page_path(path: str) -> bool:
    """An address on this site: neither another host (`//x`) nor a scheme."""
    return bool(re.fullmatch(r"/(?![/\\])[\x21-\x7e]*", path)) and len(path) <= MAX_PATH_LENGTH
