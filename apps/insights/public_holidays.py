"""The public holidays of where a tenant is: a country or a part of one."""

import re
from datetime import date
from functools import lru_cache
from pathlib import Path
from zoneinfo import TZPATH


def public_holidays(
    time_zone: str, first: date, end: date, *, country: str = ""
) -> frozenset[date]:
    """Those of [first, end) of `country` (DE, nationwide; or DE-BY, of that part of it), or of the
    country that the zone belongs to; none for a zone of no one country (UTC) or unknown."""
    country = country or _country_of_zone().get(time_zone, "")
    if not country:
        return frozenset()
    years = range(first.year, end.year + 1)
    return frozenset(day for year in years for day in _of_year(country, year) if first <= day < end)


@lru_cache(maxsize=1)
def _country_of_zone() -> dict[str, str]:
    """From the time zone database's own table; its lines are country, coordinates, zone."""
    for folder in TZPATH:
        table = Path(folder) / "zone.tab"
        if table.is_file():
            lines = table.read_text(encoding="utf-8").splitlines()
            rows = (line.split("\t") for line in lines if line and not line.startswith("#"))
            return {row[2]: row[0] for row in rows}
    return {}


@lru_cache(maxsize=4096)
def _of_year(place: str, year: int) -> frozenset[date]:
    # Imported here: its countries are needed by forecasts alone, and take a moment to load.
    import holidays

    country, _, region = place.partition("-")
    try:
        return frozenset(holidays.country_holidays(country, subdiv=region or None, years=year))
    except NotImplementedError:
        return _of_year(country, year) if region else frozenset()


@lru_cache(maxsize=256)
def list_regions(country: str) -> tuple[tuple[str, str], ...]:
    """(ISO code within the country, name) by name, of the parts that keep holidays of their own."""
    import holidays

    try:
        calendar = holidays.country_holidays(country)
    except NotImplementedError:
        return ()
    names = {code: name for name, code in calendar.subdivisions_aliases.items()}
    codes = [code for code in calendar.subdivisions if re.fullmatch("[A-Z0-9]{1,3}", code)]
    return tuple(sorted(((code, names.get(code, code)) for code in codes), key=lambda row: row[1]))


@lru_cache(maxsize=1)
def list_countries() -> tuple[tuple[str, str], ...]:
    """(ISO code, name) by name, from the time zone database's own table; empty where it is not."""
    for folder in TZPATH:
        table = Path(folder) / "iso3166.tab"
        if table.is_file():
            lines = table.read_text(encoding="utf-8").splitlines()
            rows = (line.split("\t") for line in lines if line and not line.startswith("#"))
            return tuple(sorted(((row[0], row[1]) for row in rows), key=lambda row: row[1]))
    return ()
