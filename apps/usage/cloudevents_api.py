"""CloudEvents over HTTP: the door that OpenMeter's clients know."""

import logging

from django.http import HttpResponse
from django.utils import timezone
from ninja import Router

from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.usage.adapters.cloudevents import BATCH, STRUCTURED, parse_cloudevents
from apps.usage.api import nothing_taken, parse_body, wanted_attributes
from apps.usage.core.events import Door
from apps.usage.http_body import held_body
from apps.usage.services import IngestOutcome, ingest_events

router = Router(tags=["cloudevents"])
logger = logging.getLogger(__name__)

MAX_NAMED = 10

_EVENT = {
    "type": "object",
    "required": ["id", "source", "specversion", "type"],
    "description": "A CloudEvent 1.0 whose data tells LLM usage; docs/integrations/cloudevents.md.",
}
_EVENTS = {"type": "array", "items": _EVENT}


@router.post(
    "/events",
    auth=KeyAuth("ingest"),
    response={204: None},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                STRUCTURED: {"schema": _EVENT},
                BATCH: {"schema": _EVENTS},
                "application/json": {"schema": {"oneOf": [_EVENT, _EVENTS, {"type": "object"}]}},
            },
        }
    },
)
def post_cloudevents(request: ApiRequest) -> HttpResponse:
    """Take CloudEvents: structured, batch or binary mode. 204 when any event is good.

    The headers of the answer count what was taken, and name the first events that were not.
    """
    now = timezone.now()
    headers = {name.lower(): value for name, value in request.headers.items()}
    wanted = wanted_attributes(request, Door.CLOUDEVENTS)
    with held_body(request) as body:
        try:
            parsed = parse_body(
                lambda body: parse_cloudevents(body, headers, now=now, wanted=wanted), body
            )
        except Problem as problem:
            if problem.code == "unsupported_media_type":
                problem.status = 415
            raise
        outcome = ingest_events(request.auth, parsed, now=now)
    if outcome.rejected and not (outcome.accepted or outcome.duplicates):
        raise nothing_taken(outcome)
    if outcome.rejected:
        _log(request.auth.tenant_id, outcome)
    return _no_content(outcome)


def _no_content(outcome: IngestOutcome) -> HttpResponse:
    response = HttpResponse(status=204)
    del response.headers["Content-Type"]
    response.headers["Costboard-Accepted"] = str(outcome.accepted)
    response.headers["Costboard-Duplicates"] = str(outcome.duplicates)
    response.headers["Costboard-Rejected"] = str(len(outcome.rejected))
    if outcome.rejected:
        response.headers["Costboard-Rejections"] = _named(outcome)
    return response


def _named(outcome: IngestOutcome) -> str:
    """Index and code of the first refusals: "3 not_llm_usage, 7 conflict"."""
    return ", ".join(f"{r.index} {r.code}" for r in outcome.rejected[:MAX_NAMED])


def _log(tenant_id: int, outcome: IngestOutcome) -> None:
    logger.warning(
        "cloudevents of tenant %d: %d taken, %d duplicates, %d refused: %s",
        tenant_id,
        outcome.accepted,
        outcome.duplicates,
        len(outcome.rejected),
        _named(outcome),
    )
