"""Saved views of the explorer: kept, listed, renamed, taken away. The only door to SavedView."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Q

from apps.dashboards.models import SavedView

MAX_VIEWS: Final = 100
MAX_NAME: Final = 80
MAX_QUERY: Final = 4000


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: an admin may change what others share."""

    user_id: int
    is_admin: bool


class SavedViewError(Exception):
    """A view that cannot be kept, renamed or taken away, in words."""


@dataclass(frozen=True, slots=True)
class ViewInfo:
    """`query` is the explorer's address. `can_edit` by the person it was listed for."""

    id: int
    name: str
    query: str
    is_shared: bool
    owner: str
    can_edit: bool


def list_views(person: Person) -> list[ViewInfo]:
    """A person's own views and those shared in the tenant in scope, by name."""
    rows = SavedView.objects.filter(Q(owner_id=person.user_id) | Q(is_shared=True)).order_by(
        "name", "id"
    )
    columns = ("id", "name", "query", "is_shared", "owner__email", "owner_id")
    return [
        ViewInfo(
            id=number,
            name=name,
            query=query,
            is_shared=is_shared,
            owner=email,
            can_edit=owner_id == person.user_id or person.is_admin,
        )
        for number, name, query, is_shared, email, owner_id in rows.values_list(*columns)[
            : 10 * MAX_VIEWS
        ]
    ]


def save_view(person: Person, *, name: str, query: str, is_shared: bool, now: datetime) -> int:
    """Keep an address under a name; one of the person's own by that name is replaced."""
    name = _checked(name)
    if len(query) > MAX_QUERY:
        raise SavedViewError(f"This view has an address of more than {MAX_QUERY} characters.")
    known = SavedView.objects.filter(owner_id=person.user_id, name__iexact=name).first()
    if known is not None:
        known.query, known.is_shared = query, is_shared
        known.save(update_fields=["query", "is_shared"])
        return int(known.pk)
    if SavedView.objects.filter(owner_id=person.user_id).count() >= MAX_VIEWS:
        raise SavedViewError(f"You keep {MAX_VIEWS} views already: take one away first.")
    made = SavedView.objects.create(
        owner_id=person.user_id, name=name, query=query, is_shared=is_shared, created_at=now
    )
    return int(made.pk)


def rename_view(person: Person, view_id: int, *, name: str) -> None:
    view, name = _editable(person, view_id), _checked(name)
    others = SavedView.objects.filter(owner_id=view.owner_id, name__iexact=name)
    if others.exclude(pk=view.pk).exists():
        raise SavedViewError(f"There is a view called “{name}” already.")
    view.name = name
    view.save(update_fields=["name"])


def delete_view(person: Person, view_id: int) -> None:
    _editable(person, view_id).delete()


def _editable(person: Person, view_id: int) -> SavedView:
    """One's own; of others' an admin may edit what is shared."""
    mine = Q(owner_id=person.user_id)
    if person.is_admin:
        mine |= Q(is_shared=True)
    view = SavedView.objects.filter(mine, pk=view_id).first()
    if view is None:
        raise SavedViewError("That view is gone, or not yours to change.")
    return view


def _checked(name: str) -> str:
    name = " ".join(name.replace("\0", "").split())
    if not name or len(name) > MAX_NAME:
        raise SavedViewError(f"Give the view a name of at most {MAX_NAME} characters.")
    return name
