"""`manage.py simulate_routing`: a month of your own requests, routed by the core that serves."""

import csv
import random
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

import numpy as np
from django.core.management.base import BaseCommand, CommandError

from apps.routing.core.catalog import Catalog
from apps.routing.core.hindsight import bound
from apps.routing.core.rule import Request
from apps.routing.core.scoring import Tally, chances, month_in_hindsight
from apps.routing.core.simulation import Outcome, Steered, simulate
from apps.routing.core.steering import Steering
from apps.routing.trace_files import (
    Outcomes,
    TraceError,
    load_catalog,
    read_all_outcomes,
    read_requests,
)

NONE: Final = "none"
SEED: Final = 7


class Command(BaseCommand):
    help = "Route a month of requests from files, one by one, and say what it was worth."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        for name, what in (
            ("--catalog", "backends, quality, floors, budgets, forecast (JSON)"),
            ("--trace", "the requests, in the order of time (CSV)"),
            ("--outcomes", "what each backend would have cost and brought, in that order (CSV)"),
            ("--out", "where to write the decisions (CSV: request_id, backend or none)"),
        ):
            parser.add_argument(name, required=True, type=Path, help=what)
        parser.add_argument("--seed", type=int, default=SEED, help="of the exploration")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            catalog = load_catalog(options["catalog"])
            tally, times, requests = _route(catalog, options)
            self.stdout.write("\n".join(describe(tally)))
            self.stdout.write("\n".join(_hindsight(catalog, tally, times, requests, options)))
        except (TraceError, OSError) as error:
            raise CommandError(str(error)) from error


def _route(catalog: Catalog, options: dict[str, Any]) -> tuple[Tally, list[float], list[Request]]:
    """Decides, writes, and only then reads what came of it: the file has each decision before."""
    tally, times, requests, ids = Tally(catalog), [], [], []
    outcomes = Outcomes(options["outcomes"], [backend.name for backend in catalog.backends])
    router = Steered(Steering(catalog), random.Random(options["seed"]))  # noqa: S311 - repeatable
    with options["out"].open("w", newline="", buffering=1) as file:
        out = csv.writer(file)
        out.writerow(("request_id", "backend"))

        def arriving() -> Any:
            for request_id, ts_s, request in read_requests(options["trace"], catalog):
                ids.append(request_id)
                times.append(ts_s)
                requests.append(request)
                yield ts_s, request

        def outcome_of(number: int, backend: str) -> Outcome:
            out.writerow((ids[number], backend))
            return outcomes.of(ids[number], backend)

        try:
            for decided in simulate(catalog, arriving(), outcome_of, router):
                if decided.backend is None:
                    out.writerow((ids[decided.number], NONE))
                tally.add(times[-1], requests[-1], decided)
        finally:
            outcomes.close()
    return tally, times, requests


def describe(tally: Tally) -> list[str]:
    """Value, spend by scope, floors and refusals, to read."""
    c = tally.catalog
    days = tally.day_usd or {0: 0.0}
    most = max(days, key=lambda day: days[day])
    over = sum(usd > c.day_usd for usd in days.values())
    requests = sum(tally.requests.values())
    lines = [
        f"requests           {requests:,}",
        f"value              {tally.value_usd:,.2f} USD"
        + (f" (without {tally.unseen:,} whose outcome nobody tells)" if tally.unseen else ""),
        _spend("month", tally.month_usd, c.month_usd),
        f"{_spend(f'day {most}, the most', days[most], c.day_usd)}; {over} days over",
        *(
            _spend(name, tally.department_usd.get(name, 0.0), usd)
            for name, usd in c.department_usd.items()
        ),
        f"floors violated    {tally.floors_violated}",
    ]
    for tier in c.tiers:
        refused, asked = tally.refused.get(tier, 0), tally.requests.get(tier, 0)
        lines.append(f"refused {tier:<10} {refused:,} of {asked:,} ({_percent(refused, asked)})")
    for backend in c.backends:
        ran = tally.by_backend.get(backend.name, 0)
        lines.append(f"ran on {backend.name}: {ran:,} ({_percent(ran, requests)})")
    return lines


def _hindsight(
    catalog: Catalog,
    tally: Tally,
    times: list[float],
    requests: list[Request],
    options: dict[str, Any],
) -> list[str]:
    """The share of the bound; after all was decided, and where the file can be read again."""
    if not requests:
        return ["hindsight bound    none: no requests"]
    names = [backend.name for backend in catalog.backends]
    try:
        cost, success = read_all_outcomes(options["outcomes"], names, len(requests))
    except (TraceError, OSError) as error:
        return [f"hindsight bound    none: {error}"]
    if np.isnan(cost).any() or np.isnan(success).any():
        return ["hindsight bound    none: not every outcome of every backend is told"]
    month = month_in_hindsight(catalog, times, requests, cost, success)
    most = bound(month).bound_usd
    lines = [_share("hindsight bound", tally.value_usd, most)]
    if np.isin(success, (0.0, 1.0)).all():
        likely = month_in_hindsight(
            catalog, times, requests, cost, chances(catalog, requests, success)
        )
        lines = [
            _share("hindsight bound", tally.value_usd, bound(likely).bound_usd)
            + ", knowing the chances of success",
            _share("with every flip", tally.value_usd, most)
            + ", knowing each outcome, which nobody can",
        ]
    return lines


def _share(name: str, usd: float, most_usd: float) -> str:
    share = f"{100 * usd / most_usd:.2f}%" if most_usd > 0 else "no share"
    return f"{name:<18} {most_usd:,.2f} USD; share {share}"


def _spend(name: str, usd: float, cap_usd: float) -> str:
    over = max(0.0, usd - cap_usd)
    share = _percent(usd, cap_usd)
    return f"spend {name:<12} {usd:,.6f} of {cap_usd:,.6f} USD ({share}), over by {over:.9f}"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.2f}%" if whole else "none"
