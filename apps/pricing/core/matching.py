"""The catalogue's match rules, as JSON in our tables, compiled to predicates. Pure.

    {"equals": "gpt-4o"}  {"starts_with": "gpt-"}  {"ends_with": "-tts"}  {"contains": "claude"}
    {"regex": "^o[134]"}  {"or": [rule, ...]}  {"and": [rule, ...]}

As in genai-prices: case does not matter, except inside a regular expression.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

Predicate = Callable[[str], bool]


def compile_rule(rule: Mapping[str, Any]) -> Predicate:
    """A predicate over lower-case text. Raises ValueError for a rule of another kind."""
    if len(rule) != 1:
        raise ValueError(f"a match rule has one key, this has {sorted(rule)}")
    ((kind, operand),) = rule.items()
    if kind in ("or", "and"):
        parts = [compile_rule(part) for part in operand]
        if kind == "or":
            return lambda text: any(part(text) for part in parts)
        return lambda text: all(part(text) for part in parts)
    if kind == "regex":
        search = re.compile(operand).search
        return lambda text: search(text) is not None
    if kind not in _TEXT_TESTS:
        raise ValueError(f"unknown match rule {kind!r}")
    test, needle = _TEXT_TESTS[kind], str(operand).lower()
    return lambda text: test(text, needle)


_TEXT_TESTS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "equals": lambda text, needle: text == needle,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
    "contains": lambda text, needle: needle in text,
}
