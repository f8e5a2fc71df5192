"""Logs in every format: how each is packed, and what can be unpacked of one that was cut."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from rxruns import recorded_events
from rxruns._ndjson._decoding import RecordError, decode_event, encode_event
from rxruns.events import RunEvent
from tests.observing import Seen

try:
    ZSTD: Any = import_module("compression.zstd")
except ImportError:
    try:
        ZSTD = import_module("zstandard")
    except ImportError:
        ZSTD = None

NEEDS_ZSTD = pytest.mark.skipif(ZSTD is None, reason="pip install zstandard, or the extra dev")


def _zstd(data: bytes) -> bytes:
    packed: bytes = ZSTD.compress(data)
    return packed


def _zstd_object() -> Any:
    decompressor = ZSTD.ZstdDecompressor()
    return decompressor.decompressobj() if ZSTD.__name__ == "zstandard" else decompressor


PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": _zstd,
}
UNPACK: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
    "zstd": _zstd_object,
}
FORMATS = [pytest.param(name, marks=NEEDS_ZSTD if name == "zstd" else ()) for name in PACK]
COMPRESSED = FORMATS[1:]


def unpacked(format: str, packed: bytes) -> bytes:
    """All that the codec gives of these bytes, fed one by one."""
    if format == "plain":
        return packed
    plain, stream = b"", UNPACK[format]()
    for byte in packed:
        if stream.eof:
            stream = UNPACK[format]()
        plain += stream.decompress(bytes((byte,)))
    return plain


def lines_of(events: Iterable[RunEvent]) -> list[bytes]:
    """The lines of a log with these events."""
    return [encode_event(event) + b"\n" for event in events]


def whole_events(plain: bytes) -> list[RunEvent]:
    """The events of the lines that are whole, whether or not the last one has its newline."""
    *lines, tail = plain.split(b"\n")
    events = list(map(decode_event, lines))
    with suppress(RecordError):
        events.append(decode_event(tail))
    return [event for event in events if event is not None]


def read(path: Path, **options: Any) -> Seen:
    """All that comes out of a log."""
    seen = Seen()
    recorded_events(path, **options).subscribe(seen)
    return seen.wait_end()
