"""Lines of a file, plain or gzip, with their place in it; bounded, whatever the file holds."""

import gzip
import io
import zlib
from collections import deque
from typing import BinaryIO, Final

from apps.usage.core.import_mapping import ImportRefusedError

GZIP: Final = b"\x1f\x8b"
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
# One row, whatever its columns: Helicone's carry whole prompts.
MAX_ROW_BYTES: Final = 4 * 1024 * 1024
# Of gzip, unpacked: a bomb is not worked through for a week.
MAX_UNPACKED_BYTES: Final = 64 * 1024**3
_BUFFER: Final = 1024 * 1024


class LineSource:
    """Lines from `offset` on (of the unpacked bytes). Reading raises ImportRefusedError where the
    gzip is broken or too much."""

    def __init__(self, raw: BinaryIO, *, offset: int = 0) -> None:
        self._raw = raw
        raw.seek(0)
        self.is_packed = raw.read(2) == GZIP
        raw.seek(0)
        self._lines: BinaryIO
        if self.is_packed:
            self._lines = io.BufferedReader(gzip.GzipFile(fileobj=raw), _BUFFER)
        else:
            self._lines = raw
        self._waiting: deque[bytes] = deque()
        self.offset = offset
        self._guarded_seek(offset)

    def readline(self) -> bytes:
        """The next line with its end; b"" after the last. Of one too long its beginning, which is
        longer than MAX_ROW_BYTES; its rest is passed over."""
        if self._waiting:
            line = self._waiting.popleft()
        else:
            line = self._read(MAX_ROW_BYTES + 1)
            if len(line) > MAX_ROW_BYTES and not line.endswith(b"\n"):
                self._skip_rest()
        self.offset += len(line)
        return line

    def push_back(self, lines: list[bytes]) -> None:
        """Have these lines, the last ones read, read again."""
        self._waiting.extendleft(reversed(lines))
        self.offset -= sum(map(len, lines))

    @property
    def done_bytes(self) -> int:
        """How far in the file as it lies there: progress, not a place to go on from."""
        return self._raw.tell() if self.is_packed else self.offset

    def _skip_rest(self) -> None:
        while rest := self._read(_BUFFER):
            self.offset += len(rest)
            if rest.endswith(b"\n"):
                return

    def _read(self, most: int) -> bytes:
        if self.is_packed and self.offset > MAX_UNPACKED_BYTES:
            raise ImportRefusedError(
                f"the file unpacks to more than {MAX_UNPACKED_BYTES // 1024**3} GiB; split it"
            )
        try:
            return self._lines.readline(most)
        except (EOFError, OSError, zlib.error) as error:
            if not self.is_packed:
                raise
            raise broken_gzip() from error

    def _guarded_seek(self, offset: int) -> None:
        try:
            self._lines.seek(offset)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise broken_gzip() from error


def broken_gzip() -> ImportRefusedError:
    return ImportRefusedError("the gzip is cut off or broken; pack the file again")


def check_text(head: bytes) -> None:
    """Raises ImportRefusedError, saying what to do, when the beginning of a file is not UTF-8."""
    if head.startswith(b"PK\x03\x04"):
        raise ImportRefusedError("this is a workbook or a zip; export it as CSV (UTF-8)")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head[:4096]:
        raise ImportRefusedError(
            "the file is not UTF-8 text (it may be UTF-16); convert it:"
            " iconv -f UTF-16 -t UTF-8 FILE"
        )
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The end of the part looked at may cut a letter in two.
        if len(head) - error.start < 4 and error.reason == "unexpected end of data":
            return
        raise ImportRefusedError(
            f"the file is not UTF-8: byte 0x{head[error.start]:02X} at position {error.start}."
            " It may be Latin-1 or Windows-1252; convert it: iconv -f WINDOWS-1252 -t UTF-8 FILE"
        ) from error
