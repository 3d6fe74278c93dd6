"""What to believe of a model that nobody has judged yet: by its name, its family. Pure.

Quality is the chance, 0 to 1, that an answer to a request of middling difficulty is good enough;
`slope` what is lost of it from the easiest to the hardest. Rough on purpose: outcomes correct it.
"""

import re
from dataclasses import dataclass
from typing import Final

OTHER: Final = "other"
TASKS: Final = (
    "chat",
    "extract",
    "classify",
    "summarise",
    "rag",
    "code",
    "reason",
    "agent",
    OTHER,
)


@dataclass(frozen=True, slots=True)
class Family:
    """Models of one class. `quality` in the order of TASKS."""

    name: str
    slope: float
    quality: tuple[float, ...]

    def of(self, task: str) -> float:
        return self.quality[TASKS.index(task if task in TASKS else OTHER)]


FRONTIER: Final = Family("frontier", 0.08, (0.95, 0.97, 0.97, 0.95, 0.95, 0.92, 0.92, 0.90, 0.94))
LARGE: Final = Family("large", 0.16, (0.91, 0.94, 0.95, 0.92, 0.89, 0.82, 0.82, 0.78, 0.89))
MID: Final = Family("mid", 0.20, (0.89, 0.94, 0.94, 0.90, 0.88, 0.80, 0.78, 0.74, 0.87))
SMALL: Final = Family("small", 0.32, (0.82, 0.88, 0.90, 0.82, 0.78, 0.62, 0.58, 0.52, 0.77))
LOCAL_LARGE: Final = Family(
    "local, 60 billion weights or more",
    0.26,
    (0.85, 0.91, 0.92, 0.86, 0.82, 0.68, 0.66, 0.60, 0.81),
)
LOCAL: Final = Family("local", 0.32, (0.82, 0.89, 0.90, 0.82, 0.76, 0.66, 0.60, 0.54, 0.77))
LOCAL_SMALL: Final = Family(
    "local, under 15 billion weights",
    0.42,
    (0.72, 0.80, 0.84, 0.72, 0.64, 0.48, 0.42, 0.38, 0.66),
)

_WEIGHTS: Final = re.compile(r"(?<![\d.])(\d{1,4}(?:\.\d+)?)b(?![a-z])")
_SMALL: Final = re.compile(r"nano|lite|micro|tiny|ministral|mistral-small|gpt-3\.5|babbage")
_MID: Final = re.compile(
    r"mini(?!max)|haiku|flash|mistral-medium|command-r|nova|small|turbo-instruct"
)
_LARGE: Final = re.compile(
    r"gpt-4(?!\.[1-9])|claude-[23](?!\d)|claude-v|gemini-1|mistral-large|command"
)
_FRONTIER: Final = re.compile(
    r"gpt-[4-9]|(?<![a-z])o\d|opus|sonnet|gemini|grok|deepseek|fable|mythos"
)


def family_of(model: str, *, is_local: bool) -> Family:
    """By the model's name ("claude-haiku-4-5"), its provider left out; the first match counts.
    A name that says nothing is taken for mid, or for a local one of some thirty billion weights."""
    name = model.lower().rpartition("/")[2]
    sizes = [float(size) for size in _WEIGHTS.findall(name)]
    if is_local:
        size = max(sizes, default=30.0)
        return LOCAL_LARGE if size >= 60 else LOCAL if size >= 15 else LOCAL_SMALL
    if _SMALL.search(name) or (sizes and max(sizes) < 15):
        return SMALL
    for pattern, family in ((_MID, MID), (_LARGE, LARGE), (_FRONTIER, FRONTIER)):
        if pattern.search(name):
            return family
    return MID
