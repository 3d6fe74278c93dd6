"""`manage.py detect_series`: what stands out in hourly series on stdin. No database, no tenant."""

import csv
import io
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.insights.series_csv import SeriesCsvError, read_series
from apps.insights.series_detection import detect_rows, threshold_of

SHOWN_SCORE = 0.25  # rows below are left out: they are ordinary


class Command(BaseCommand):
    help = (
        "Read CSV series_id,ts,value[,requests] (hourly, RFC 3339 UTC, in time order, missing"
        " hours absent) on stdin; write series_id,ts,score,is_anomaly for rows that stand out."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--sensitivity",
            type=float,
            default=1.0,
            help="an hour is an anomaly from score 1/SENSITIVITY on; 1.35 finds and errs more",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        sensitivity = options["sensitivity"]
        try:
            threshold_of(sensitivity)
            rows = list(read_series(io.TextIOWrapper(sys.stdin.buffer, "utf-8", newline="")))
        except (SeriesCsvError, UnicodeDecodeError) as error:
            raise CommandError(f"detect_series: {error}", returncode=2) from error
        except ValueError as error:
            raise CommandError(f"detect_series: --sensitivity: {error}", returncode=2) from error
        text = io.StringIO()
        out = csv.writer(text, lineterminator="\n")
        out.writerow(["series_id", "ts", "score", "is_anomaly"])
        for scored in detect_rows(rows, sensitivity=sensitivity):
            if scored.is_anomaly or scored.score >= SHOWN_SCORE:
                row = scored.row
                out.writerow([row.series_id, row.ts, f"{scored.score:.4f}", int(scored.is_anomaly)])
        self.stdout.write(text.getvalue(), ending="")
