"""schemathesis over our own OpenAPI document: every operation, as it says and against it."""

import json
import time
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode

from costboard.api import api
from tests.malformed.findings import Findings

TIMEOUT_S = 60
RETRIES = 5
MAX_WAIT_S = 5.0
ANSWERS = (
    "application/json",
    "application/problem+json",
    "application/x-protobuf",
    "text/csv",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
)


def call_every_operation(
    url: str, headers: dict[str, str], findings: Findings, *, examples: int
) -> int:
    """`examples` calls of each operation and mode, over HTTP; returns how many were made."""
    called = 0
    schema = schemathesis.openapi.from_dict(api.get_openapi_schema())
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode:
            called += _call(operation, mode, url, headers, findings=findings, examples=examples)
    return called


def _call(
    operation: Any, mode: GenerationMode, url: str, headers: dict[str, str], *,
    findings: Findings, examples: int,
) -> int:  # fmt: skip
    calls = 0

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def call(case: Case) -> None:
        nonlocal calls
        calls += 1
        # The key is right, for what stands behind it is asked, except where schemathesis takes the
        # header away.
        for stated in [name for name in case.headers if name.lower() == "authorization"]:
            del case.headers[stated]
        case.headers.update(headers)
        answer = call_until_taken_up(case, url, headers, findings)
        _check(f"{operation.label}, {mode.value}", answer, case, findings)

    call()
    return calls


def call_until_taken_up(case: Any, url: str, headers: dict[str, str], findings: Findings) -> Any:
    """The answer, asked again as a 503 says when to: counters that are being made, or a database
    that a busy machine starves, answer so. Each is counted by name; one that stays is a fault."""
    for attempt in range(RETRIES + 1):
        answer = case.call(base_url=url, headers=headers, timeout=TIMEOUT_S)
        wait_s = answer.headers.get("retry-after", [""])[0]
        if answer.status_code != 503 or not wait_s.isdigit() or attempt == RETRIES:
            break
        findings.count(f"busy: {_problem_of(answer)}")
        time.sleep(min(float(wait_s), MAX_WAIT_S))
    return answer


def _problem_of(answer: Any) -> str:
    """The code of a problem and its sentence, as far as there is one."""
    try:
        problem = json.loads(answer.content)
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return repr(answer.content[:200])


def _check(label: str, answer: Any, case: Case, findings: Findings) -> None:
    findings.count(f"called: {answer.status_code}")
    if answer.status_code >= 500:
        told = f"{case.as_curl_command()}\n{_problem_of(answer)}"
        findings.fault(f"{label}: answered {answer.status_code}", told)
    content_type = answer.headers.get("content-type", [""])[0].partition(";")[0]
    if answer.status_code != 204 and content_type not in ANSWERS:
        findings.fault(
            f"{label}: {answer.status_code} answered as {content_type!r}",
            f"{case.as_curl_command()}\n{answer.content[:300]!r}",
        )
