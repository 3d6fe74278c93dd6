"""What ingest writes as arrays is what PostgreSQL reads."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.usage.ledger import _array

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


def read_back(values: list[Any], kind: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT %s::{kind}[]", [_array(values)])
        return list(cursor.fetchone()[0])


@pytest.mark.usefixtures("django_db_setup")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.none() | TEXTS, min_size=1).filter(any))
def test_texts_survive_whatever_they_hold(django_db_blocker: Any, values: list[Any]) -> None:
    with django_db_blocker.unblock():
        assert read_back(values, "text") == values


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", ["NULL", "null", "", "{a,b}", 'q"\\', "\\n", "a\nb\t", None, "é'"]),
        ("bigint", [0, -1, 9_223_372_036_854_775_807, None]),
        ("numeric", [Decimal(10) ** 30 + 1, None, Decimal("1E-24"), Decimal("0.10")]),
        ("boolean", [True, None, False]),
        ("real", [0.5, None]),
        ("timestamptz", [datetime(2026, 11, 23, 1, 2, 3, 456789, UTC)]),
    ],
)
def test_every_kind_of_column_survives(kind: str, values: list[Any]) -> None:
    assert read_back(values, kind) == values


def test_a_column_without_a_value_is_not_sent() -> None:
    assert _array([None, None]) is None
    assert _array([]) is None
