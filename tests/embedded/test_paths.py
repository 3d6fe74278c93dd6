"""Any data folder will do, and every client finds its sockets."""

import os
import sys
from pathlib import Path

import kombu
import pytest

from costboard import embedded
from costboard.embedded import (
    EmbeddedServices,
    EmbeddedServicesError,
    default_data_dir,
    service_urls,
)
from tests.embedded.folders import (
    copy_folder,
    read_version,
    write_everywhere,
)


def test_a_path_too_long_for_a_socket_gets_a_private_folder_elsewhere(empty_dir: Path) -> None:
    long = empty_dir / ("x" * 90)
    with EmbeddedServices(long) as services:
        folder = embedded._socket_dir(long)
        assert folder.parent == Path("/tmp")
        assert folder.stat().st_mode & 0o777 == 0o700
        write_everywhere(services.urls)
    assert not folder.exists()


@pytest.mark.parametrize("trap", ["open to others", "link"])
def test_a_socket_folder_that_is_not_private_is_refused(empty_dir: Path, trap: str) -> None:
    long = empty_dir / ("x" * 90)
    folder = embedded._socket_dir(long)
    if trap == "link":
        folder.symlink_to(empty_dir)
    else:
        folder.mkdir()
        folder.chmod(0o755)
    try:
        with pytest.raises(EmbeddedServicesError, match="private"):
            EmbeddedServices(long).start()
    finally:
        folder.unlink() if trap == "link" else folder.rmdir()


@pytest.mark.parametrize("name", ["a b", '50%20 off\'s "x"', "é, ü"])
def test_every_client_understands_the_urls_of_an_awkward_path(
    empty_dir: Path, made_once: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    awkward = empty_dir / name
    awkward.mkdir()
    copy_folder(made_once, awkward)
    with EmbeddedServices(awkward) as services:
        write_everywhere(services.urls)
        with kombu.Connection(services.urls.celery_broker_url) as broker:
            queue = broker.SimpleQueue("q")
            queue.put("hello")
            assert queue.get(timeout=5).payload == "hello"
            queue.close()
        assert read_version(services)


def test_the_urls_are_the_same_through_a_link_and_from_any_folder(
    empty_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_dir / "link").symlink_to("there")
    (empty_dir / "there").mkdir()
    monkeypatch.chdir(empty_dir)
    urls = {service_urls(p) for p in (Path("link"), Path("there"), empty_dir / "there")}
    assert len(urls) == 1
    start = f"postgresql://costboard_app@/costboard?host=%2Ftmp%2F{empty_dir.name}%2Fthere%2Frun"
    assert urls.pop().database_url.startswith(start)


def test_the_data_folder_is_the_one_named_or_the_users_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COSTBOARD_DATA_DIR", "/some/where")
    assert default_data_dir() == Path("/some/where")
    monkeypatch.delenv("COSTBOARD_DATA_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", "/home/u/data")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "platform", "linux")
    assert default_data_dir() == Path("/home/u/data/costboard")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/costboard")
