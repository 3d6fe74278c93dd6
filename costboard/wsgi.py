"""What the web server loads."""

import logging
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costboard.settings")

application = get_wsgi_application()


def _refuse_to_serve_without_walls() -> None:
    """Stop at once if the application's role could look over the walls between tenants."""
    from django.db import OperationalError, connection

    from apps.tenants.database_roles import require_walled_role

    try:
        require_walled_role()
    except OperationalError:
        # The database may come later; /healthz says so until then.
        logging.getLogger(__name__).warning("the database cannot be reached yet")
    finally:
        connection.close()


_refuse_to_serve_without_walls()
