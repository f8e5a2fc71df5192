"""Compressed bytes to plain ones, without I/O, as early as possible.

The format is recognized by the first bytes. Each codec is imported when a log needs it: a Python may have
been built without bz2 and lzma, and zstd comes with Python 3.14.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import chain
from typing import Any, NamedTuple, Protocol

__all__ = ["DamagedError", "Unpacker", "UnsupportedError", "format_of"]

_PIECE = 1 << 16
"""Plain bytes in one piece, at most."""

_SLICE = 1 << 9
"""Bytes that are unpacked at a time. zstandard can't be stopped: a block of 4 bytes may hold 128 KiB."""

_XZ_MEMORY = 128 * 2**20
"""Twice what ``xz -9`` needs."""

_GZIP = 31
"""``wbits`` of zlib for a gzip header and the largest window."""


class DamagedError(Exception):
    """The bytes are not valid in their format."""


class UnsupportedError(Exception):
    """The codec is not installed. The message explains how to install it."""


class Unpacker:
    """Iterate the plain bytes of `chunks`; of those that aren't compressed, the chunks themselves.

    Several compressed streams may follow each other, with NULs between them and at the end.

    Attributes:
        format: of the compressed bytes, such as ``"gzip"``; empty: they are plain, or none was received.
        is_cut: after the end, the compressed bytes end too early.

    Raises:
        DamagedError: after all that could be unpacked before the damage.
        UnsupportedError: the format can't be read here.

    >>> import gzip
    >>> unpacker = Unpacker([gzip.compress(b"{}")[:-1]])
    >>> list(unpacker), unpacker.format, unpacker.is_cut
    ([b'{}'], 'gzip', True)
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.format = ""
        self.is_cut = False
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self._chunks)
        head = _head(chunks)
        found = next((format for format in _FORMATS if format.begins(head)), None)
        if found is None:
            if head:
                yield head
            yield from chunks
            return
        self.format = found.name
        stream: _Decompressor | None = None
        for data in chain.from_iterable(map(_slices, chain((head,), chunks))):
            while data:
                if stream is None:
                    data = data.lstrip(b"\0")  # padding
                    if not data:
                        break
                    stream = found.make()
                yield from _pieces(stream, data, found.name)
                data = b""
                if stream.eof:
                    data, stream = stream.unused_data, None
        self.is_cut = stream is not None


def format_of(start: bytes) -> str:
    """Name the format of bytes that begin like this; empty for plain ones.

    >>> format_of(b"BZh91AY&SY"), format_of(b"{}")
    ('bzip2', '')
    """
    return next((format.name for format in _FORMATS if format.begins(start)), "")


class _Decompressor(Protocol):
    """The interface of bz2, lzma and compression.zstd."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _pieces(stream: _Decompressor, data: bytes, name: str) -> Iterator[bytes]:
    while True:
        try:
            piece = stream.decompress(data, _PIECE)
        except Exception as error:  # each codec has a class of its own
            raise DamagedError(f"the {name} data is damaged: {error}") from error
        for start in range(0, len(piece), _PIECE):
            yield piece[start : start + _PIECE]
        if stream.eof or stream.needs_input:
            return
        data = b""


def _slices(chunk: bytes) -> Iterator[bytes]:
    return (chunk[start : start + _SLICE] for start in range(0, len(chunk), _SLICE))


def _head(chunks: Iterator[bytes]) -> bytes:
    """Read enough bytes to recognize the format, or all."""
    head = b""
    for chunk in chunks:
        head += chunk
        if not any(len(head) < len(magic) and magic.startswith(head) for magic in _MAGICS):
            break
    return head


class _Format(NamedTuple):
    name: str
    magics: tuple[bytes, ...]
    make: Callable[[], _Decompressor]

    def begins(self, head: bytes) -> bool:
        """Return whether `head` begins a file of this format, or is one that was cut in its magic."""
        return head != b"" and any(head.startswith(magic) or magic.startswith(head) for magic in self.magics)


class _Gzip:
    """zlib's object, with the interface of the others."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        piece = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        self.needs_input = len(piece) < max_length and not self._stream.unconsumed_tail
        return piece


class _Zstandard:
    """The object of the package zstandard, which takes no length."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._stream.unused_data)

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return bytes(self._stream.decompress(data))


def _imported(name: str, *modules: str) -> Any:
    for module in modules:
        try:
            return import_module(module)
        except ImportError:
            continue
    raise UnsupportedError(f"this Python was built without {name}")


def _bzip2() -> _Decompressor:
    decompressor: _Decompressor = _imported("bz2", "bz2").BZ2Decompressor()
    return decompressor


def _xz() -> _Decompressor:
    lzma = _imported("lzma", "lzma")
    decompressor: _Decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    return decompressor


def _zstd() -> _Decompressor:
    try:
        module = _imported("zstd", "compression.zstd", "backports.zstd", "zstandard")
    except UnsupportedError as error:
        raise UnsupportedError("zstd comes with Python 3.14; before, `pip install zstandard`") from error
    decompressor = module.ZstdDecompressor()
    if module.__name__ == "zstandard":
        return _Zstandard(decompressor.decompressobj())
    typed: _Decompressor = decompressor
    return typed


_FORMATS = (
    _Format("gzip", (b"\x1f\x8b",), _Gzip),
    _Format("bzip2", (b"BZh",), _bzip2),
    _Format("xz", (b"\xfd7zXZ\0",), _xz),
    # A frame, and the skippable ones that tools for many threads begin with.
    _Format(
        "zstd", (b"\x28\xb5\x2f\xfd", *(bytes((byte, 0x2A, 0x4D, 0x18)) for byte in range(0x50, 0x60))), _zstd
    ),
)
_MAGICS = tuple(chain.from_iterable(format.magics for format in _FORMATS))
