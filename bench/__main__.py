"""`python -m bench [NAME...]`: measure, and print a table. Exits 1 when a goal is missed."""

import importlib
import sys
from typing import Final

from bench.results import Result, table

# The entries, in the order in which they run: modules of this package with a run().
ENTRIES: Final = (
    "rating",
    "forecast",
    "detection",
    "ingest",
    "singles",
    "litellm",
    "freshness",
    "reservations",
    "routing",
)
# Entries that take too long to run unasked.
ON_DEMAND: Final = ("growth", "pages")


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in ENTRIES + ON_DEMAND]
    if unknown:
        known = ", ".join(ENTRIES + ON_DEMAND)
        print(f"no entry {', '.join(unknown)}; there are {known}", file=sys.stderr)
        return 2
    results: list[Result] = []
    try:
        for name in names or ENTRIES:
            results.extend(importlib.import_module(f"bench.{name}").run())
    finally:
        # What a failure leaves may have taken half an hour.
        print("\n".join(table(results)), flush=True)
    return 0 if all(result.is_met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
