"""`manage.py`: every command finds the services running, or starts them for as long as it lasts."""

import os
from collections.abc import Sequence
from contextlib import nullcontext

from django.core.management import execute_from_command_line

from costboard.embedded import default_data_dir, running

# These look at files alone, or (demo) hold the services themselves.
WITHOUT_SERVICES = frozenset(
    {
        "check",
        "collectstatic",
        "demo",
        "detect_series",
        "forecast_series",
        "help",
        "simulate_routing",
        "version",
    }
)


def needs_services(argv: Sequence[str]) -> bool:
    command = argv[1] if len(argv) > 1 else "help"
    asks_help = "--help" in argv or "-h" in argv or command.startswith("-")
    return command not in WITHOUT_SERVICES and not asks_help


def run(argv: Sequence[str]) -> None:
    """Run one management command; embedded services serve what has no URL in the environment."""
    own_services = os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")
    embedded = needs_services(argv) and not own_services
    with running(default_data_dir()) if embedded else nullcontext():
        execute_from_command_line(list(argv))
