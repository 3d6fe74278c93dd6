"""What the web server loads."""

import logging
import os
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costboard.settings")


class Utf8Request(WSGIRequest):
    """A request whose texts are UTF-8, whatever charset its Content-Type names.

    Python knows codecs that decode no text ("base64"): Django would raise before any handler of
    ours could answer.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        stated = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        self.content_type, self.content_params = stated


_django = get_wsgi_application()
_django.request_class = Utf8Request
# After Django is set up: it looks up addresses.
from costboard.hot_doors import HotDoors  # noqa: E402

# The benchmark has a door of its own.
application = HotDoors(_django, Utf8Request, getattr(settings, "MORE_HOT_PATHS", ()))


def _get_ready() -> None:
    """Stop at once if the application's role could look over the walls between tenants; then read
    what the first request of a router would have to wait for."""
    from django.db import InterfaceError, OperationalError, connection
    from django.utils import timezone

    from apps.tenants.database_roles import require_walled_role
    from apps.usage.services import get_ready

    try:
        require_walled_role()
        get_ready(now=timezone.now())
    except (InterfaceError, OperationalError):
        # The database may come later; /healthz says so until then.
        logging.getLogger(__name__).warning("the database cannot be reached yet")
    finally:
        connection.close()


_get_ready()
