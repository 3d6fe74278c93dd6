"""OTLP/HTTP: traces are usage; metrics and logs of the same calls are taken and bill nothing."""

from django.http import HttpResponse
from django.utils import timezone
from ninja import Router

from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.usage.adapters.otlp import ok_response, parse_otlp_traces
from apps.usage.api import parse_body
from apps.usage.http_body import read_body
from apps.usage.services import ingest_events

router = Router(tags=["opentelemetry"])

TRACES_PATHS = ("/v1/traces", "/api/v1/otlp/v1/traces", "/api/public/otel/v1/traces")
UNBILLED_PATHS = tuple(
    path.replace("traces", signal) for path in TRACES_PATHS for signal in ("metrics", "logs")
)


def _content_type(request: ApiRequest) -> str:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def post_traces(request: ApiRequest) -> HttpResponse:
    """Take GenAI spans (protobuf or JSON) as usage; other spans are ignored.

    Refused spans are counted in `partial_success`, as OTLP prescribes.
    """
    content_type = _content_type(request)
    parsed = parse_body(lambda body: parse_otlp_traces(body, content_type), read_body(request))
    outcome = ingest_events(request.auth, parsed, now=timezone.now())
    message = "; ".join(rejection.detail for rejection in outcome.rejected[:3])
    return _answer(content_type, len(outcome.rejected), message)


def post_unbilled(request: ApiRequest) -> HttpResponse:
    """Take metrics or logs, which repeat what spans tell, and keep nothing of them."""
    read_body(request)
    return _answer(_content_type(request), 0, "")


def _answer(content_type: str, rejected_count: int, message: str) -> HttpResponse:
    is_json = content_type == "application/json"
    return HttpResponse(
        ok_response(content_type, rejected_count, message),
        content_type="application/json" if is_json else "application/x-protobuf",
    )


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
