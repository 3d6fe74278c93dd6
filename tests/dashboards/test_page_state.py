from apps.dashboards.page_state import filter_chips, period_chips, read_state


def test_the_page_at_rest_has_a_bare_address() -> None:
    assert read_state({}).query() == ""


def test_an_address_reads_back_as_itself() -> None:
    query = {"period": "30d", "customer": "a&b", "department": ""}
    state = read_state(query)
    assert state.filters == {"customer": "a&b", "department": None}
    assert state.query() == "?period=30d&customer=a%26b&department="
    assert state.spend_filters == {"customer": ("a&b",), "department": (None,)}


def test_what_an_address_gets_wrong_falls_back() -> None:
    state = read_state({"period": "century", "customer": "x" * 500, "model": "a\x00b"})
    assert (state.period, dict(state.filters)) == ("month", {})


def test_choosing_a_period_keeps_the_filters() -> None:
    chips = period_chips("/models", read_state({"model": "gpt-5"}))
    assert [chip.is_on for chip in chips] == [True, False, False, False, False]
    assert chips[3].href == "/models?period=30d&model=gpt-5"


def test_a_filter_chip_takes_itself_away_and_leaves_the_rest() -> None:
    state = read_state({"period": "7d", "customer": "acme", "department": ""})
    customer, department = filter_chips("/models", state, {"customer": "Acme Inc"})
    assert (customer.label, customer.href) == (
        "Customer: Acme Inc",
        "/models?period=7d&department=",
    )
    assert department.label == "Department: not attributed"
