"""How to send the first event: a line that works when pasted into a shell."""

import json
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from apps.tenants.core.access import role_allows_changes

if TYPE_CHECKING:
    from apps.dashboards.page import PageRequest

KEY_PLACEHOLDER = "YOUR_KEY"
INGEST_PATH = "/api/v1/usage/events"


def first_event(now: datetime) -> dict[str, Any]:
    """One native event, with an id that no other has."""
    return {
        "id": f"first-{uuid.uuid4().hex[:12]}",
        "timestamp": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "provider": "openai",
        "model": "gpt-4o-mini",
        "usage": {"input_tokens": 1000, "output_tokens": 200},
    }


def curl_line(base_url: str, secret: str, now: datetime) -> str:
    """A POST of the first event. Nothing in it needs more quoting than single quotes."""
    fields = [
        f"{json.dumps(name)}: {json.dumps(value)}" for name, value in first_event(now).items()
    ]
    # Three lines of body: a shell takes them inside the quotes, and people can read them.
    lines = (", ".join(fields[:2]), ", ".join(fields[2:4]), ", ".join(fields[4:]))
    body = "{" + ",\n       ".join(lines) + "}"
    return (
        f"curl {base_url}{INGEST_PATH} \\\n"
        f"  -H 'Authorization: Bearer {secret}' \\\n"
        f"  -H 'Content-Type: application/json' \\\n"
        f"  -d '{body}'"
    )


def litellm_lines(base_url: str, secret: str) -> str:
    """For LiteLLM's proxy; see docs/integrations/litellm.md."""
    return (
        "# config.yaml\n"
        "litellm_settings:\n"
        '  callbacks: ["costboard"]\n'
        "callback_settings:\n"
        "  costboard:\n"
        "    callback_type: generic_api\n"
        f"    endpoint: {base_url}/api/v1/usage/litellm\n"
        "    headers:\n"
        f'      Authorization: "Bearer {secret}"\n'
        "    max_retries: 3"
    )


def otlp_lines(base_url: str, secret: str) -> str:
    """For whatever exports OpenTelemetry; see docs/integrations/opentelemetry.md."""
    return (
        f"export OTEL_EXPORTER_OTLP_ENDPOINT={base_url}\n"
        f'export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20{secret}"\n'
        "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
    )


def first_event_context(request: "PageRequest", secret: str = "") -> dict[str, Any]:
    base_url = request.build_absolute_uri("/").rstrip("/")
    return {
        "secret": secret,
        "curl": curl_line(base_url, secret or KEY_PLACEHOLDER, request.now),
        "clients": [
            ("litellm", "LiteLLM’s proxy", litellm_lines(base_url, secret or KEY_PLACEHOLDER)),
            ("otlp", "OpenTelemetry", otlp_lines(base_url, secret or KEY_PLACEHOLDER)),
        ],
        "can_change": role_allows_changes(request.membership.role),
    }
