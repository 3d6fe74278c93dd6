"""Every address: the API, the pages, the health check."""

from django.urls import include, path

from costboard.api import api
from costboard.health import healthz

urlpatterns = [
    path("healthz", healthz),
    path("", api.urls),
    path("", include("apps.dashboards.urls")),
]

handler404 = "costboard.api.not_found"
