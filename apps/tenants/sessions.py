"""Where a person is signed in. Services and selectors; needs no scope: a person has many tenants.

Django keeps the sessions; a row of ours says whose each is and where it began. A row whose session
is gone says nothing, and is cleared away when its person signs in again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from apps.tenants.core.agents import agent_words
from apps.tenants.models import UserSession

MAX_SESSIONS: Final = 100
MAX_AGENT: Final = 300
# When a session was last used is known to so much: not every request writes.
USE_NOTED_EVERY: Final = timedelta(minutes=5)
MOST_REMEMBERED: Final = 10_000

# Session key -> until when this process leaves its row alone. Another process may write it too.
_noted: dict[str, datetime] = {}


@dataclass(frozen=True, slots=True)
class SessionInfo:
    id: int
    browser: str
    address: str
    began_at: datetime
    used_at: datetime
    used_address: str
    is_this: bool


def begin_session(
    *, user_id: int, session_key: str, address: str, agent: str, now: datetime
) -> None:
    """Remember that a person signed in."""
    own = UserSession.objects.filter(user_id=user_id)
    own.exclude(pk__in=_live(now).filter(user_id=user_id).values("pk")).delete()
    UserSession.objects.update_or_create(
        session_key=session_key,
        defaults={
            "user_id": user_id,
            "address": address[:45],
            "agent": agent.replace("\0", "")[:MAX_AGENT],
            "began_at": now,
            "used_at": now,
            "used_address": address[:45],
        },
    )


def note_use(*, session_key: str, address: str, now: datetime) -> None:
    """Remember when and from where a session was used, once every few minutes."""
    if _noted.get(session_key, now) > now:
        return
    if len(_noted) >= MOST_REMEMBERED:
        _noted.clear()
    _noted[session_key] = now + USE_NOTED_EVERY
    UserSession.objects.filter(
        Q(used_at__isnull=True) | Q(used_at__lte=now - USE_NOTED_EVERY), session_key=session_key
    ).update(used_at=now, used_address=address[:45])


def list_sessions(user_id: int, *, this_key: str, now: datetime) -> list[SessionInfo]:
    """The last used first, at most MAX_SESSIONS."""
    own = _live(now).filter(user_id=user_id).annotate(last=Coalesce("used_at", "began_at"))
    rows = own.order_by("-last", "-id")[:MAX_SESSIONS]
    return [
        SessionInfo(
            row.pk,
            agent_words(row.agent),
            row.address,
            row.began_at,
            row.last,
            row.used_address or row.address,
            is_this=row.session_key == this_key,
        )
        for row in rows
    ]


def end_session(*, user_id: int, session_id: int) -> bool:
    """End one of a person's own; False where it is none of theirs, or over already."""
    row = UserSession.objects.filter(pk=session_id, user_id=user_id).first()
    if row is None:
        return False
    ended, _ = Session.objects.filter(session_key=row.session_key).delete()
    row.delete()
    return bool(ended)


def move_session(*, old_key: str, new_key: str) -> None:
    """The same session under another key, as after a new password."""
    UserSession.objects.filter(session_key=old_key).update(session_key=new_key)


def forget_sessions(user_id: int, *, but: str = "") -> None:
    """Of a person all but one: they have ended."""
    gone = UserSession.objects.filter(user_id=user_id).exclude(session_key=but)
    keys = list(gone.values_list("session_key", flat=True))
    Session.objects.filter(session_key__in=keys).delete()
    gone.delete()


def _live(now: datetime) -> QuerySet[UserSession]:
    live = Session.objects.filter(session_key=OuterRef("session_key"), expire_date__gt=now)
    return UserSession.objects.filter(Exists(live))
