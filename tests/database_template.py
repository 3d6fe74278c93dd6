"""PostgreSQL's folder with the schema and the catalogue in it: made once, copied for each run.

Migrating from nothing takes ten seconds of CPU. The template's name is a digest of what goes into
it, so a changed migration makes another; a run migrates its copy too, and finds nothing to do.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from costboard.servers import make_private_folder

ROOT = Path(__file__).resolve().parent.parent
MADE_FROM = (
    "apps/*/migrations/*.py",
    "apps/tenants/rls.py",
    "apps/tenants/database_roles.py",
    "costboard/servers.py",
    "constraints.txt",
)
PREFIX = "costboard-tests-template-"
KEPT_UNUSED_S = 86_400

MAKE = """
import django
django.setup()
from django.core.management import call_command
from costboard.embedded import EmbeddedServices, default_data_dir
with EmbeddedServices(default_data_dir()):
    call_command("migrate", verbosity=0)
    call_command("sync_catalogue", verbosity=0)
"""


def copy_template(data_dir: Path) -> None:
    """Put PostgreSQL's folder into `data_dir`; the first to ask makes the template."""
    template = Path(tempfile.gettempdir()) / f"{PREFIX}{_digest()}"
    make_private_folder(template, None)
    with _lock(template):
        if not (template / "made").exists():
            _make(template)
        os.utime(template)
        _copy(template / "postgres", data_dir)
    _forget_unused()


def _digest() -> str:
    digest = hashlib.sha256(str(os.geteuid()).encode())
    for pattern in MADE_FROM:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(template: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="costboard-tests-") as folder:
        environment = os.environ | {
            "COSTBOARD_DATA_DIR": folder,
            "DJANGO_SETTINGS_MODULE": "costboard.settings",
        }
        subprocess.run([sys.executable, "-c", MAKE], cwd=ROOT, env=environment, check=True)
        shutil.rmtree(template / "postgres", ignore_errors=True)
        _copy(Path(folder) / "postgres", template)
    (template / "made").touch()


def _copy(folder: Path, into: Path) -> None:
    # Not shutil.copytree: it would not keep the owner, who is another account where we are root.
    subprocess.run(["cp", "-a", str(folder), str(into)], check=True)


def _forget_unused() -> None:
    for template in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if time.time() - template.lstat().st_mtime > KEPT_UNUSED_S:
            shutil.rmtree(template, ignore_errors=True)
