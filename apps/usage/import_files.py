"""Uploaded files: their bytes in the database, where web and workers meet. Part of imports."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

from django.db import connection

from apps.tenants.scoping import current_tenant_id, tenant_scope
from apps.usage.core.import_mapping import ImportRefusedError

CHUNK_BYTES: Final = 1024 * 1024
MAX_UPLOAD_BYTES: Final = 200 * 1024 * 1024


def write_chunks(import_id: int, pieces: Iterable[bytes]) -> None:
    """Keep a file of the tenant in scope, in pieces of a MiB."""
    with connection.cursor() as cursor:
        for number, data in enumerate(_in_chunks(pieces)):
            cursor.execute(
                "INSERT INTO usage_import_chunk (tenant_id, import_id, number, data)"
                " VALUES (%s, %s, %s, %s)",
                [current_tenant_id(), import_id, number, data],
            )


def fingerprint(pieces: Iterable[bytes], *, limit_bytes: int | None = None) -> tuple[str, int]:
    """(SHA-256, size). Raises ImportRefusedError for an empty file, and past the limit."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
        if limit_bytes is not None and size > limit_bytes:
            raise too_large(limit_bytes)
    if not size:
        raise ImportRefusedError("the file is empty", field="file")
    return digest.hexdigest(), size


def too_large(limit_bytes: int) -> ImportRefusedError:
    return ImportRefusedError(
        f"the file is larger than {limit_bytes // 1024**2} MiB; pack it with gzip, split it, or"
        " import it on the server: manage.py import_usage FILE",
        field="file",
    )


class StoredFile(io.RawIOBase):
    """An upload's bytes as a file that can be sought in; holds one piece in memory."""

    def __init__(self, tenant_id: int, import_id: int, size_bytes: int) -> None:
        super().__init__()
        self._tenant_id = tenant_id
        self._import_id = import_id
        self._size = size_bytes
        self._at = 0
        self._number = -1
        self._chunk = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        number, start = divmod(self._at, CHUNK_BYTES)
        if self._at >= self._size:
            return 0
        if number != self._number:
            self._chunk, self._number = self._read_chunk(number), number
        part = self._chunk[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _read_chunk(self, number: int) -> bytes:
        with tenant_scope(self._tenant_id), connection.cursor() as cursor:
            cursor.execute(
                "SELECT data FROM usage_import_chunk"
                " WHERE tenant_id = %s AND import_id = %s AND number = %s",
                [self._tenant_id, self._import_id, number],
            )
            row = cursor.fetchone()
        if row is None:
            raise ImportRefusedError("the uploaded file is gone; upload it again", field="file")
        return bytes(row[0])


def open_stored(tenant_id: int, import_id: int, size_bytes: int) -> io.BufferedReader:
    raw = cast("io.RawIOBase", StoredFile(tenant_id, import_id, size_bytes))
    return io.BufferedReader(raw, CHUNK_BYTES)


def _in_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= CHUNK_BYTES:
            yield bytes(waiting[:CHUNK_BYTES])
            del waiting[:CHUNK_BYTES]
    if waiting:
        yield bytes(waiting)
