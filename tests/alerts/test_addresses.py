"""No URL reaches inside: every way of writing an inner address that we know of is refused."""

import socket
from ipaddress import ip_address

import pytest

from apps.alerts.apprise_service import check_service_url
from apps.alerts.core.addresses import AddressPolicy, is_global, parse_policy, unwrapped
from apps.alerts.errors import AddressRefusedError, InvalidChannelError
from apps.alerts.targets import WebhookTarget, parse_webhook, recipients_of, shown_target
from apps.alerts.webhook import post_webhook, resolve

NOBODY = AddressPolicy()
INNER = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.127.255.255",
    "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "::ffff:0:0", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1",
    "2002:7f00:1::", "2002:a9fe:a9fe::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "100::1",
]  # fmt: skip
OUTER = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001::200e"]


@pytest.mark.parametrize("address", INNER)
def test_inner_addresses_are_not_global(address: str) -> None:
    assert not NOBODY.allows(ip_address(address))


@pytest.mark.parametrize("address", OUTER)
def test_addresses_of_the_internet_are(address: str) -> None:
    assert NOBODY.allows(ip_address(address))
    assert is_global(unwrapped(ip_address(address)))


@pytest.mark.parametrize("address", INNER)
def test_url_with_an_inner_address_is_refused_before_anything_is_sent(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    for url in (f"https://{host}/", f"https://{host}:8443/hook", f"https://{host}./"):
        with pytest.raises(AddressRefusedError):
            parse_webhook(url, NOBODY)


@pytest.mark.parametrize(
    "url",
    [
        # Numbers that resolvers read as 127.0.0.1.
        "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/",
        "https://017700000001/", "https://127.1/", "https://127.0.1/", "https://0/", "https://1/",
        "https://0x7F.1/", "https://00000177.1/", "https://10.1/", "https://3232235777/",
        # Names of this network.
        "https://localhost/", "https://LOCALHOST/", "https://localhost./",
        "https://sub.localhost/", "https://metadata.google.internal/", "https://printer.local/",
        # Who is the host here?
        "https://example.com@127.0.0.1/", "https://user:pass@example.com/",
        "https://127.0.0.1#@example.com/", "https://example.com\\@127.0.0.1/",
        "https://127.0.0.1\\.example.com/", "https://exa mple.com/", "https://example.com\t/",
        "https://example.com/\r\nX: y", "https://example.com%2f@127.0.0.1/", "https://@example.com",
        "https://example.com:80@127.0.0.1/", "https://[::1/", "https://[fe80::1%25eth0]/",
        "https://[::ffff:7f00:1]/", "https:///path", "https://", "https://.", "https://a..b/",
        "https://ⓛocalhost/", "https://１２７.0.0.1/", "https://example。com/", "https://%31%32/",
        # What is no web address.
        "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://x/", "//x/",
        "example.com", "", "https:example.com", "javascript:alert(1)", "unix:///run/x.sock",
        # Ports.
        "https://example.com:0/", "https://example.com:22/", "https://example.com:25/",
        "https://example.com:99999/", "https://example.com:x/", "https://example.com:-1/",
        "https://example.com/#fragment",
    ],
)  # fmt: skip
def test_tricks_are_refused(url: str) -> None:
    with pytest.raises(AddressRefusedError):
        parse_webhook(url, NOBODY)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://hooks.example.com/a?b=c", ("https", "hooks.example.com", 443, "/a?b=c")),
        ("https://EXAMPLE.com:8443", ("https", "example.com", 8443, "/")),
        ("https://8.8.8.8/", ("https", "8.8.8.8", 443, "/")),
        ("https://[2606:4700:4700::1111]/", ("https", "2606:4700:4700::1111", 443, "/")),
        ("https://xn--bcher-kva.example/", ("https", "xn--bcher-kva.example", 443, "/")),
    ],
)
def test_addresses_of_the_web_are_taken(url: str, parts: tuple[str, str, int, str]) -> None:
    target = parse_webhook(url, NOBODY)
    assert (target.scheme, target.host, target.port, target.path) == parts


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "2130706433", "127.1"])
def test_name_that_resolves_to_the_inside_is_refused_when_it_is_resolved(host: str) -> None:
    """What parsing lets through, a public name with an inner address, fails here."""
    with pytest.raises(AddressRefusedError):
        resolve(WebhookTarget("https", host, 443, "/"), NOBODY)


def test_host_of_this_machine_is_not_sent_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        url = f"https://127.0.0.1:{port}/"
        result = post_webhook(url, body=b"{}", headers={}, policy=NOBODY)
        assert result.outcome == "failed"
        with pytest.raises(TimeoutError):
            server.accept()


