"""Bodies and answers of the doors that routers use for each request of theirs."""

from django.http import HttpResponse
from pydantic import BaseModel


class Schema(BaseModel):
    """As ninja's Schema, for what comes from JSON: ninja's also reads attributes of objects, and
    checks each body twice for it."""


def json_answer(answer: Schema, *, status: int = 200) -> HttpResponse:
    """Written by pydantic itself: the way over a dict costs more than the decision."""
    # The charset, which else is looked for in the content type.
    return HttpResponse(
        answer.model_dump_json(), content_type="application/json", charset="utf-8", status=status
    )
