"""What the explorer's figures say, in words. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from apps.dashboards.explorer.state import ExplorerState, dimension_words
from apps.dashboards.periods import Period
from apps.dashboards.sentences import TELLING_CHANGE, Answer, Phrase, unpriced_sentence
from apps.dashboards.templatetags.figures_of_speech import change, fraction

if TYPE_CHECKING:
    from apps.dashboards.explorer.reading import ExplorerRow


def explorer_answer(
    state: ExplorerState,
    period: Period,
    rows: Sequence["ExplorerRow"],
    whole: "ExplorerRow",
) -> Answer:
    """How much, and by how much it moved; what it is most of."""
    if whole.value is None or not rows:
        return (Phrase(f"Nothing known {period.in_words}."),)
    measure = state.measure
    parts = [
        Phrase(f"{measure.label}: "),
        Phrase(measure.short_text(whole.value), strong=True),
        Phrase(f" {period.in_words}"),
    ]
    moved = whole.change
    if moved is not None and whole.value_before is not None:
        if abs(moved) < TELLING_CHANGE:
            parts.append(Phrase(f", about the same as {period.before_in_words}"))
        else:
            parts += [
                Phrase(", "),
                Phrase(change(moved), strong=True),
                Phrase(f" on {period.before_in_words}"),
            ]
    parts.append(Phrase("."))
    if measure.key in ("cost_usd", "margin_usd"):
        parts += unpriced_sentence(whole.now.unpriced_requests)
    return tuple(parts)


def explorer_title(state: ExplorerState, rows: Sequence["ExplorerRow"]) -> str:
    """The finding: who leads, and with how much."""
    what = " and ".join(dimension_words(dimension) for dimension in state.group_by)
    known = [row for row in rows if row.value]
    label = state.measure.label
    if not known:
        return f"{label} by {what}"
    leader = known[0]
    if not state.measure.adds_up:
        return f"{leader.name} is highest: {state.measure.short_text(leader.value)}"
    if len(known) == 1:
        return f"{leader.name} is all of it"
    if leader.share is None or leader.share < Decimal("0.1"):
        return f"{label} is spread over {len(known)}, by {what}"
    return f"{leader.name} leads with {fraction(leader.share)}, by {what}"
