"""The pages in docs/integrations say what the adapters do."""

import ast
import json
import re
from pathlib import Path

from apps.usage.adapters.native import NativeEvent, NativeUsage, parse_native
from tests.usage.adapters.bodies import OPENAI_CALL, native_row, tokens_of

PAGES = Path(__file__).parents[3] / "docs" / "integrations"
NATIVE = (PAGES / "native.md").read_text()


def blocks(language: str, page: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_event_that_curl_posts_is_taken() -> None:
    (command,) = blocks("sh", NATIVE)
    body = command.partition("-d '")[2].rstrip().removesuffix("'")
    (event,) = parse_native(body.encode()).events
    assert tokens_of(event) == OPENAI_CALL


def test_the_refusal_shown_is_the_one_given() -> None:
    shown = json.loads(blocks("json", NATIVE)[1])["rejected"][0]
    usage = {"input_tokens": 1, "output_tokens": 1, "foo": 1}
    rows = [native_row(), native_row(id="x", usage=usage)]
    (given,) = parse_native(json.dumps(rows).encode()).rejections
    assert {key: getattr(given, key) for key in shown} == shown


def test_every_field_is_named() -> None:
    for field in (*NativeEvent.__struct_fields__, *NativeUsage.__struct_fields__):
        assert f"`{field}`" in NATIVE


def test_the_python_shown_is_python() -> None:
    for block in blocks("python", NATIVE):
        ast.parse(block)


def test_links_lead_somewhere() -> None:
    for page in PAGES.glob("*.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (PAGES / target).exists(), (page.name, target)
