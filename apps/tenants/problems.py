"""Errors that the API answers with, as RFC 9457 problem details."""

from typing import Any


class Problem(Exception):
    """A refusal with a status, a stable code, a sentence, and the field at fault if there is one.

    Further members (row, limit, spent, ...) stand beside these in the answer.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, field: str | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field
        self.members = members

    def as_dict(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "type": f"about:blank#{self.code}",
            "title": self.code.replace("_", " "),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.field is not None:
            body["field"] = self.field
        return body | self.members
