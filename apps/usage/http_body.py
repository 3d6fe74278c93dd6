"""A request's body: read whole, within limits, gunzipped."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.http import HttpRequest
from django.http.request import UnreadablePostError

from apps.tenants.problems import Problem
from apps.usage.backpressure import held_bytes

MAX_WIRE_BYTES = 16 * 1024 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
# Each costs a copy of what follows it. Clients send one; `cat *.gz` makes a few.
MAX_GZIP_MEMBERS = 100
UNPACKED_AT_ONCE_BYTES = 1024 * 1024


@contextmanager
def held_body(request: HttpRequest) -> Iterator[bytes]:
    """The body, decompressed, in this process's memory for the block.

    Raises Problem 413 past the limits, 400 or 415 if unreadable; OverloadedError when bodies that
    others hold leave no room.
    """
    with held_bytes.hold() as take:
        yield _read(request, take)


def _read(request: HttpRequest, take: Callable[[int], None]) -> bytes:
    take(min(_stated_bytes(request), MAX_WIRE_BYTES))
    wire = _read_wire(request)
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()
    if encoding in ("", "identity"):
        return wire
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _inflate(wire, take)
    raise Problem(
        415,
        "unsupported_encoding",
        f"Content-Encoding {encoding[:40]!r} is not understood; send gzip or identity",
        field="Content-Encoding",
    )


def _read_wire(request: HttpRequest) -> bytes:
    try:
        wire = request.read(MAX_WIRE_BYTES + 1)
    except (UnreadablePostError, OSError) as error:
        raise _cut_short() from error
    # A server that hands on what came before the connection broke raises nothing.
    if len(wire) < _stated_bytes(request) and len(wire) <= MAX_WIRE_BYTES:
        raise _cut_short()
    if len(wire) > MAX_WIRE_BYTES:
        raise _too_large(MAX_WIRE_BYTES, "as sent")
    return wire


def _stated_bytes(request: HttpRequest) -> int:
    stated = str(request.META.get("CONTENT_LENGTH") or "")
    return int(stated) if stated.isdecimal() and len(stated) < 19 else 0


def _cut_short() -> Problem:
    return Problem(400, "body_cut_short", "the body ended before its stated length")


def _inflate(wire: bytes, take: Callable[[int], None]) -> bytes:
    """Every member of a gzip file: RFC 1952 lets several follow each other; all are the body.

    Piece by piece, so that a bomb, or a body for which there is no room, is not unpacked.
    """
    pieces: list[bytes] = []
    size_bytes = 0
    for _ in range(MAX_GZIP_MEMBERS):
        # 32 + MAX_WBITS: gzip or zlib, by its header.
        inflater = zlib.decompressobj(32 + zlib.MAX_WBITS)
        while not inflater.eof:
            piece = _next_piece(inflater, wire)
            size_bytes += len(piece)
            if size_bytes > MAX_BODY_BYTES:
                raise _too_large(MAX_BODY_BYTES, "decompressed")
            take(len(piece))
            pieces.append(piece)
            wire = inflater.unconsumed_tail
        wire = inflater.unused_data
        if not wire:
            return b"".join(pieces)
    raise _invalid_gzip(f"the body has more than {MAX_GZIP_MEMBERS} gzip members; send one")


def _next_piece(inflater: "zlib._Decompress", wire: bytes) -> bytes:
    try:
        piece = inflater.decompress(wire, UNPACKED_AT_ONCE_BYTES)
    except zlib.error as error:
        raise _invalid_gzip("the body is not valid gzip") from error
    if not piece and not inflater.eof:
        raise _invalid_gzip("the gzip stream ends too early")
    return piece


def _invalid_gzip(detail: str) -> Problem:
    return Problem(400, "invalid_gzip", detail, field="Content-Encoding")


def _too_large(limit_bytes: int, what: str) -> Problem:
    return Problem(
        413,
        "body_too_large",
        f"the body is more than {limit_bytes} bytes {what}; send smaller batches",
        field="Content-Length",
        limit_bytes=limit_bytes,
    )
