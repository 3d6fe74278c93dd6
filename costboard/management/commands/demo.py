"""`manage.py demo`: a whole Costboard with an invented company's usage, for as long as it runs."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costboard.demo.ports import PortError
from costboard.demo.readiness import NotReadyError
from costboard.demo.run import Demo, DemoOptions
from costboard.demo.seed import NoDemoDatabaseError
from costboard.demo.traffic import DEFAULT_DAYS, DEFAULT_EVENTS, DEFAULT_SEED
from costboard.embedded import DataDirInUse, EmbeddedServicesError

MAX_DAYS, MAX_EVENTS = 365, 20_000_000


class Command(BaseCommand):
    help = "Runs services, web, worker and beat with demo data until Ctrl-C."
    # They import every page and its figures; the web does that itself.
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--empty", action="store_true", help="tenants and logins, no usage")
        parser.add_argument("--days", type=int, default=DEFAULT_DAYS, help="length of history")
        parser.add_argument("--events", type=int, default=DEFAULT_EVENTS, help="in that history")
        parser.add_argument(
            "--large", type=int, default=0, help="repeat history over a year until so many events"
        )
        parser.add_argument("--no-live", action="store_true", help="no stream of new events")
        parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="of the traffic")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        for name, most in (("days", MAX_DAYS), ("events", MAX_EVENTS), ("large", MAX_EVENTS)):
            least = 0 if name == "large" else 1
            if not least <= options[name] <= most:
                raise CommandError(f"--{name} is {options[name]}; it is {least} to {most}")
        demo = Demo(
            DemoOptions(
                days=options["days"],
                events=options["events"],
                seed=options["seed"],
                empty=options["empty"],
                live=not options["no_live"],
                large=options["large"],
            )
        )
        try:
            demo.run()
        except DataDirInUse as error:
            raise CommandError(
                f"{error}: another demo, or a command of manage.py. Stop that first, or give this"
                " demo a folder of its own with COSTBOARD_DATA_DIR"
            ) from error
        except (EmbeddedServicesError, NoDemoDatabaseError, NotReadyError, PortError) as error:
            raise CommandError(str(error)) from error
