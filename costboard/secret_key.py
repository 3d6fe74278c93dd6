"""The key that signs sessions, when the operator gave none."""

import os
import secrets
from pathlib import Path


def load_or_make_secret_key(data_dir: Path) -> str:
    """Return the key kept in `data_dir`, making it on first use; readable by its owner alone."""
    path = data_dir / "secret_key"
    try:
        return path.read_text()
    except FileNotFoundError:
        pass
    data_dir.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(secrets.token_urlsafe(50))
    # link() fails if another process was first: then its key is the one to use.
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text()
