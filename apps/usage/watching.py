"""Who wants to know of commits at once: apps that stand above usage put themselves on this list.

Budgets count what was spent before the rollups do. A watcher is told twice of each commit: when
ingest has committed it (perhaps: the process may die between), and before the fold takes it off
the queue (always, and again if that fold is undone). So a watcher counts each commit id once.
"""

import logging
from collections.abc import Sequence
from typing import Protocol

logger = logging.getLogger(__name__)


class CommitWatcher(Protocol):
    """Keeps up with a tenant's commits."""

    def before_commit(self, tenant_id: int) -> object:
        """Called before the commit, outside its transaction; what it returns comes back after."""
        ...

    def after_commit(self, tenant_id: int, commit_number: int, token: object) -> None:
        """Durable now. An error here is logged and costs the events nothing: a fold follows."""
        ...

    def before_fold(self, tenant_id: int, commit_numbers: Sequence[int]) -> None:
        """In the fold's transaction and scope, under its lock. An error here undoes the fold."""
        ...


_watchers: list[CommitWatcher] = []


def watch_commits(watcher: CommitWatcher) -> None:
    """Put a watcher on the list; at start-up, once."""
    _watchers.append(watcher)


def before_commit(tenant_id: int) -> list[object]:
    """Each watcher's token."""
    return [watcher.before_commit(tenant_id) for watcher in _watchers]


def after_commit(tenant_id: int, commit_number: int, tokens: Sequence[object]) -> None:
    """Tell the watchers of a commit that is durable."""
    for watcher, token in zip(_watchers, tokens, strict=True):
        try:
            watcher.after_commit(tenant_id, commit_number, token)
        except Exception:
            logger.exception("commit %s of tenant %s: told at its fold", commit_number, tenant_id)


def before_fold(tenant_id: int, commit_numbers: Sequence[int]) -> None:
    """Tell the watchers of commits that are about to leave the queue."""
    for watcher in _watchers:
        watcher.before_fold(tenant_id, commit_numbers)
