"""Data folders with servers in them, or in another process."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from costboard.embedded import (
    EmbeddedServices,
)
from tests.embedded.folders import (
    ROOT,
    START_AND_SLEEP,
    StartOwner,
    copy_folder,
    kill_processes_below,
    short_folder,
)


@pytest.fixture(scope="package", autouse=True)
def without_fsync() -> Iterator[None]:
    """For speed: only a loss of power could tell, and no test here causes one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COSTBOARD_EMBEDDED_FSYNC", "off")
        yield


@pytest.fixture(scope="package")
def made_once() -> Iterator[Path]:
    """A data folder that has been through its first start, and all that is done to it below."""
    with short_folder() as path:
        with EmbeddedServices(path):
            pass
        yield path


@pytest.fixture
def data_dir(made_once: Path) -> Iterator[Path]:
    yield made_once
    kill_processes_below(made_once)


@pytest.fixture
def own_data_dir(empty_dir: Path, made_once: Path) -> Path:
    """A copy, for tests that change more than rows."""
    copy_folder(made_once, empty_dir)
    return empty_dir


@pytest.fixture
def empty_dir() -> Iterator[Path]:
    with short_folder() as path:
        yield path


@pytest.fixture
def services(data_dir: Path) -> Iterator[EmbeddedServices]:
    with EmbeddedServices(data_dir) as services:
        yield services


@pytest.fixture
def start_owner() -> Iterator[StartOwner]:
    """Start another process that owns a folder's services, and wait until they are up."""
    owners = []

    def start(
        data_dir: Path, *, code: str = START_AND_SLEEP, wait: bool = True
    ) -> "subprocess.Popen[str]":
        argv = [sys.executable, "-c", code, str(data_dir)]
        owner = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        owners.append(owner)
        assert owner.stdout is not None
        assert not wait or owner.stdout.readline() == "up\n"
        return owner

    yield start
    for owner in owners:
        with owner:
            owner.kill()
