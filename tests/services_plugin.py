"""Loaded before Django's settings (see addopts): gives the tests their own real services.

A throwaway folder holds PostgreSQL and Valkey for this run, unless the environment names others.
"""

import os
import shutil
import tempfile
from pathlib import Path

OWN_SERVICES = "DATABASE_URL" not in os.environ
if OWN_SERVICES:
    os.environ["COSTBOARD_DATA_DIR"] = tempfile.mkdtemp(prefix="costboard-tests-")
    (Path(os.environ["COSTBOARD_DATA_DIR"]) / "static").mkdir()


def pytest_unconfigure() -> None:
    if OWN_SERVICES:
        shutil.rmtree(Path(os.environ["COSTBOARD_DATA_DIR"]), ignore_errors=True)
