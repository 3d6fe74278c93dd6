"""The alerts pages: who is told of what, when, and how that goes; adding and changing channels."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from apps.alerts.core.facts import KIND_WORDS, Severity
from apps.alerts.errors import AlertsError, ChannelNotFoundError
from apps.alerts.selectors import ChannelInfo, get_channel, list_channels
from apps.alerts.services import (
    ChannelSettings,
    add_channel,
    change_channel,
    remove_channel,
    rotate_secret,
    send_test,
    set_channel_enabled,
)
from apps.dashboards.alerts import words
from apps.dashboards.hardware.forms import Field, Form, has_errors, read_form, with_error
from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.typed_numbers import as_typed
from apps.tenants.core.access import role_allows_changes

MAX_TARGET: Final = 2000
MAX_ID: Final = 2**63 - 1
TARGET_LABELS: Final = {
    "webhook": ("URL", "https://hooks.example.com/costboard"),
    "email": ("Addresses", "finance@example.com, ops@example.com"),
    "apprise": ("Service URL", "slack://TokenA/TokenB/TokenC/#spend"),
}


@dataclass(frozen=True, slots=True)
class ChannelLine:
    """A row of the table."""

    info: ChannelInfo
    kind: str
    takes: str
    when: str
    last_sent: str
    overlap_ends: str


@page
def alerts(request: PageRequest) -> HttpResponse:
    return _show(request)


def new_channel(request: HttpRequest, kind: str) -> HttpResponse:
    """The form of a new channel, and making it."""
    return page(lambda inside: _new_channel(inside, kind))(request)


def channel(request: HttpRequest, channel_id: int) -> HttpResponse:
    """The form of a channel, and changing it."""
    return page(lambda inside: _channel(inside, channel_id))(request)


def _new_channel(request: PageRequest, kind: str) -> HttpResponse:
    if kind not in TARGET_LABELS:
        raise Http404
    if refusal := _refused_viewer(request):
        return refusal
    if request.method != "POST":
        return _show_form(request, kind, _form(ChannelSettings(name="")))
    form, settings = _read(request)
    if settings is None:
        return _show_form(request, kind, form, status=422)
    try:
        made = add_channel(
            settings,
            kind=kind,
            target=_target(request),
            actor=request.user.get_username(),
            now=request.now,
        )
    except AlertsError as error:
        return _show_form(request, kind, form, error=error, status=422)
    said = f"“{settings.name}” is added. Send it a test to see that it works."
    if made.secret:
        return _show(request, said=said, secret=made.secret, secret_of=settings.name)
    return _show(request, said=said)


def _channel(request: PageRequest, channel_id: int) -> HttpResponse:
    if refusal := _refused_viewer(request):
        return refusal
    try:
        info = get_channel(min(channel_id, MAX_ID), now=request.now)
    except ChannelNotFoundError as error:
        raise Http404 from error
    if request.method != "POST":
        return _show_form(request, info.kind, _form(info.settings), info=info)
    form, settings = _read(request)
    if settings is None:
        return _show_form(request, info.kind, form, info=info, status=422)
    try:
        change_channel(
            channel_id,
            replace(settings, enabled=info.settings.enabled),
            target=_target(request),
            actor=request.user.get_username(),
            now=request.now,
        )
    except AlertsError as error:
        return _show_form(request, info.kind, form, info=info, error=error, status=422)
    return HttpResponseRedirect(reverse("alerts"))


@changing
def test_channel(request: PageRequest) -> HttpResponse:
    def test(channel_id: int) -> dict[str, Any]:
        send_test(channel_id=channel_id, actor=request.user.get_username(), now=request.now)
        name = get_channel(channel_id, now=request.now).settings.name
        return {"said": f"A test is on its way to “{name}”; the log says how it went."}

    return _act(request, test)


@changing
def switch_channel(request: PageRequest) -> HttpResponse:
    def switch(channel_id: int) -> dict[str, Any]:
        on = request.POST.get("to") == "on"
        actor = request.user.get_username()
        set_channel_enabled(channel_id, enabled=on, actor=actor, now=request.now)
        return {"said": "It is switched on." if on else "It is switched off and told nothing."}

    return _act(request, switch)


@changing
def rotate_channel(request: PageRequest) -> HttpResponse:
    def rotate(channel_id: int) -> dict[str, Any]:
        actor = request.user.get_username()
        secret = rotate_secret(channel_id, actor=actor, now=request.now)
        name = get_channel(channel_id, now=request.now).settings.name
        return {"secret": secret, "secret_of": name, "rotated": True}

    return _act(request, rotate)


@changing
def remove_one(request: PageRequest) -> HttpResponse:
    def remove(channel_id: int) -> dict[str, Any]:
        remove_channel(channel_id, actor=request.user.get_username(), now=request.now)
        return {"said": "The channel is removed; what it was told stays in the log."}

    return _act(request, remove)


def _act(request: PageRequest, change: Callable[[int], dict[str, Any]]) -> HttpResponse:
    number = request.POST.get("channel_id", "")
    is_number = number.isascii() and number.isdigit() and len(number) < 19
    try:
        return _show(request, **change(int(number) if is_number else 0))
    except AlertsError as error:
        return _show(request, status=422, refusal=_sentence(str(error)))


def _show(request: PageRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    channels = list_channels(now=request.now)
    is_part = request.htmx and not request.htmx.boosted and request.htmx.target == "alerts"
    context = {
        "tenant": request.tenant,
        "answer": words.answer(channels),
        "lines": [_line(info, request) for info in channels],
        "kinds": list(words.CHANNEL_KINDS.items()),
        "is_part": is_part,
    }
    name = "alerts_body" if is_part else "alerts"
    return render(request, f"dashboards/{name}.html", context | more, status=status)


def _line(info: ChannelInfo, request: PageRequest) -> ChannelLine:
    zone = request.tenant.zone
    ends_at, last = info.previous_secret_until, info.last_sent_at
    return ChannelLine(
        info=info,
        kind=words.CHANNEL_KINDS[info.kind],
        takes=words.takes(info.settings),
        when=words.when(info.settings),
        last_sent="" if last is None else words.moment_words(last, zone),
        overlap_ends="" if ends_at is None else words.moment_words(ends_at, zone),
    )


def _form(settings: ChannelSettings) -> Form:
    """`fields`: name and what it takes; `more`: when, and how much."""
    amount = settings.min_amount_usd
    begins, ends = settings.quiet_from, settings.quiet_until
    return Form(
        "channel",
        "",
        "",
        (
            Field("name", "Name", value=settings.name, hint="who is told: finance, on call"),
            Field(
                "min_severity",
                "How loud",
                "select",
                choices=words.SEVERITY_CHOICES,
                value=str(settings.min_severity),
            ),
            Field(
                "min_amount_usd",
                "Worth at least",
                "decimal",
                "USD",
                "what has no amount is told too",
                "" if amount is None else as_typed(amount),
                required=False,
            ),
            _time("quiet_from", "Quiet from", "" if begins is None else f"{begins:%H:%M}"),
            _time("quiet_until", "Quiet until", "" if ends is None else f"{ends:%H:%M}"),
            Field(
                "time_zone",
                "By the clocks of",
                value=settings.time_zone,
                hint="the organisation’s when left out",
                required=False,
            ),
        ),
        (
            Field(
                "digest",
                "They come",
                "select",
                choices=words.DIGEST_CHOICES,
                value=settings.digest,
            ),
            Field(
                "digest_hour", "A day’s list at", "integer", "h", value=f"{settings.digest_hour}"
            ),
            Field(
                "max_per_hour",
                "At most",
                "integer",
                "an hour",
                "the rest comes in one list",
                f"{settings.max_per_hour}",
            ),
            Field("max_per_day", "and", "integer", "a day", value=f"{settings.max_per_day}"),
        ),
    )


def _time(name: str, label: str, value: str) -> Field:
    return Field(name, label, "time", value=value, required=False)


def _read(request: PageRequest) -> tuple[Form, ChannelSettings | None]:
    """The form as typed, and the settings where all of it could be read."""
    values, form = read_form(_form(ChannelSettings(name="")), request.POST)
    if has_errors(form):
        return form, None
    settings = ChannelSettings(
        name=values["name"],
        kinds=tuple(request.POST.getlist("kinds")),
        min_severity=Severity(values["min_severity"]),
        min_amount_usd=values["min_amount_usd"],
        quiet_from=values["quiet_from"],
        quiet_until=values["quiet_until"],
        time_zone=values["time_zone"] or "",
        critical_passes="critical_passes" in request.POST,
        digest=values["digest"],
        digest_hour=values["digest_hour"],
        max_per_hour=values["max_per_hour"],
        max_per_day=values["max_per_day"],
    )
    return form, settings


def _show_form(
    request: PageRequest,
    kind: str,
    form: Form,
    *,
    info: ChannelInfo | None = None,
    error: AlertsError | None = None,
    status: int = 200,
) -> HttpResponse:
    settings = info.settings if info is not None else ChannelSettings(name="")
    was_sent = request.method == "POST"
    chosen = request.POST.getlist("kinds") if was_sent else settings.kinds
    target_error = ""
    if error is not None and error.field == "target":
        target_error = _sentence(str(error))
    elif error is not None:
        form = with_error(form, str(error), error.field)
    label, example = TARGET_LABELS[kind]
    context = {
        "tenant": request.tenant,
        "kind": kind,
        "kind_words": words.CHANNEL_KINDS[kind],
        "info": info,
        "form": form,
        "alert_kinds": [(one, text, one in chosen) for one, text in KIND_WORDS.items()],
        "passes": "critical_passes" in request.POST if was_sent else settings.critical_passes,
        "target": _target(request) if was_sent else "",
        "target_label": label,
        "target_example": example,
        "target_error": target_error,
    }
    return render(request, "dashboards/channel.html", context, status=status)


def _target(request: PageRequest) -> str:
    return request.POST.get("target", "").replace("\0", "").strip()[:MAX_TARGET]


def _refused_viewer(request: PageRequest) -> HttpResponse | None:
    """These forms are for those who may change: their fields tell where messages go."""
    if role_allows_changes(request.membership.role):
        return None
    return render(request, "403.html", {"needs_role": "admin"}, status=403)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
