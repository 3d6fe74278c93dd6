"""Which budgets a request counts against."""

from hypothesis import given
from hypothesis import strategies as st

from apps.budgets.core.scopes import Attributes, Scope, ScopeIndex

PARENTS = {1: None, 2: 1, 3: 2, 4: 1}


def small(*values: object) -> st.SearchStrategy[object]:
    return st.sampled_from([None, *values])


FIELDS = {
    "department_id": small(1, 2, 3, 4),
    "customer_id": small(7, 8),
    "project": small("a", "b"),
    "api_key_id": small(1),
    "provider": small("openai"),
    "model": small("m1", "m2"),
    "backend_id": small(5),
    "kind": small("cloud", "local"),
}


def covers(scope: Scope, attributes: Attributes) -> bool:
    """The definition, field by field."""
    lines = {1: {1}, 2: {2, 1}, 3: {3, 2, 1}, 4: {4, 1}, None: set()}
    if scope.department_id is not None:
        if scope.department_id not in lines[attributes.department_id]:
            return False
        scope = scope._replace(department_id=None)
    pairs = zip(scope, attributes, strict=True)
    return all(wanted is None or wanted == value for wanted, value in pairs)


@given(
    scopes=st.lists(st.builds(Scope, **FIELDS), max_size=12),  # type: ignore[arg-type]
    attributes=st.builds(Attributes, **FIELDS),  # type: ignore[arg-type]
)
def test_the_index_finds_what_the_definition_covers(
    scopes: list[Scope], attributes: Attributes
) -> None:
    index = ScopeIndex(list(zip(scopes, range(len(scopes)), strict=True)), PARENTS)
    expected = [n for n, scope in enumerate(scopes) if covers(scope, attributes)]
    assert sorted(index.matching(attributes)) == expected


def test_a_parent_contains_its_children() -> None:
    index = ScopeIndex([(Scope(department_id=1), "top"), (Scope(department_id=2), "mid")], PARENTS)
    assert sorted(index.matching(Attributes(department_id=3))) == ["mid", "top"]
    assert index.matching(Attributes(department_id=4)) == ["top"]
    assert index.matching(Attributes()) == []