def test_operator_allows_networks_and_hosts() -> None:
    policy = parse_policy("10.0.0.0/8, 127.0.0.1, fd00::/8, chat.corp.internal")
    for url in (
        "http://10.1.2.3:8065/hook",
        "https://127.0.0.1:25/",
        "https://[fd00::7]/",
        "http://chat.corp.internal/",
    ):
        parse_webhook(url, policy)
    for url in ("http://192.168.0.1/", "https://127.0.0.2/", "http://example.com/"):
        with pytest.raises(AddressRefusedError):
            parse_webhook(url, policy)


@pytest.mark.parametrize(
    "text", ["10.0.0.1/8", "nonsense!", "https://x", "2130706433", "300.1.1.1"]
)
def test_operators_mistakes_are_not_passed_over(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_policy(text)


SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
TEAMS_PATH = "643e69f83c8944/643e69f83c8944438d68119179a10a64"


@pytest.mark.parametrize(
    "url",
    [
        f"{SLACK}/#spend",
        "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "tgram://123456789:AAF12345678910-abcdefghijklmnopqr/12315544/",
        "pagerduty://A1BRTD4JD@TIiajkdnlazkcOXrIdevi7F?region=eu",
        f"workflows://prod-1.westus.logic.azure.com:443/{TEAMS_PATH}/",
    ],
)
def test_services_with_a_host_of_their_own_are_taken(url: str) -> None:
    check_service_url(url, NOBODY)


@pytest.mark.parametrize(
    "url",
    [
        "json://127.0.0.1/", "jsons://example.com/", "xml://10.0.0.1/", "form://example.com/",
        "mailto://user:pass@example.com", "syslog://", "dbus://", "mqtt://10.0.0.1/t",
        "file:///etc/passwd", "apprise://10.0.0.1/token", "ntfy://127.0.0.1/topic",
        "matrix://u:p@10.0.0.1/#room", "https://example.com/services/x", "windows://", "gnome://",
        "mmost://127.0.0.1:8065/3ccdd113474722377935511fc85d3dd4",
        "gotify://example.com/token", "smpp://u:p@10.0.0.1:25/1/2",
        # Parameters that change where it goes, or what of this machine goes along.
        f"{SLACK}/?redirect=yes", f"{SLACK}/?verify=no", f"{SLACK}/?retry=9", f"{SLACK}/?tz=UTC",
        f"{SLACK}/#spend?redirect=yes", f"{SLACK}/?to=a;redirect=yes", f"{SLACK}/?redirec%74=yes",
        f"workflows://prod-1.westus.logic.azure.com/{TEAMS_PATH}/?template=/etc/passwd",
        # Hosts that are not what they look like.
        f"workflows://127.0.0.1/{TEAMS_PATH}/",
        f"workflows://evil.example%23.logic.azure.com/{TEAMS_PATH}/",
        f"workflows://evil.example%2f.logic.azure.com/{TEAMS_PATH}/",
        f"workflows://x.logic.azure.com@10.0.0.1/{TEAMS_PATH}/",
        f"workflows://x.logic.azure.com.evil.example/{TEAMS_PATH}/",
        f"workflows://10.0.0.1\\.logic.azure.com/{TEAMS_PATH}/",
        # Two recipients: half a success could not be told from a failure.
        f"{SLACK}/#spend/#finance",
        "slack://nonsense", "slack://", "",
    ],
)  # fmt: skip
def test_other_services_and_tricks_are_refused(url: str) -> None:
    with pytest.raises(InvalidChannelError):
        check_service_url(url, NOBODY)


def test_service_on_own_hosts_needs_the_operators_word() -> None:
    url = "mmosts://chat.corp.internal/3ccdd113474722377935511fc85d3dd4"
    with pytest.raises(AddressRefusedError):
        check_service_url(url, NOBODY)
    check_service_url(url, parse_policy("chat.corp.internal"))


@pytest.mark.parametrize("text", ["", "nobody", "a@b", "a@b.example, <x>", "a@b.example\nBcc"])
def test_what_is_no_list_of_addresses_is_refused(text: str) -> None:
    with pytest.raises(InvalidChannelError):
        recipients_of(text)


def test_recipients_are_taken_once_each() -> None:
    assert recipients_of("a@x.example, b@x.example; a@x.example") == ["a@x.example", "b@x.example"]


@pytest.mark.parametrize(
    ("kind", "target", "shown"),
    [
        ("webhook", "https://h.example:8443/secret?k=v", "https://h.example:8443/…"),
        ("apprise", f"{SLACK}/#spend", "slack://…"),
        ("email", "a@x.example", "a@x.example"),
    ],
)
def test_what_is_shown_of_a_target_reaches_nobody(kind: str, target: str, shown: str) -> None:
    assert shown_target(kind, target) == shown
