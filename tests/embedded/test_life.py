"""The services start, stop and tell what is wrong; the application's role stays behind walls."""

import os
import threading
from pathlib import Path

import psycopg
import pytest

from costboard import processes
from costboard.embedded import (
    EmbeddedServices,
    EmbeddedServicesError,
)
from tests.embedded.folders import (
    is_kept,
    processes_below,
    read_version,
    server_pids,
    wait_until,
    write_everywhere,
)


def test_a_first_start_makes_the_database_and_a_restart_keeps_what_was_written(
    empty_dir: Path,
) -> None:
    with EmbeddedServices(empty_dir, durable=True) as services:
        word = write_everywhere(services.urls)
    with EmbeddedServices(empty_dir, durable=True) as services:
        assert is_kept(services.urls, word)
        with psycopg.connect(services.urls.database_url) as connection:
            settings = "fsync", "full_page_writes", "synchronous_commit", "jit", "TimeZone"
            shown = [connection.execute(f"SHOW {name}").fetchone() for name in settings]
            assert shown == [("on",), ("on",), ("on",), ("off",), ("UTC",)]
            # No dictionary order, but every language's letters.
            query = "SELECT 'Z' < 'a', upper('straße é') = 'STRASSE É' OR upper('é') = 'É'"
            assert connection.execute(query).fetchone() == (True, True)


def test_stop_leaves_no_process_and_no_socket(services: EmbeddedServices) -> None:
    assert len(processes_below(services.data_dir)) > 2
    with psycopg.connect(services.urls.database_url):  # an open connection does not hold it up
        services.stop()
    assert processes_below(services.data_dir) == []
    assert not (services.data_dir / "run").exists()
    services.stop()


def test_servers_are_out_of_reach_of_the_terminal(services: EmbeddedServices) -> None:
    for pid in server_pids(services.data_dir).values():
        assert os.getsid(pid) == pid != os.getsid(0)


def test_starting_outside_the_main_thread_is_refused_and_leaves_the_folder_free(
    data_dir: Path,
) -> None:
    errors: list[BaseException] = []

    def start() -> None:
        try:
            EmbeddedServices(data_dir).start()
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])
    with EmbeddedServices(data_dir) as services:
        assert read_version(services)


def test_a_server_that_cannot_start_is_an_error_with_the_end_of_its_log(own_data_dir: Path) -> None:
    (own_data_dir / "postgres" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(EmbeddedServicesError, match="no_such_setting"):
        EmbeddedServices(own_data_dir).start()
    assert processes_below(own_data_dir) == []


def test_logs_stay_bounded(services: EmbeddedServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 10_000)
    log = services.data_dir / "log" / "postgres.log"
    with psycopg.connect(services.urls.database_url, autocommit=True) as connection:
        for _ in range(20):
            connection.execute("DO $$ BEGIN RAISE LOG '%', repeat('x', 3000); END $$")
            services.revive()
            assert log.stat().st_size < 20_000
        # The server goes on where the file now ends, and leaves no hole.
        connection.execute("DO $$ BEGIN RAISE LOG 'the last line'; END $$")
    wait_until(lambda: "the last line" in log.read_text())
    assert "\0" not in log.read_text()
    assert log.with_name("postgres.log.1").exists()


def test_the_applications_role_cannot_pass_row_level_security(
    services: EmbeddedServices,
) -> None:
    with psycopg.connect(services.urls.database_owner_url) as owner:
        owner.execute("CREATE TABLE walled (secret text)")
        owner.execute("INSERT INTO walled VALUES ('theirs')")
        owner.execute("ALTER TABLE walled ENABLE ROW LEVEL SECURITY")
        owner.execute("GRANT SELECT ON walled TO costboard_app")
    with psycopg.connect(services.urls.database_url, autocommit=True) as app:
        assert app.execute("SELECT count(*) FROM walled").fetchone() == (0,)
        for attempt in (
            "ALTER ROLE costboard_app BYPASSRLS",
            "ALTER TABLE walled DISABLE ROW LEVEL SECURITY",
            "SET ROLE costboard_owner",
            "CREATE DATABASE mine",
            "CREATE TABLE public.mine ()",
            "COPY walled TO PROGRAM 'cat'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(attempt)
        app.execute("SET row_security = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("SELECT * FROM walled")


def test_a_start_takes_back_powers_given_to_the_applications_role(data_dir: Path) -> None:
    with (
        EmbeddedServices(data_dir) as services,
        psycopg.connect(services.urls.database_owner_url) as owner,
    ):
        owner.execute("ALTER ROLE costboard_app SUPERUSER BYPASSRLS CREATEDB")
    with (
        EmbeddedServices(data_dir) as services,
        psycopg.connect(services.urls.database_url) as app,
    ):
        powers = "SELECT rolsuper, rolbypassrls, rolcreatedb FROM pg_roles WHERE rolname = %s"
        assert app.execute(powers, ["costboard_app"]).fetchone() == (False, False, False)
