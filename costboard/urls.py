"""Every address: the health check, the pages, the API."""

from django.urls import include, path

from costboard.api import api
from costboard.health import healthz

urlpatterns = [
    path("healthz", healthz),
    # Before the API: ninja claims the bare root of its prefix for itself, and answers 404 there.
    path("", include("apps.dashboards.urls")),
    path("", api.urls),
]

handler404 = "costboard.api.not_found"
