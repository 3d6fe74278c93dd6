"""The one API: every app's router, and how errors look. Endpoints live beside their domain."""

import logging
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.views.defaults import page_not_found
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from apps.alerts.api import router as alerts_router
from apps.budgets.api import router as budgets_router
from apps.budgets.leases_api import router as leases_router
from apps.budgets.reservations_api import router as reservations_router
from apps.budgets.statements_api import router as statements_router
from apps.insights.anomalies_api import router as anomalies_router
from apps.insights.api import router as insights_router
from apps.pricing.rates_api import router as pricing_router
from apps.routing.policy_api import router as routing_router
from apps.routing.replays_api import router as replays_router
from apps.routing.value_api import router as value_router
from apps.tenants.api import router as tenants_router
from apps.tenants.problems import Problem
from apps.usage.api import router as usage_router
from apps.usage.attribution_api import router as attribution_router
from apps.usage.backpressure import OverloadedError
from apps.usage.charges_api import router as charges_router
from apps.usage.cloudevents_api import router as cloudevents_router
from apps.usage.hardware_api import router as hardware_router
from apps.usage.margins_api import router as margins_router
from apps.usage.otlp_api import otlp_refusal
from apps.usage.otlp_api import router as otlp_router
from apps.usage.repricing_api import router as repricing_router
from apps.usage.selectors import TooMuchToReadError

logger = logging.getLogger(__name__)
PROBLEM_CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 2


class _Api(NinjaAPI):
    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002
        """For views that set headers by it. Its charset, which else is looked for in the content
        type of each."""
        return HttpResponse("", content_type=self.get_content_type(), charset="utf-8")


api = _Api(
    title="Costboard",
    version="1",
    description="Cost tracking and cost-aware routing guidance for hybrid local and cloud LLMs.",
    docs_url="/api/docs",
    openapi_url="/api/openapi.json",
    urls_namespace="api",
)
api.add_router("/api/v1", tenants_router)
api.add_router("/api/v1", alerts_router)
api.add_router("/api/v1", pricing_router)
api.add_router("/api/v1", usage_router)
api.add_router("/api/v1", margins_router)
api.add_router("/api/v1", hardware_router)
api.add_router("/api/v1", charges_router)
api.add_router("/api/v1", repricing_router)
api.add_router("/api/v1", attribution_router)
api.add_router("/api/v1", cloudevents_router)
# Before "/budgets/{id}", which would take its addresses.
api.add_router("/api/v1", reservations_router)
api.add_router("/api/v1", leases_router)
api.add_router("/api/v1", budgets_router)
api.add_router("/api/v1", statements_router)
api.add_router("/api/v1", value_router)
api.add_router("/api/v1", replays_router)
api.add_router("/api/v1", routing_router)
api.add_router("/api/v1", insights_router)
api.add_router("/api/v1", anomalies_router)
api.add_router("", otlp_router)


def _as_problem(request: HttpRequest, problem: Problem) -> HttpResponse:
    response = api.create_response(request, problem.as_dict(), status=problem.status)
    response.headers["Content-Type"] = PROBLEM_CONTENT_TYPE
    return response


def _answer(request: HttpRequest, problem: Problem) -> HttpResponse:
    response = otlp_refusal(request, problem) or _as_problem(request, problem)
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="costboard"'
    if problem.status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


@api.exception_handler(Problem)
def _on_problem(request: HttpRequest, problem: Any) -> HttpResponse:
    return _answer(request, problem)


@api.exception_handler(ValidationError)
def _on_invalid(request: HttpRequest, error: Any) -> HttpResponse:
    errors = [
        {
            # "body.payload.usage.input_tokens": the first two say where ninja found it.
            "field": ".".join(str(part) for part in item["loc"][1:]) or item["loc"][0],
            "code": item["type"],
            "detail": item["msg"],
        }
        for item in error.errors
    ]
    first = errors[0] if errors else {"field": None, "detail": "the request is not valid"}
    problem = Problem(
        422,
        "invalid_request",
        f"{first['field']}: {first['detail']}",
        field=first["field"],
        errors=errors,
    )
    return _answer(request, problem)


@api.exception_handler(HttpError)
def _on_http_error(request: HttpRequest, error: Any) -> HttpResponse:
    return _answer(request, Problem(error.status_code, "invalid_request", str(error)))


@api.exception_handler(TooMuchToReadError)
def _on_too_much_to_read(request: HttpRequest, error: Any) -> HttpResponse:
    return _answer(request, Problem(422, "too_much_to_read", str(error), field="from"))


@api.exception_handler(InterfaceError)
@api.exception_handler(OperationalError)
def _on_database_away(request: HttpRequest, error: Any) -> HttpResponse:
    logger.warning("database not reachable: %s", type(error).__name__)
    return _answer(
        request,
        Problem(503, "database_unavailable", "the database cannot be reached; send it again"),
    )


@api.exception_handler(OverloadedError)
def _on_overload(request: HttpRequest, error: Any) -> HttpResponse:
    return _answer(request, Problem(503, "overloaded", str(error)))


@api.exception_handler(Exception)
def _on_bug(request: HttpRequest, error: Any) -> HttpResponse:
    logger.exception("unexpected error at %s", request.path, exc_info=error)
    return _answer(
        request, Problem(500, "internal_error", "an error of ours; nothing of this call was kept")
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A problem for callers of the API, a page for people."""
    if request.path.startswith(("/api/", "/v1/")):
        detail = f"{request.path[:200]} is not an address of this API; see /api/docs"
        return _answer(request, Problem(404, "not_found", detail))
    return page_not_found(request, exception)
