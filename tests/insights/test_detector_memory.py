"""Rings at rest: hours append what they changed, and whoever reads them has all of it."""

from datetime import UTC, datetime

import numpy as np
import pytest

from apps.insights import detector_memory as rings
from apps.insights.core.detector import Detector, LateValue
from apps.insights.core.series_state import DAY, SeriesState, StateError
from apps.insights.core.state_patches import apply_patches, patch_of
from apps.insights.finding_models import DetectorPart, DetectorPatch
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.insights.hours import START_HOUR, columns, office, run, spend_of, steady

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KNOWN = 24 * 10 + 20
HOURS = KNOWN + 60
REQUESTS = columns(office(HOURS), steady(HOURS), steady(HOURS, 3))
SERIES = [("customer", name) for name in ("acme", "bolt", "core")]


def same(one: SeriesState, other: SeriesState) -> None:
    """To the last bit: nothing was computed on the way."""
    assert one.hour == other.hour
    for name, array in one._arrays().items():
        np.testing.assert_array_equal(array, other._arrays()[name], err_msg=name)


def advance(detector: Detector, hours: int) -> None:
    done = detector.state.hour - START_HOUR
    requests = REQUESTS[done : done + hours]
    run(detector, spend_of(requests), requests)


def known() -> Detector:
    detector = Detector.of(3, hour=START_HOUR)
    advance(detector, KNOWN)
    return detector


@pytest.mark.parametrize("hours", [1, 4, 30])
def test_patches_give_the_state_as_it_was(hours: int) -> None:
    detector = known()
    before = SeriesState.from_bytes(detector.state.to_bytes())
    first = detector.state.hour
    advance(detector, hours)
    detector.rescore([LateValue(1, first - 40, 9.0, 99.0)])
    late = patch_of(detector.state, (first - 40) // DAY * DAY, np.array([1]))
    apply_patches(before, late + patch_of(detector.state, first))
    same(before, detector.state)
    # A later hour goes on from it.
    again = Detector(before)
    advance(again, 3)
    advance(detector, 3)
    same(again.state, detector.state)


def test_a_patch_of_something_else_is_refused() -> None:
    detector = known()
    before = SeriesState.from_bytes(detector.state.to_bytes())
    first = detector.state.hour
    advance(detector, 2)
    patch = patch_of(detector.state, first)
    gone = before.take(np.array([0, 1]))
    for state, data in ((gone, patch), (before, patch[:-1]), (before, patch + b"?")):
        with pytest.raises(StateError):
            apply_patches(state, data)
    advance(detector, 2)
    with pytest.raises(StateError):  # an hour is missing in between
        apply_patches(
            SeriesState.from_bytes(known().state.to_bytes()), patch_of(detector.state, first + 2)
        )
    with pytest.raises(ValueError, match="rings hold"):
        patch_of(detector.state, first - 500)


@pytest.fixture
def memory(tenant: TenantInfo) -> rings.Memory:
    detector = known()
    part = rings.Part(1, list(SERIES), detector)
    stored = rings.Memory(detector.state.hour, {}, [part])
    store(tenant, stored)
    return stored


def store(tenant: TenantInfo, memory: rings.Memory) -> int:
    with tenant_scope(tenant.id):
        memory.hour = memory.parts[0].detector.state.hour if memory.parts else memory.hour
        size = rings.store_memory(memory, now=NOW)
        rings.keep_memory(memory)
        return size


def load(tenant: TenantInfo, *, restarted: bool = False) -> rings.Memory:
    if restarted:
        rings._kept.clear()
    with tenant_scope(tenant.id):
        found = rings.load_memory()
        assert found is not None
        return found


def counts(tenant: TenantInfo) -> tuple[int, int]:
    """(parts, patches) at rest."""
    with tenant_scope(tenant.id):
        return DetectorPart.objects.count(), DetectorPatch.objects.count()


def test_an_hour_appends_what_it_changed_and_a_day_the_part(tenant, memory) -> None:
    whole = memory.size
    advance(memory.parts[0].detector, 1)
    assert 0 < store(tenant, memory) < whole / 50
    assert counts(tenant) == (1, 1)
    same(
        load(tenant, restarted=True).parts[0].detector.state,
        memory.parts[0].detector.state,
    )
    sizes = []
    for _ in range(DAY):
        advance(memory.parts[0].detector, 1)
        sizes.append(store(tenant, memory))
    assert sum(size >= whole for size in sizes) == 1
    assert counts(tenant)[1] < DAY
    same(
        load(tenant, restarted=True).parts[0].detector.state,
        memory.parts[0].detector.state,
    )


def test_late_hours_new_series_and_new_prices_are_kept(tenant, memory) -> None:
    part = memory.parts[0]
    late, _ = part.detector.rescore([LateValue(2, memory.hour - 5, 40.0, 900.0)])
    part.note_late(late, (memory.hour - 5) // DAY * DAY)
    assert store(tenant, memory) < memory.size / 3
    same(load(tenant, restarted=True).parts[0].detector.state, part.detector.state)

    part.detector.reprice(np.array([0]), 2.0)
    part.is_rewritten = True
    store(tenant, memory)
    same(load(tenant, restarted=True).parts[0].detector.state, part.detector.state)

    rings.admit_series(memory, [(("customer", "dent"), 1.0)])
    store(tenant, memory)
    again = load(tenant, restarted=True)
    assert [key for _, key in again.parts[0].series] == ["acme", "bolt", "core", "dent"]
    same(again.parts[0].detector.state, memory.parts[0].detector.state)


def test_a_process_that_was_passed_by_another_reads_what_it_missed(tenant, memory) -> None:
    mine = load(tenant)
    assert mine is memory  # remembered, not read
    other = load(tenant, restarted=True)
    for _ in range(2):
        advance(other.parts[0].detector, 1)
        store(tenant, other)
    rings._kept[tenant.id] = mine
    caught_up = load(tenant)
    assert caught_up.parts[0] is mine.parts[0]
    same(caught_up.parts[0].detector.state, other.parts[0].detector.state)
    # Written whole meanwhile: read whole.
    other.parts[0].is_rewritten = True
    advance(other.parts[0].detector, 1)
    store(tenant, other)
    rings._kept[tenant.id] = caught_up
    assert load(tenant).parts[0] is not mine.parts[0]


def test_what_was_not_committed_is_not_remembered(tenant, memory) -> None:
    mine = load(tenant)

    def fail() -> None:
        with tenant_scope(tenant.id):
            advance(mine.parts[0].detector, 1)
            rings.store_memory(mine, now=NOW)
            rings.keep_memory(mine)
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        fail()
    assert load(tenant).parts[0].detector.state.hour == START_HOUR + KNOWN
    assert counts(tenant) == (1, 0)


def test_processes_remember_so_much_and_no_more(tenant, memory, make_tenant, monkeypatch) -> None:
    monkeypatch.setattr(rings, "KEPT_BYTES", memory.size)
    other = make_tenant()
    part = rings.Part(1, list(SERIES), known())
    store(other, rings.Memory(part.detector.state.hour, {}, [part]))
    assert tenant.id not in rings._kept
    assert other.id in rings._kept
