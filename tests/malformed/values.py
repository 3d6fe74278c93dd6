"""JSON that is wrong in one place: rows as trees, odd values, and what is done to them.

A tree is JSON in Python, but for two things that Python's JSON cannot say: `Raw`, text put in as it
stands, and `Pairs`, an object that may name a field twice.
"""

import json
import random
from copy import deepcopy
from typing import Any, Final

# Stands wherever a client may put a prompt or an answer; no answer and no log may repeat it.
SECRET: Final = "never-repeat-this-prompt-5c1f"


class Raw(str):
    """JSON text, or what claims to be."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object's members in order."""


NOT_JSON: Final = [Raw(text) for text in ("NaN", "Infinity", "-Infinity", "01", "+1", ".5", "0x1F",
    "nul", "'x'", "undefined", "1e", "--1", "", '"\\x41"', '"\t"')]  # fmt: skip
# Unreadable as a row, yet they leave the rows beside them apart.
DEEP: Final = [Raw("[" * depth + "]" * depth) for depth in (30, 900, 1100, 5000)] + [
    Raw('{"a":' * depth + "1" + "}" * depth) for depth in (30, 900, 1100, 5000)
]
NUMBERS: Final = [0, -1, 1, 7, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, -(2**63), 2**64,
    10**9, 10**9 + 1, 10**15, 10**30, 0.1, 0.5, -0.5, 1.5, 1000.0, 1e15, 1e300, 1e-300, 1e-45,
    2147483647.4, 2147483647.6, *(Raw(text) for text in ("1e999", "-1e999", "1E400", "1e-400",
    "-0", "-0.0", "0e999999999999", "9" * 400, "9" * 5000, "0." + "0" * 400 + "1"))]  # fmt: skip
TEXTS: Final = ["", " ", "\t", "\n", "\x00", "a\x00b", "\x7f", "\x85", "\u2028", "\ufeff", "\u202e",
    "\xa0", "\u3000", "x" * 100, "x" * 101, "x" * 200, "x" * 201, "x" * 70_000, "é" * 200,
    "\U0001f600" * 200, "İ" * 200, "ß" * 200, "ŉ" * 101, "K", "ſ", "Σς", "ǅ", "\u0345", "ﷺ" * 67,
    "NaN", "Infinity", "1e5", "-1", "1_000", "٣", "０", "0x10", "null", "true", "[]", "{}", "/",
    "a/b", "openai/", "0E+999999999", "0e-999999999", "1e-999999999", "9" * 400, "0." + "1" * 60,
    "\\", "\\N", "\\.", "%s", "{}{}", "'; DROP TABLE usage_ledger; --", "<script>", "=1+1",
    *(Raw(text) for text in ('"\\ud800"', '"\\udc00x"', '"a\\ud83d"', '"\\u0000"',
    '"\\uDBFF\\uDFFF"', '"\\uffff"'))]  # fmt: skip
TIMES: Final = ["2026-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
    "2026-11-20T10:00:60Z", "2026-11-20 10:00:00Z", "2026-11-20T10:00:00", "20261120T100000Z",
    "2026-11-20", "1e9", "1795430161", 0, -1, 1e12, 1e18, 10**400, "2026-11-20T10:00:00+24:00",
    "2026-11-20T10:00:00.123456789123Z", "+002026-11-20T10:00:00Z"]  # fmt: skip
SHAPES: Final = [None, True, False, [], {}, [[]], {"": {}}, [None], {"a": None}, [1, "a", {}],
    {"input_tokens": 1}, {"\x00": "x"}, {"a" * 300: "b" * 300}, ["a:b", "a=b", 7]]  # fmt: skip
VALUES: Final = [*NUMBERS, *TEXTS, *TIMES, *SHAPES, SECRET, [SECRET], {"content": SECRET}]
# A value here identifies a row, and a refusal may repeat it so that the row is found.
IDENTITIES: Final = frozenset({"id", "litellm_call_id", "source", "traceId", "spanId"})

Place = tuple[Any, Any]  # container, key


_quoted = json.JSONEncoder(ensure_ascii=False).encode


def dump(tree: Any) -> bytes:
    return _text(tree).encode("utf-8", "surrogatepass")


def _text(tree: Any) -> str:
    if isinstance(tree, Raw):
        return str(tree)
    if isinstance(tree, dict | Pairs):
        members = tree.items() if isinstance(tree, dict) else tree
        return "{" + ",".join([f"{_quoted(key)}:{_text(value)}" for key, value in members]) + "}"
    if isinstance(tree, list):
        return "[" + ",".join([_text(value) for value in tree]) + "]"
    return _quoted(tree)


def places(tree: Any) -> list[Place]:
    """Every value of a tree, as its container and its key there."""
    found: list[Place] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            found.append((node, key))
            if isinstance(node[key], dict | list) and not isinstance(node[key], Pairs):
                waiting.append(node[key])
    return found


def spoil(tree: Any, chance: random.Random, *, parseable: bool = False) -> Any:
    """Damage a tree in one to three places, in itself; it stays a row of its own in a body.

    `parseable` keeps it JSON, for bodies that are one JSON document.
    """
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        known = places(tree)
        if not known:
            return tree
        container, key = chance.choice(known)
        chance.choice(DAMAGES)(container, key, chance, parseable)
    return tree


def _replace(container: Any, key: Any, chance: random.Random, parseable: bool) -> None:
    container[key] = _odd_value(key, chance, parseable)


def _odd_value(key: Any, chance: random.Random, parseable: bool) -> Any:
    kind = chance.random()
    if kind < 0.03:
        return chance.choice(DEEP[:1] if parseable else DEEP)
    if kind < 0.08 and not parseable:
        return chance.choice(NOT_JSON)
    value = chance.choice(VALUES)
    if isinstance(value, dict | list):
        value = deepcopy(value)  # for the next damage may go into it
    if key in IDENTITIES and SECRET in str(value):
        return None
    return value


def _remove(container: Any, key: Any, chance: random.Random, parseable: bool) -> None:
    del container[key]


def _add(container: Any, key: Any, chance: random.Random, parseable: bool) -> None:
    if isinstance(container, dict):
        name = chance.choice(("foo", "", "\x00", "usage", "raw_usage", "a" * 500, "tags", "İ"))
        container.setdefault(name, _odd_value(name, chance, parseable))
    else:
        container.append(_odd_value(None, chance, parseable))


def _wrap(container: Any, key: Any, chance: random.Random, parseable: bool) -> None:
    container[key] = [container[key]] if chance.random() < 0.5 else {"value": container[key]}


def _repeat(container: Any, key: Any, chance: random.Random, parseable: bool) -> None:
    """Name a field of an object twice, with another value."""
    if isinstance(container[key], dict) and container[key]:
        members = Pairs(container[key].items())
        name = chance.choice(members)[0]
        members.insert(0, (name, _odd_value(name, chance, parseable)))
        container[key] = members
    else:
        _replace(container, key, chance, parseable)


def _invalid_utf8(container: Any, key: Any, chance: random.Random, parseable: bool) -> None:
    # Written with "surrogatepass": bytes that are not UTF-8.
    if key not in IDENTITIES and not parseable:
        container[key] = "x\ud800y"
    else:
        _replace(container, key, chance, parseable)


DAMAGES: Final = (_replace, _replace, _replace, _replace, _remove, _add, _wrap, _repeat,
    _invalid_utf8)  # fmt: skip
