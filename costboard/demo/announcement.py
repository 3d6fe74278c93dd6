"""demo.json for scripts, and the banner for people."""

import json
import os
from pathlib import Path
from typing import TypedDict

import msgspec

from costboard.demo import company
from costboard.demo.seed import DEMO_KEY, DEMO_PASSWORD, LOGINS, SANDBOX_KEY
from costboard.demo.state import DemoState, write_private


class Login(TypedDict):
    email: str
    password: str
    role: str
    tenant: str


class Announcement(TypedDict):
    """What demo.json holds. It stands in the data folder while the demo is ready to use."""

    url: str
    logins: list[Login]
    api_key: str
    sandbox_api_key: str
    database_url: str
    redis_url: str
    pid: int


def demo_json_path(data_dir: Path) -> Path:
    return data_dir / "demo.json"


def announcement_of(
    state: DemoState, *, url: str, database_url: str, redis_url: str
) -> Announcement:
    logins: list[Login] = [
        {"email": email, "password": DEMO_PASSWORD, "role": role, "tenant": tenant}
        for tenant in (company.TENANT_NAME, company.SANDBOX_NAME)
        for email, role, _ in LOGINS
    ]
    return {
        "url": url,
        "logins": logins,
        "api_key": state.api_keys[DEMO_KEY],
        "sandbox_api_key": state.api_keys[SANDBOX_KEY],
        "database_url": database_url,
        "redis_url": redis_url,
        "pid": os.getpid(),
    }


def write_demo_json(data_dir: Path, announcement: Announcement) -> None:
    content = msgspec.json.format(msgspec.json.encode(announcement), indent=2)
    write_private(demo_json_path(data_dir), content + b"\n")


def remove_demo_json(data_dir: Path) -> None:
    demo_json_path(data_dir).unlink(missing_ok=True)


def remove_stale_demo_json(data_dir: Path) -> None:
    """Remove what a killed demo left; one that runs keeps its own."""
    try:
        pid = json.loads(demo_json_path(data_dir).read_bytes())["pid"]
        os.kill(pid, 0)
    except FileNotFoundError:
        return
    except (ValueError, KeyError, ProcessLookupError):
        remove_demo_json(data_dir)
    except PermissionError:
        pass


def banner(announcement: Announcement, data_dir: Path, *, seconds: float) -> str:
    people = "\n".join(f"    {email:<26} {DEMO_PASSWORD}   {role}" for email, role, _ in LOGINS)
    return f"""
  Costboard is ready after {seconds:.0f} s:  {announcement["url"]}

  Sign in as (demo credentials, known to everybody):
{people}

  For scripts: {demo_json_path(data_dir)}
  Ctrl-C stops everything; the data stays for the next start.
"""
