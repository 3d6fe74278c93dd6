"""Collecting static files, when they changed since they were last collected."""

import hashlib
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command


def collect_changed_files() -> bool:
    """Hash and compress static files for the web; returns False when they are as they were."""
    root = Path(settings.STATIC_ROOT)
    mark = root / ".collected"
    fingerprint = fingerprint_of_sources()
    if mark.exists() and mark.read_text() == fingerprint:
        return False
    call_command("collectstatic", interactive=False, clear=root.exists(), verbosity=0)
    mark.write_text(fingerprint)
    return True


def fingerprint_of_sources() -> str:
    """Changes with any file's name, size or time."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            status = Path(storage.path(path)).stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
