"""OTLP/HTTP: traces are usage; metrics and logs of the same calls are taken and bill nothing."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Router

from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.usage.adapters.otlp import error_status, ok_response, parse_otlp_traces
from apps.usage.api import parse_body, wanted_attributes
from apps.usage.core.events import Door
from apps.usage.http_body import held_body
from apps.usage.services import ingest_events

router = Router(tags=["opentelemetry"])

TRACES_PATHS = ("/v1/traces", "/api/v1/otlp/v1/traces", "/api/public/otel/v1/traces")
UNBILLED_PATHS = tuple(
    path.replace("traces", signal) for path in TRACES_PATHS for signal in ("metrics", "logs")
)
# HTTP status to google.rpc.Code, as googleapis maps them.
_RPC_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 413: 8, 415: 3, 422: 3, 429: 8, 500: 13, 503: 14}
_RPC_UNKNOWN = 2


def _content_type(request: HttpRequest) -> str:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def post_traces(request: ApiRequest) -> HttpResponse:
    """Take GenAI spans (protobuf or JSON) as usage; other spans are ignored.

    Refused spans are counted in `partial_success`, as OTLP prescribes.
    """
    content_type = _content_type(request)
    wanted = wanted_attributes(request, Door.OTLP)
    with held_body(request) as body:
        parsed = parse_body(lambda body: parse_otlp_traces(body, content_type, wanted), body)
        outcome = ingest_events(request.auth, parsed, now=timezone.now())
    message = "; ".join(rejection.detail for rejection in outcome.rejected[:3])
    return _answer(content_type, len(outcome.rejected), message)


def post_unbilled(request: ApiRequest) -> HttpResponse:
    """Take metrics or logs, which repeat what spans tell, and keep nothing of them."""
    with held_body(request):
        return _answer(_content_type(request), 0, "")


def otlp_refusal(request: HttpRequest, problem: Problem) -> HttpResponse | None:
    """A problem as OTLP/HTTP prescribes, for requests at its paths; None for all others.

    In JSON the problem's own members stand beside the Status, but for `code`, which is the
    Status's; it is the end of `type`, too.
    """
    if request.path not in TRACES_PATHS + UNBILLED_PATHS:
        return None
    content_type = _content_type(request)
    code = _RPC_CODES.get(problem.status, _RPC_UNKNOWN)
    members = {name: value for name, value in problem.as_dict().items() if name != "code"}
    body = error_status(content_type, code, problem.detail, members)
    return _respond(content_type, body, status=problem.status)


def _answer(content_type: str, rejected_count: int, message: str) -> HttpResponse:
    return _respond(content_type, ok_response(content_type, rejected_count, message))


def _respond(content_type: str, body: bytes, status: int = 200) -> HttpResponse:
    is_json = content_type == "application/json"
    answered = "application/json" if is_json else "application/x-protobuf"
    return HttpResponse(body, content_type=answered, status=status)


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-protobuf": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"schema": {"type": "object"}},
        },
    }
}

for _path in TRACES_PATHS:
    router.add_api_operation(
        _path, ["POST", "PUT"], post_traces, auth=KeyAuth("ingest"), openapi_extra=_BODY
    )
for _path in UNBILLED_PATHS:
    router.add_api_operation(
        _path, ["POST", "PUT"], post_unbilled, auth=KeyAuth("ingest"), openapi_extra=_BODY
    )
