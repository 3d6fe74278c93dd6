"""A tree of departments as people write it: a name a line, indented below the one above. Pure."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MAX_LINES: Final = 500
MAX_DEPTH: Final = 10
MAX_LENGTH: Final = 200
TAB_WIDTH: Final = 4


@dataclass(frozen=True, slots=True)
class WantedDepartment:
    """`parent_code` is one of the lines above."""

    code: str
    name: str
    parent_code: str | None


@dataclass(frozen=True, slots=True)
class TreeError:
    """`line` counts from 1."""

    line: int
    detail: str


def read_tree(text: str) -> tuple[list[WantedDepartment], list[TreeError]]:
    """`Name` or `Name = code` a line; what is indented more hangs below. Without a code the name
    makes one: "Research & Development" is research-development."""
    wanted: list[WantedDepartment] = []
    errors: list[TreeError] = []
    seen: dict[str, int] = {}
    above: list[tuple[int, str]] = []
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        return [], [TreeError(MAX_LINES + 1, f"{len(lines)} lines; at most {MAX_LINES} are read")]
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        plain = line.expandtabs(TAB_WIDTH)
        indent = len(plain) - len(plain.lstrip())
        name, _, given = (part.strip() for part in plain.strip().partition("="))
        code = given or code_of(name)
        while above and above[-1][0] >= indent:
            above.pop()
        detail = _wrong(name, code, len(above), seen)
        if detail:
            errors.append(TreeError(number, detail))
            continue
        seen[code.lower()] = number
        wanted.append(WantedDepartment(code, name, above[-1][1] if above else None))
        above.append((indent, code))
    return wanted, errors


def code_of(name: str) -> str:
    """What routers call it: "Forschung & Lehre" is forschung-lehre."""
    folded = unicodedata.normalize("NFKC", name).lower()
    return re.sub(r"[\W_]+", "-", folded).strip("-")[:MAX_LENGTH]


def wrong_move(parents: Mapping[int, int | None], moved: int, to: int | None) -> str:
    """Why a department cannot hang there, in words; empty when it can."""
    depth, ancestor = 0, to
    while ancestor is not None:
        if ancestor == moved:
            return "a department is not its own ancestor"
        depth, ancestor = depth + 1, parents[ancestor]
    if depth + _height(parents, moved) > MAX_DEPTH:
        return f"the tree is at most {MAX_DEPTH} deep"
    return ""


def _height(parents: Mapping[int, int | None], top: int) -> int:
    """How many levels a department and what hangs below it are."""
    height, level = 0, {top}
    while level and height <= MAX_DEPTH:
        height += 1
        level = {one for one, parent in parents.items() if parent in level}
    return height


def _wrong(name: str, code: str, depth: int, seen: Mapping[str, int]) -> str:
    if not name or not code:
        return "a line is a name, or a name = a code"
    if len(name) > MAX_LENGTH or len(code) > MAX_LENGTH or "\0" in name + code:
        return f"names and codes have at most {MAX_LENGTH} characters"
    if code.lower() in seen:
        return f"{code} stands in line {seen[code.lower()]} already"
    if depth >= MAX_DEPTH:
        return f"the tree is at most {MAX_DEPTH} deep"
    return ""
