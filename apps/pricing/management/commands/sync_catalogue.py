"""`manage.py sync_catalogue`: take the installed genai-prices into our tables."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from apps.pricing.core.catalogue_diff import CatalogueDiff, ListedPrice, PriceChange
from apps.pricing.core.money import plain_decimal
from apps.pricing.services import preview_catalogue_sync, sync_catalogue


class Command(BaseCommand):
    help = "Make the price catalogue equal to the installed genai-prices; quick when it is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would change, and change nothing"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["dry_run"]:
            for line in describe_diff(preview_catalogue_sync()):
                self.stdout.write(line)
            return
        result = sync_catalogue(now=timezone.now())
        if result.changed:
            self.stdout.write(
                f"catalogue {result.package_version}, revision {result.revision}:"
                f" {result.rates_added} rates recorded, {result.rates_closed} closed"
            )
        else:
            self.stdout.write(f"catalogue {result.package_version} stands already")


def describe_diff(diff: CatalogueDiff) -> list[str]:
    """The diff in lines to read: the sums, then model by model, then samples."""
    if not (diff.models or diff.models_added or diff.models_removed):
        return ["nothing would change"]
    lines = [
        f"{diff.added} prices added, {diff.changed} changed, {diff.closed} closed,"
        f" in {len(diff.models)} models; {len(diff.models_added)} models are new,"
        f" {len(diff.models_removed)} are gone"
    ]
    for model in diff.models:
        counts = f"+{model.added} ~{model.changed} -{model.closed}"
        lines.append(f"  {model.provider}/{model.model}: {counts}")
    lines += [f"  new: {name}" for name in diff.models_added]
    lines += [f"  gone: {name}" for name in diff.models_removed]
    return [*lines, *(_describe_change(change) for change in diff.samples)]


def _describe_change(change: PriceChange) -> str:
    price = change.price
    of = f"{price.provider}/{price.model} {price.meter}"
    if price.when:
        of += f" {dict(price.when)}"
    if price.tier_start_tokens:
        of += f" beyond {price.tier_start_tokens} tokens"
    return f"  {change.kind}: {of}: {_price(change.before)} -> {_price(change.after)}"


def _price(price: ListedPrice | None) -> str:
    if price is None:
        return "none"
    return f"{plain_decimal(price.price_usd)} USD per {price.unit_quantity}"
