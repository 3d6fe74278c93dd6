"""How a model is drawn: a colour of its own, a hatch where it runs on local hardware. Pure.

Colours are names of places in a palette of ten (static/css/tokens.css), chosen so that they can
be told apart under every common colour blindness; pages never carry a colour value.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from apps.dashboards.breakdown import Sums

PALETTE_SIZE = 10
OTHER_PLACE = "other"
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Series:
    """One thing drawn in one colour: a model, a backend, or the rest together.

    `shade` tells apart the backends of one model; `dotted` the models beyond the palette.
    """

    key: str
    name: str
    place: str
    is_local: bool = False
    shade: int = 0
    dotted: bool = False
    # What stands before the name where a series is spelled out: a backend's provider.
    prefix: str = ""

    @property
    def css_class(self) -> str:
        """Classes of a legend dot."""
        parts = [f"series-{self.place}"]
        parts += ["hatched"] if self.is_local else []
        parts += ["dotted"] if self.dotted else []
        parts += [f"shade-{self.shade}"] if self.shade else []
        return " ".join(parts)

    def as_meta(self) -> dict[str, str | int | bool]:
        """What the browser needs to colour a trace."""
        return {
            "place": self.place,
            "local": self.is_local,
            "shade": self.shade,
            "dotted": self.dotted,
        }


def model_key(model: str | None, kind: str | None) -> str:
    """One model on local hardware and the same in the cloud are two things that cost."""
    return f"{kind or ''}|{model or ''}"


def split_model_key(key: str) -> tuple[str, str]:
    """(model, kind) of a key."""
    kind, _, model = key.partition("|")
    return model, kind


def model_series(keys: Iterable[str], positions: Mapping[str, int]) -> dict[str, Series]:
    """Each model key's series. A model on both kinds is named with where it runs."""
    wanted = list(keys)
    kinds_of: dict[str, set[str]] = {}
    for key in wanted:
        model, kind = split_model_key(key)
        kinds_of.setdefault(model, set()).add(kind)
    made = {}
    for key in wanted:
        model, kind = split_model_key(key)
        name = model or "model not named"
        both = len(kinds_of[model]) > 1
        made[key] = _series(key, f"{name}, {kind}" if both else name, positions[model], kind)
    return made


def backend_series(
    backends: Iterable[tuple[str, str, str]], positions: Mapping[str, int]
) -> dict[str, Series]:
    """Series of (backend, model, kind): a model's backends share its colour in shades.

    "openai/gpt-5" is called gpt-5 where no other backend would be called so too.
    """
    wanted = sorted(backends)
    tails = Counter(backend.partition("/")[2] for backend, _, _ in wanted)
    by_model: Counter[str] = Counter()
    made = {}
    for backend, model, kind in wanted:
        head, slash, tail = backend.partition("/")
        is_clear = bool(tail) and tails[tail] == 1
        one = _series(
            backend, tail if is_clear else backend, positions[model], kind, by_model[model]
        )
        made[backend] = replace(one, prefix=head + slash if is_clear else "")
        by_model[model] += 1
    return made


def rest_of(count: int, what: str) -> Series:
    """Everything beyond the first few, summed."""
    return Series(key="", name=f"{count} more {what}", place=OTHER_PLACE)


def leading(sums: Mapping[str, Sums], limit: int) -> tuple[list[str], list[str]]:
    """(keys drawn one by one, keys drawn together), by spend, then requests.

    One key left over is drawn itself: "1 more" would say less and take as much room.
    """
    ranked = sorted(sums, key=lambda key: (-sums[key].cost, -sums[key].requests, key))
    cut = limit if len(ranked) > limit + 1 else len(ranked)
    return ranked[:cut], ranked[cut:]


def _series(key: str, name: str, position: int, kind: str, shade: int = 0) -> Series:
    return Series(
        key=key,
        name=name,
        place=str(position % PALETTE_SIZE),
        is_local=kind == LOCAL,
        shade=min(shade, 3),
        dotted=position >= PALETTE_SIZE,
    )
