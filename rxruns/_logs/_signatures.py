"""Recognize the format of bytes that are not a log, so that an error can name it."""

from __future__ import annotations

import re

from rxruns._ndjson._decoding import RecordError, decode_event

__all__ = ["name_of", "prefix_of"]

_SIGNATURES = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\x04\x22\x4d\x18", "lz4 data, which can't be read: decompress it first"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"Obj\x01", "an Avro file"),
    (b"ORC", "an ORC file"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"\xff\xfe", "text in UTF-16 or UTF-32: convert it to UTF-8"),
    (b"\xfe\xff", "text in UTF-16: convert it to UTF-8"),
    (b"{\0", "text in UTF-16: convert it to UTF-8"),
    (b"\0{", "text in UTF-16: convert it to UTF-8"),
    (b"\x1f\x8b", "compressed twice: decompress it once"),
    (b"BZh", "compressed twice: decompress it once"),
    (b"\xfd7zXZ\0", "compressed twice: decompress it once"),
    (b"\x28\xb5\x2f\xfd", "compressed twice: decompress it once"),
)
_TAR = 257
_BETWEEN_RECORDS = re.compile(rb"\}[ \t]*\r\s*\{")


def name_of(start: bytes) -> str:
    """Name the format of a file that begins like this; empty if it may be a log.

    >>> name_of(b"PAR1\\x15"), name_of(b'{"seq":1}')
    ('a Parquet file', '')
    """
    for signature, name in _SIGNATURES:
        if start.startswith(signature):
            return name
    if start[_TAR:].startswith(b"ustar"):
        return "a tar archive: unpack it"
    if b"\n" not in start and _BETWEEN_RECORDS.search(start):
        return "lines that end in CR alone: convert them, `tr '\\r' '\\n'`"
    return ""


def prefix_of(line: bytes) -> bytes:
    """Return the bytes before the event of a line, as from ``kubectl logs --timestamps``; empty for none.

    >>> prefix_of(b'[pod/worker] {"type":"keepalive"}')
    b'[pod/worker] '
    """
    prefix, brace, rest = line.partition(b"{")
    if not prefix.strip() or not brace:
        return b""
    try:
        decode_event(brace + rest)
    except RecordError:
        return b""
    return prefix
