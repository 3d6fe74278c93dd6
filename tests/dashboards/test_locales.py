"""Figures, days and fields by the conventions of whoever looks; files as machines write them."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from apps.dashboards.conventions import written_as
from apps.dashboards.periods import dated, long_day, short_day
from apps.dashboards.templatetags.figures_of_speech import change, in_usd, percent, short, usd
from apps.dashboards.typed_numbers import NotANumber, as_typed, typed_decimal, typed_list
from apps.tenants.locales import (
    HOUSE,
    OFFERED,
    Conventions,
    choose_conventions,
    conventions_of,
    offered_names,
)
from apps.tenants.organisation import change_tenant
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.conftest import native_event

SignIn = Callable[..., Client]
DAY = date(2026, 11, 16)


def of(tag: str) -> Conventions:
    found = conventions_of(tag)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("tag", "money", "share", "day"),
    [
        ("", "1,234,567.50 USD", "6.4%", "16 Nov 2026"),
        ("en-US", "USD\xa01,234,567.50", "6.4%", "Nov 16, 2026"),
        ("en-IN", "USD\xa012,34,567.50", "6.4%", "16 Nov 2026"),
        ("de-DE", "1.234.567,50 USD", "6,4\xa0%", "16 Nov 2026"),
        ("de-CH", "USD\xa01’234’567.50", "6.4%", "16 Nov 2026"),
        ("fr-FR", "1\u202f234\u202f567,50 USD", "6,4\xa0%", "16 Nov 2026"),
        ("sv-SE", "1\xa0234\xa0567,50 USD", "6,4\xa0%", "2026 Nov 16"),
    ],
)
def test_figures_and_days_follow_the_locale(tag: str, money: str, share: str, day: str) -> None:
    with written_as(of(tag)):
        assert in_usd(usd(Decimal("1234567.5"))) == money
        assert percent(Decimal("0.064")) == share
        assert dated(DAY) == day
    assert in_usd(usd(Decimal("1234567.5"))) == "1,234,567.50 USD"


def test_short_figures_changes_and_long_days_too() -> None:
    with written_as(of("de-DE")):
        assert short(12_480) == "12,5\u202fk"
        assert usd(Decimal("-0.000225")) == "−0,000225"
        assert change(Decimal("-0.12")) == "−12\xa0%"
        assert change(Decimal("0.001")) == "±0\xa0%"
        assert percent(Decimal("0.0004")) == "<0,1\xa0%"
        assert (short_day(DAY), long_day(DAY)) == ("16 Nov", "16 November 2026")
    with written_as(of("en-US")):
        assert (short_day(DAY), long_day(DAY)) == ("Nov 16", "November 16, 2026")


@pytest.mark.parametrize(
    ("tag", "typed", "read"),
    [
        ("", "1,200.50", "1200.50"),
        ("", "1200", "1200"),
        ("", ".5", "0.5"),
        ("de-DE", "1.200,50", "1200.50"),
        ("de-DE", "99,5", "99.5"),
        ("de-DE", "1.250", "1250"),
        ("fr-FR", "1 234 567,5", "1234567.5"),
        ("de-CH", "1'234.5", "1234.5"),
        ("en-IN", "12,34,567.5", "1234567.5"),
        ("sv-SE", "−0,25", "-0.25"),
        # But one reading, in another's style.
        ("", "0,75", "0.75"),
        ("de-DE", "1.5", "1.5"),
        ("de-DE", "0.500", "0.5"),
        ("", "1e-3", "0.001"),
    ],
)
def test_fields_take_the_locale(tag: str, typed: str, read: str) -> None:
    with written_as(of(tag)):
        assert typed_decimal(typed) == Decimal(read)


@pytest.mark.parametrize(
    ("tag", "typed"),
    [
        ("", "1.5.0"), ("", ""), ("", "NaN"), ("", "٣"), ("", "1,25,000"),
        ("de-DE", "1,2,3"), ("en-IN", "1,23,45"), ("fr-FR", "1,2.3"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused(tag: str, typed: str) -> None:
    with written_as(of(tag)), pytest.raises(NotANumber, match="write a number with a"):
        typed_decimal(typed)


@given(st.sampled_from(OFFERED), st.decimals(-(10**9), 10**9, places=6))
def test_what_a_field_shows_is_read_back_to_the_last_digit(tag: str, value: Decimal) -> None:
    with written_as(of(tag)):
        assert typed_decimal(as_typed(value)) == value
        assert typed_decimal(usd(value)) == Decimal(f"{value:.2f}") or abs(value) < 1


def test_lists_have_separators_of_their_own() -> None:
    assert typed_list("50, 80,100") == ["50", "80", "100"]
    with written_as(of("de-DE")):
        assert typed_list("50, 80; 99,5") == ["50", "80", "99,5"]


def test_own_setting_goes_before_the_browser_and_the_browser_before_the_organisation() -> None:
    asked = "xx;q=0.9, fr-CH, de;q=0.8, *;q=0.1"
    assert choose_conventions(own="sv-SE", header=asked, tenant="da-DK").tag == "sv-SE"
    assert choose_conventions(own="", header=asked, tenant="da-DK").tag == "fr-CH"
    assert choose_conventions(own="", header="de;q=0.2, pl;q=0.9", tenant="").tag == "pl"
    assert choose_conventions(own="", header="", tenant="da-DK").tag == "da-DK"
    assert choose_conventions(own="", header="en, de;q=0.5", tenant="da-DK") == HOUSE
    assert choose_conventions(own="", header=";q=,,../../etc\0", tenant="") == HOUSE


def test_every_offered_locale_is_known() -> None:
    assert {of(tag).tag for tag in OFFERED} == set(OFFERED)
    assert len(offered_names()) == len(OFFERED)


def test_pages_follow_files_and_api_do_not(
    tenant: TenantInfo, sign_in: SignIn, post_events: Callable[..., object]
) -> None:
    now = datetime.now(UTC)
    post_events([native_event(timestamp=now.isoformat())])
    member = sign_in("viewer")

    def explorer(**headers: str) -> str:
        return member.get("/explorer?period=7", headers=headers).content.decode()

    asked = explorer(accept_language="de-DE")
    assert ">0,000225</data>" in asked
    assert 'value="0.000225"' in asked
    assert 'data-marks=",."' in asked
    assert ">0.000225</data>" in explorer()
    with tenant_scope(tenant.id):
        change_tenant(
            name="Acme", currency="USD", country="", locale="fr-FR", actor="olga", now=now
        )
    assert ">0,000225</data>" in explorer()
    refused = member.post("/account/locale", {"locale": "klingon"})
    assert refused.status_code == 422
    assert member.post("/account/locale", {"locale": "en-US"}).status_code == 302
    account = member.get("/account").content.decode()
    assert "Kept: figures are written so" in account
    assert re.search(r'value="en-US" selected', account)
    assert ">0.000225</data>" in explorer(accept_language="de-DE")
    assert member.post("/account/locale", {"locale": "de-DE"}).status_code == 302
    file = member.get("/explorer/export.csv?period=7").content.decode()
    assert "0.000225" in file
    assert "0,000225" not in file
