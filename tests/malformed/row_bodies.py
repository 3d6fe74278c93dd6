"""Damaged bodies of the doors that take rows: native, LiteLLM, CloudEvents."""

import gzip
import random
import zlib
from typing import Final

import msgspec

from apps.usage.adapters.cloudevents import BATCH, STRUCTURED
from tests.malformed.drafts import NDJSON, ROW_DOORS, Body, Draft
from tests.malformed.values import dump, spoil
from tests.usage.adapters.bodies import JSON, PROTOBUF

encode = msgspec.json.Encoder().encode
CONTENT_TYPES: Final = ("", "text/plain", "application/xml", "application/json; charset=utf-16",
    "application/json; charset=base64", "application/json; charset=undefined", "\xe9", "a" * 500,
    "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "application/grpc",
    "application/json;;;", "image/png", STRUCTURED, BATCH, PROTOBUF, NDJSON)  # fmt: skip
ENCODINGS: Final = ("br", "zstd", "gzip, gzip", "x" * 300, "\xe9", "chunked", "identity;q=1")


def _rows_beside_bad_ones(draft: Draft) -> tuple[str, list[bytes], list[str | None]]:
    """(door, rows, and for each the id of a good one or None)."""
    chance = draft.chance
    door = chance.choice(tuple(ROW_DOORS))
    rows: list[bytes] = []
    ids: list[str | None] = []
    for _ in range(chance.choice((1, 2, 2, 3, 5))):
        if chance.random() < 0.4:
            row_id, row = draft.good(door)
            ids.append(row_id)
            rows.append(encode(row))
        else:
            ids.append(None)
            rows.append(dump(spoil(draft.bad(door), chance)))
    return door, rows, ids


def spoilt_rows(draft: Draft) -> Body:
    """Good and bad rows in an array, or one a line: the good are all taken."""
    door, rows, ids = _rows_beside_bad_ones(draft)
    path, content_types = ROW_DOORS[door]
    headers = {"Content-Type": draft.chance.choice(content_types)}
    # Rows that hold a raw line feed, or nothing that opens an object, are rows of arrays only.
    if draft.chance.random() < 0.5 and not any(b"\n" in row for row in rows):
        # The first byte tells lines from an array: a good row goes first.
        row_id, row = draft.good(door)
        wire = b"\n".join([encode(row), *rows])
        ids = [row_id, *ids]
    else:
        wire = b"[" + b",".join(rows) + b"]"
    planted = tuple(row_id for row_id in ids if row_id)
    return Body(door, path, headers, wire, planted, len(ids), "spoilt rows")


def damaged_bytes(draft: Draft) -> Body:
    """One row a line, some with bytes flipped, cut or put in: the other lines are taken."""
    door, rows, ids = _rows_beside_bad_ones(draft)
    chance = draft.chance
    row_id, first = draft.good(door)
    lines = [encode(first)]
    for row, good_id in zip(rows, ids, strict=True):
        lines.append(row if good_id else damage(row, chance).replace(b"\n", b" ") or b"x")
    path, _ = ROW_DOORS[door]
    planted = (row_id, *(i for i in ids if i))
    return Body(door, path, {"Content-Type": JSON if door != "cloudevents" else STRUCTURED},
        b"\n".join(lines), planted, damage="damaged bytes")  # fmt: skip


def damage(row: bytes, chance: random.Random) -> bytes:
    kind = chance.randrange(4)
    start = chance.randrange(len(row))
    if kind == 0:
        flipped = bytearray(row)
        for _ in range(chance.randint(1, 8)):
            flipped[chance.randrange(len(row))] ^= 1 << chance.randrange(8)
        return bytes(flipped)
    if kind == 1:
        return row[:start]
    put_in = chance.randbytes(chance.randint(1, 12))
    if kind == 2:
        return row[:start] + put_in + row[start:]
    return row[:start] + put_in + row[min(len(row), start + chance.randint(1, 40)) :]


