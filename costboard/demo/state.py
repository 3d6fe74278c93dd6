"""What the demo must remember between starts: one file in the data folder, its owner's alone."""

import os
from datetime import datetime
from pathlib import Path

import msgspec

from costboard.demo.traffic import TrafficSpec


class History(msgspec.Struct, kw_only=True):
    """Which traffic was generated, and until when it is in the ledger."""

    reference: datetime
    days: int
    events: int
    seed: int
    # Everything before this moment is loaded; None before the first portion.
    loaded_until: datetime | None = None

    @property
    def spec(self) -> TrafficSpec:
        return TrafficSpec(self.reference, self.days, self.events, self.seed)


class DemoState(msgspec.Struct, kw_only=True):
    """Secrets are hashed in the database, so the demo keeps its own keys here to use them again."""

    tenant_id: int
    sandbox_tenant_id: int
    # Router name, "demo" or "sandbox" -> API key.
    api_keys: dict[str, str]
    history: History | None = None


def state_path(data_dir: Path) -> Path:
    return data_dir / "demo-state.json"


def live_mark_path(data_dir: Path) -> Path:
    """Written by the live stream alone: until when its events are acknowledged."""
    return data_dir / "demo-live-until"


def load_state(data_dir: Path) -> DemoState | None:
    """None when there is none, or none that can be read: then the demo is set up anew."""
    try:
        return msgspec.json.decode(state_path(data_dir).read_bytes(), type=DemoState)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def save_state(data_dir: Path, state: DemoState) -> None:
    write_private(state_path(data_dir), msgspec.json.encode(state))


def read_live_mark(data_dir: Path) -> datetime | None:
    try:
        return datetime.fromisoformat(live_mark_path(data_dir).read_text())
    except (FileNotFoundError, ValueError):
        return None


def write_private(path: Path, content: bytes) -> None:
    """Replace a file at once, so that no reader sees half of it; readable by its owner alone."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
