"""A tenant's mapping rules: from what an event says to whose it is. Pure.

Rules are compiled to dict lookups, one set a door: an event costs a lookup for each attribute that
a rule names, whatever the number of rules. The order is in docs/attribution.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, NamedTuple, get_args

from apps.usage.core.events import MAX_NAME_LENGTH, Door, UsageEvent

Target = Literal["customer", "department", "project", "environment", "task"]
TARGETS: Final[tuple[Target, ...]] = get_args(Target)
# A department's code is shorter than other names.
MAX_TARGET_LENGTH: Final[Mapping[Target, int]] = {
    target: 100 if target == "department" else MAX_NAME_LENGTH for target in TARGETS
}

KEY: Final = "key"
TAG_PREFIX: Final = "tags."
# What every dialect's event says of itself; any other name is an attribute of the dialect.
FIELDS: Final = (
    *TARGETS, "user", "source", "provider", "model", "requested_model", "backend",
)  # fmt: skip
# Where a dialect's attributes stand; of the others a name is an attribute's own.
PATH_PREFIXES: Final = {Door.LITELLM: "metadata.", Door.CLOUDEVENTS: "data."}
MAX_RULES: Final = 1_000
MAX_ATTRIBUTES: Final = 32
MAX_ATTRIBUTE_LENGTH: Final = 200
MAX_POSITION: Final = 10_000
DEFAULT_POSITION: Final = 100
# Parts of names under which clients send prompts and answers: these are never read, let alone kept.
_CONTENT: Final = (
    "prompt", "completion", "message", "content", "input.value", "output.value", "input_value",
    "output_value", "choices", "response.text", "tool.arguments", "tool_arguments",
)  # fmt: skip

Attributes = Mapping[str, str]


class RuleRefusedError(ValueError):
    """A rule that cannot be; the sentence says why. `field`: the input at fault."""

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingRule:
    """`attribute` with `value` (None: any, and the value itself is the name) is `target` `name`.

    `door` and `source` narrow it; of an event at [effective_from, effective_to). The attribute
    "key" is the id of the API key that reported: the default where nothing else says.
    """

    id: int
    attribute: str
    target: Target
    value: str | None = None
    name: str | None = None
    door: Door | None = None
    source: str | None = None
    position: int = DEFAULT_POSITION
    effective_from: datetime | None = None
    effective_to: datetime | None = None


def check_rule(rule: MappingRule) -> None:
    """Raises RuleRefusedError for what no event could meet, or must not be read."""
    _check_attribute(rule)
    if rule.target not in TARGETS:
        raise RuleRefusedError(f"a rule gives one of {', '.join(TARGETS)}", field="target")
    if rule.value is not None and not 0 < len(rule.value) <= MAX_NAME_LENGTH:
        raise RuleRefusedError(f"a value has 1 to {MAX_NAME_LENGTH} characters", field="value")
    if rule.name is None and (rule.attribute == KEY or rule.value is not None):
        raise RuleRefusedError(f"say which {rule.target} it is", field="name")
    if rule.name is not None and rule.value is None:
        raise RuleRefusedError(
            f"say which value is {rule.name!r}; or leave the name empty, so that the value itself"
            f" is the {rule.target}",
            field="value",
        )
    longest = MAX_TARGET_LENGTH[rule.target]
    if rule.name is not None and not 0 < len(rule.name) <= longest:
        raise RuleRefusedError(f"a {rule.target} has 1 to {longest} characters", field="name")
    if not 0 <= rule.position <= MAX_POSITION:
        raise RuleRefusedError(f"the order is 0 to {MAX_POSITION}", field="position")
    begins, ends = rule.effective_from, rule.effective_to
    if begins is not None and ends is not None and not begins < ends:
        raise RuleRefusedError("the rule would end before it begins", field="effective_to")


def _check_attribute(rule: MappingRule) -> None:
    name = rule.attribute
    if not name or len(name) > MAX_ATTRIBUTE_LENGTH or not name.isprintable() or " " in name:
        raise RuleRefusedError(
            f"an attribute's name has 1 to {MAX_ATTRIBUTE_LENGTH} printable characters and no"
            " space",
            field="attribute",
        )
    if any(part in name.lower() for part in _CONTENT) and not is_of_event(name):
        raise RuleRefusedError(
            f"{name} may hold prompts or answers, which are never read; name another attribute",
            field="attribute",
        )
    if name == rule.target and rule.value is None:
        raise RuleRefusedError(
            f"the {name} is the {name} already; give a value to rename", field="attribute"
        )
    if rule.door is None or is_of_event(name):
        return
    if rule.door is Door.NATIVE:
        raise RuleRefusedError(
            f"native events have no {name}: take one of {', '.join(FIELDS)}, or {TAG_PREFIX}NAME",
            field="attribute",
        )
    prefix = PATH_PREFIXES.get(rule.door, "")
    if not name.startswith(prefix):
        raise RuleRefusedError(
            f"attributes of this door begin with {prefix}, as in {prefix}cost_center",
            field="attribute",
        )


def is_of_event(attribute: str) -> bool:
    """Whether every dialect's event carries it: a field, a tag, or the key."""
    return attribute in FIELDS or attribute == KEY or attribute.startswith(TAG_PREFIX)


