"""Production's addresses, and one that reads a body and does nothing with it."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def do_nothing(request: HttpRequest) -> HttpResponse:
    request.read()
    return HttpResponse(b"{}", content_type="application/json")


urlpatterns = [
    path("noop", do_nothing),
    # The same by the way that doors for routers take (costboard/hot_doors.py).
    path("noop/short", do_nothing),
    path("", include("costboard.urls")),
]
handler404 = "costboard.api.not_found"
