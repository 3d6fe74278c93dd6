"""When rates were recorded, and by whom. A part of selectors."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from apps.pricing.models import CatalogueSync, RateRevision
from apps.pricing.selectors import RateInfo
from apps.tenants.selectors import AuditInfo, list_audit


@dataclass(frozen=True, slots=True)
class Recording:
    """`by`: the person, or the package that a rate of the catalogue came with."""

    at: datetime
    by: str


def read_recordings(rates: Iterable[RateInfo]) -> dict[str, Recording]:
    """By a rate's id ("tenant:12"): when it was recorded and by whom. A handful of statements."""
    wanted = list(rates)
    own = {rate.recorded_revision for rate in wanted if rate.source != "catalogue"}
    listed = {rate.recorded_revision for rate in wanted if rate.source == "catalogue"}
    moments: dict[int, datetime] = dict(
        RateRevision.objects.filter(revision__in=own).values_list("revision", "recorded_at")
    )
    syncs = CatalogueSync.objects.filter(revision__in=listed)
    versions = {
        sync.revision: Recording(sync.synced_at, f"genai-prices {sync.package_version}")
        for sync in syncs
    }
    audited = list_audit(moments.values()) if moments else []
    found: dict[str, Recording] = {}
    for rate in wanted:
        if rate.source == "catalogue":
            recording = versions.get(rate.recorded_revision)
        else:
            recording = _by_a_person(rate, moments, audited)
        if recording is not None:
            found[rate.id] = recording
    return found


def _by_a_person(
    rate: RateInfo, moments: dict[int, datetime], audited: list[AuditInfo]
) -> Recording | None:
    at = moments.get(rate.recorded_revision)
    if at is None:
        return None
    at_once = [e for e in audited if e.at == at and e.action.startswith("rate.")]
    # A changed rate's entry names the row that it replaced; an added one's names itself.
    named = next((e for e in at_once if e.subject == f"rate:{rate.number}"), None)
    entry = named or next(iter(at_once), None)
    return Recording(at, entry.actor if entry else "")