class _Entry(NamedTuple):
    """A rule's answer; the smallest rank wins."""

    rank: int
    name: str | None
    from_s: float
    to_s: float


class _Lookup:
    """All rules of one attribute for one target. Keys are (source or None, value or None)."""

    __slots__ = ("attribute", "entries", "has_any", "has_sources")

    def __init__(self, attribute: str) -> None:
        self.attribute = attribute
        self.entries: dict[tuple[str | None, str | None], list[_Entry]] = defaultdict(list)
        self.has_sources = self.has_any = False

    def add(self, rule: MappingRule, rank: int) -> None:
        self.entries[rule.source, rule.value].append(
            _Entry(rank, rule.name, _seconds(rule.effective_from, -1e18),
                   _seconds(rule.effective_to, 1e18))
        )  # fmt: skip
        self.has_sources |= rule.source is not None
        self.has_any |= rule.value is None

    def find(self, source: str, value: str, at_s: float) -> _Entry | None:
        found = self._first((None, value), at_s, None)
        if self.has_any:
            found = self._first((None, None), at_s, found)
        if self.has_sources:
            found = self._first((source, value), at_s, found)
            found = self._first((source, None), at_s, found)
        return found

    def _first(
        self, key: tuple[str | None, str | None], at_s: float, best: _Entry | None
    ) -> _Entry | None:
        # Entries of one key are few and in the order of their ranks.
        for entry in self.entries.get(key, ()):
            if best is not None and entry.rank > best.rank:
                return best
            if entry.from_s <= at_s < entry.to_s:
                return entry
        return best


@dataclass(slots=True)
class _DoorRules:
    by_target: dict[Target, dict[str, _Lookup]] = field(default_factory=dict)
    of_keys: dict[Target, _Lookup] = field(default_factory=dict)
    wanted: frozenset[str] = frozenset()


class AttributionRules:
    """The rules of one tenant at one revision. `not rules` when there are none."""

    def __init__(self, rules: Sequence[MappingRule], *, revision: int = 0) -> None:
        self.revision = revision
        self._is_any = bool(rules)
        ordered = sorted(rules, key=lambda r: (r.position, r.value is None, r.source is None, r.id))
        self._by_door = {door: _compile(ordered, door) for door in Door}

    def __bool__(self) -> bool:
        return self._is_any

    def wanted(self, door: Door) -> frozenset[str]:
        """The dialect's own attributes that a rule for this door names."""
        return self._by_door[door].wanted

    def names_of(
        self, event: UsageEvent, attributes: Attributes | None, *, api_key_id: int
    ) -> dict[Target, str]:
        """What rules say that the event does not: the targets whose name they change."""
        rules = self._by_door[event.door]
        at_s = event.occurred_at.timestamp()
        changed: dict[Target, str] = {}
        for target, lookups in rules.by_target.items():
            best, best_value = None, ""
            for lookup in lookups.values():
                value = _value_of(event, attributes, lookup.attribute)
                if value is None:
                    continue
                found = lookup.find(event.source, value, at_s)
                if found is not None and (best is None or found.rank < best.rank):
                    best, best_value = found, value
            if best is not None:
                changed[target] = best.name or best_value[: MAX_TARGET_LENGTH[target]]
        for target, lookup in rules.of_keys.items():
            if target not in changed and getattr(event, target) is None:
                found = lookup.find(event.source, str(api_key_id), at_s)
                if found is not None and found.name is not None:
                    changed[target] = found.name
        return changed


def _compile(ordered: Iterable[MappingRule], door: Door) -> _DoorRules:
    compiled = _DoorRules()
    wanted = set()
    for rank, rule in enumerate(ordered):
        if rule.door not in (None, door):
            continue
        if rule.attribute == KEY:
            lookup = compiled.of_keys.setdefault(rule.target, _Lookup(KEY))
        else:
            named = compiled.by_target.setdefault(rule.target, {})
            lookup = named.setdefault(rule.attribute, _Lookup(rule.attribute))
            if not is_of_event(rule.attribute):
                wanted.add(rule.attribute)
        lookup.add(rule, rank)
    compiled.wanted = frozenset(wanted)
    return compiled


def _value_of(event: UsageEvent, attributes: Attributes | None, attribute: str) -> str | None:
    if attribute in FIELDS:
        value: str | None = getattr(event, attribute)
        return value
    if attribute.startswith(TAG_PREFIX):
        return event.tags.get(attribute[len(TAG_PREFIX) :]) if event.tags else None
    return attributes.get(attribute) if attributes else None


def _seconds(moment: datetime | None, otherwise: float) -> float:
    return otherwise if moment is None else moment.timestamp()


NO_RULES: Final = AttributionRules(())
