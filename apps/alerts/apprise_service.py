"""Slack and other services, through apprise. The only module that imports it, and only when needed.

apprise resolves names and connects by itself, so that no address can be pinned for it. Therefore a
service is allowed if its host is fixed in apprise, or if the operator vouches for the host; and a
URL may carry only parameters that change nothing about where and how the message goes.
"""

import logging
import re
import threading
from functools import cache
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

from apps.alerts.core.addresses import HOST_NAME, AddressPolicy, literal_address
from apps.alerts.core.facts import Severity
from apps.alerts.core.messages import Message
from apps.alerts.core.retries import SendResult, outcome_of_status
from apps.alerts.errors import AddressRefusedError, InvalidChannelError

# Each sends to hosts that are written in apprise, whatever stands in the URL.
FIXED_HOST: Final = {
    "slack": "Slack",
    "discord": "Discord",
    "tgram": "Telegram",
    "pagerduty": "PagerDuty",
    "opsgenie": "Opsgenie",
    "splunk": "Splunk On-Call",
    "victorops": "Splunk On-Call",
    "gchat": "Google Chat",
    "wxteams": "Webex",
    "pover": "Pushover",
    "pbul": "Pushbullet",
}
# The host is in the URL, and must be one of these.
TEAMS: Final = ("workflows", "workflow")
TEAMS_HOSTS: Final = (".logic.azure.com", ".api.powerplatform.com")
# The host is in the URL, and the operator must have named it.
OWN_HOST: Final = ("mmosts", "mmost", "rockets", "rocket", "gotifys", "gotify")
# The addresses that the services themselves hand out.
NATIVE: Final = {
    "hooks.slack.com": "/services/",
    "discord.com": "/api/webhooks/",
    "chat.googleapis.com": "/v1/spaces/",
}
PARAMETERS: Final = frozenset(
    {
        "api-version", "channel", "component", "footer", "key", "pa", "priority", "region", "route",
        "sig", "source", "sp", "sv", "team", "thread", "to", "token", "ver",
    }
)  # fmt: skip
SERVICE_LIMIT_S: Final = 30.0
_logged = re.compile(r"error=(\d{3})")
NOTIFY_TYPES: Final = {
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.CRITICAL: "failure",
}


def check_service_url(url: str, policy: AddressPolicy) -> None:
    """Raise AddressRefusedError or InvalidChannelError for a URL that may not be used."""
    _check_where(url, policy)
    plugin = _plugin(url)
    if plugin is None:
        raise InvalidChannelError(
            f"this is not how a {urlsplit(url).scheme}:// URL looks", field="target"
        )
    if len(plugin) != 1:
        raise InvalidChannelError(
            f"the URL names {len(plugin)} recipients; make a channel for each", field="target"
        )


def send_to_service(url: str, message: Message, *, policy: AddressPolicy) -> SendResult:
    """One attempt. apprise says yes or no; why, it says in its log alone, which is read for the
    status. A service that took the message and gave no answer in time is not asked again."""
    try:
        check_service_url(url, policy)
    except InvalidChannelError as error:
        return SendResult("failed", f"not sent: {error}")
    plugin = _plugin(url)
    listener = _Listener()
    logger = logging.getLogger("apprise")
    logger.addHandler(listener)
    try:
        taken = plugin.notify(
            title=message.subject,
            body=message.text,
            notify_type=_apprise().NotifyType(NOTIFY_TYPES[message.severity]),
        )
    finally:
        logger.removeHandler(listener)
    return SendResult("sent") if taken else listener.result()


class _Listener(logging.Handler):
    """What apprise logs in this thread while it sends. Its words hold tokens and are not kept."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.thread_id = threading.get_ident()
        self.status: int | None = None
        self.timed_out = False

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != self.thread_id:
            return
        words = record.getMessage()
        self.timed_out |= "Read timed out" in words
        if found := _logged.search(words):
            self.status = int(found[1])

    def result(self) -> SendResult:
        if self.timed_out:
            return SendResult("unknown", "the service took it and did not answer in time")
        if self.status is None:
            return SendResult("retry", "the service could not be reached, or refused it")
        # A refusal in the body of a 200 is no success.
        outcome = "failed" if self.status < 300 else outcome_of_status(self.status)
        return SendResult(outcome, f"the service answered {self.status}", self.status)


def _check_where(url: str, policy: AddressPolicy) -> None:
    if not re.fullmatch(r"[\x21-\x7e]+", url) or "\\" in url:
        raise _refused("a URL has neither spaces nor control signs nor backslashes")
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        raise _refused("this is not a URL") from None
    scheme = parts.scheme
    _check_parameters(url)
    if scheme in FIXED_HOST:
        return
    if scheme == "https" and parts.path.startswith(NATIVE.get(parts.netloc.lower(), "\0")):
        return
    if scheme not in (*TEAMS, *OWN_HOST):
        raise _refused(
            f"{scheme[:20]}:// is not one of {', '.join((*FIXED_HOST, TEAMS[0]))};"
            " for others use a webhook"
        )
    _check_host(url, scheme, host, policy)


def _check_parameters(url: str) -> None:
    """Whatever stands behind a "?", as apprise reads it: behind a "#" too, and split at ";"."""
    for parameter in re.split(r"[?&;]", url)[1:]:
        name = parameter.partition("=")[0]
        if name not in PARAMETERS:
            raise _refused(f"the parameter {name[:40]!r} is not allowed; leave it out")


def _check_host(url: str, scheme: str, host: str, policy: AddressPolicy) -> None:
    """The host as the standard library reads it, and as apprise does: both must be allowed."""
    plugin = _plugin(url)
    read_by_apprise = str(getattr(plugin, "host", "") or "").lower().rstrip(".")
    for name in (host, read_by_apprise) if plugin is not None else (host,):
        # An escaped "#" or "/" could make another host of it.
        is_plain = HOST_NAME.fullmatch(name) or literal_address(name)
        if is_plain and (policy.names(name) or (scheme in TEAMS and name.endswith(TEAMS_HOSTS))):
            continue
        raise _refused(
            f"{name[:80]!r} is not a host of Microsoft Teams workflows"
            if scheme in TEAMS
            else f"the operator has not allowed the host {name[:80]!r} (COSTBOARD_ALERT_ALLOW)"
        )


def _plugin(url: str) -> Any:
    """apprise's object for the URL, None when it cannot read it."""
    apprise = _apprise()
    asset = apprise.AppriseAsset(
        app_id="Costboard",
        app_desc="Costboard",
        http_redirects=False,
        async_mode=False,
        service_timeout=SERVICE_LIMIT_S,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    return apprise.Apprise.instantiate(url, asset=asset)


@cache
def _apprise() -> ModuleType:
    import apprise

    # Debug lines carry whole URLs with their tokens: apprise's are listened to, none is written.
    logging.getLogger("urllib3").setLevel(logging.INFO)
    logger = logging.getLogger("apprise")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    return apprise


def _refused(why: str) -> AddressRefusedError:
    return AddressRefusedError(why, field="target")