def cut_array(draft: Draft) -> Body:
    """An array that ends within its last row: the rows before it are taken."""
    door = draft.chance.choice(tuple(ROW_DOORS))
    path, content_types = ROW_DOORS[door]
    good = [draft.good(door) for _ in range(draft.chance.randint(1, 3))]
    last = dump(draft.bad(door))
    # Cut after its first byte and before its last.
    last = last[: draft.chance.randint(1, len(last) - 1)]
    wire = b"[" + b",".join([*(encode(row) for _, row in good), last])
    planted = tuple(row_id for row_id, _ in good)
    return Body(door, path, {"Content-Type": content_types[0]}, wire, planted, len(good) + 1, "cut")


def wrong_headers(draft: Draft) -> Body:
    """Good rows under headers that say something else of them."""
    chance = draft.chance
    door = chance.choice(tuple(ROW_DOORS))
    path, _ = ROW_DOORS[door]
    row_id, row = draft.good(door)
    headers = {"Content-Type": chance.choice(CONTENT_TYPES)}
    planted: tuple[str, ...] = (row_id,) if door != "cloudevents" else ()
    if chance.random() < 0.4:
        headers["Content-Encoding"] = chance.choice(ENCODINGS)
        planted = ()
    return Body(door, path, headers, encode(row), planted, damage="wrong headers")


def compressed(draft: Draft) -> Body:
    """Compressed bodies, whole and broken."""
    chance = draft.chance
    door = chance.choice(("native", "litellm"))
    path, _ = ROW_DOORS[door]
    good = [draft.good(door) for _ in range(2)]
    lines = [encode(row) + b"\n" for _, row in good]
    packed = gzip.compress(b"".join(lines), 1)
    wire, planted = chance.choice(
        (
            (packed, 2),
            (zlib.compress(b"".join(lines), 1), 2),
            # What `cat a.gz b.gz` makes: RFC 1952 calls it one file.
            (b"".join(gzip.compress(line, 1) for line in lines), 2),
            (packed[: chance.randrange(len(packed))], 0),
            (damage(packed, chance), 0),
            (chance.randbytes(chance.randint(0, 200)), 0),
            (packed[:10] + chance.randbytes(50), 0),
            (packed + chance.randbytes(5), 0),
            (gzip.compress(packed), 0),
            (lines[0], 0),
        )
    )
    headers = {"Content-Type": JSON, "Content-Encoding": chance.choice(("gzip", "deflate"))}
    ids = tuple(row_id for row_id, _ in good)[:planted]
    return Body(door, path, headers, wire, ids, damage="compressed")


def garbage(draft: Draft) -> Body:
    chance = draft.chance
    path = chance.choice([path for path, _ in ROW_DOORS.values()] + ["/v1/traces", "/v1/metrics"])
    wire = chance.choice((b"", b"[", b"{", b"[[", b"[]", b"null", b'"', b"[,]", b"[" * 3000,
        b'{"a":' * 3000, b"\xef\xbb\xbf", b"\xff\xfe[\x00]\x00", b"\x1f\x8b", b"[1,2", b"{}\n{}",
        chance.randbytes(chance.randint(1, 300))))  # fmt: skip
    content_type = chance.choice((JSON, PROTOBUF, *CONTENT_TYPES))
    return Body("garbage", path, {"Content-Type": content_type}, wire, damage="garbage")


def binary_cloudevent(draft: Draft) -> Body:
    """Attributes in headers, of any text that a header can hold."""
    chance = draft.chance
    event = draft.bad("cloudevents")
    data = spoil(event.pop("data"), chance)
    headers = {f"ce-{name}": str(value) for name, value in event.items()}
    odd = ("", " ", "%", "%00", "%ff%fe", "%ED%A0%80", "\xe9", "a" * 3000, "%0a", "1.0", "2", "{}")
    headers[f"ce-{chance.choice(tuple(event))}"] = chance.choice(odd)
    return Body("cloudevents", "/api/v1/events", headers | {"Content-Type": JSON}, dump(data),
        damage="binary cloudevent")  # fmt: skip
