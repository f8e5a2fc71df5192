"""Files, wherever fsspec finds them, and the parts that they are read in."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import fsspec as _fsspec  # type: ignore[import-untyped]  # comes with Dask
import msgspec
from fsspec.utils import infer_compression  # type: ignore[import-untyped]

from rxruns._arguments import check_kind
from rxruns._logs import format_of
from rxruns.errors import InvalidArgumentError

__all__ = ["LogPart", "Path", "UNPACKED", "find_files", "open_part", "recognized", "split"]

fsspec: Any = _fsspec  # has no types
Path = str | os.PathLike[str]

UNPACKED = frozenset({"gzip", "bzip2", "xz", "zstd"})
"""Formats that are unpacked here: that yields all the whole events of a file that was cut."""

_MAGIC = 6


class LogPart(msgspec.Struct, frozen=True):
    """A byte range of a file, or all of a compressed one.

    Attributes:
        path: as fsspec takes it.
        begin: the offset from which on lines belong to the part.
        end: the first offset of the next part.
        size: of the file when the work was planned: bytes appended later are not read.
        compression: of all of the file, as :func:`rxruns._logs.format_of` names it, or fsspec does for
            others; None: it is plain, or has not been opened yet.
    """

    path: str
    begin: int
    end: int
    size: int
    compression: str | None = None


def open_part(part: LogPart) -> Any:
    """Open the file of a part, decompressed if fsspec must: a context manager."""
    compression = None if part.compression in UNPACKED else part.compression
    return fsspec.open(part.path, "rb", compression=compression)


def recognized(part: LogPart) -> LogPart:
    """Return the part with the compression that the first bytes of its file show, not its name."""
    if part.begin or (part.compression is not None and part.compression not in UNPACKED):
        return part
    with fsspec.open(part.path, "rb") as file:
        return msgspec.structs.replace(part, compression=format_of(file.read(_MAGIC)) or None)


def find_files(paths: Path | Iterable[Path]) -> list[LogPart]:
    """Find the files, each as one whole part, in order.

    Raises:
        InvalidArgumentError: there is none, or one can't be read.
    """
    check_kind("paths", paths, os.PathLike | Iterable, "a path or a URL, or several of them")
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise InvalidArgumentError("paths must name at least one log, got none", field="paths")
    for place, path in enumerate(given):
        check_kind(f"paths[{place}]", path, str | os.PathLike, "a path or a URL")
    return [file for path in given for file in _matches(os.fspath(path))]


def split(files: Iterable[LogPart], size: int) -> list[LogPart]:
    """Split files into parts of `size` bytes. A compressed file stays whole.

    >>> [(part.begin, part.end) for part in split([LogPart("log", 0, 50, 50)], 20)]
    [(0, 20), (20, 40), (40, 50)]
    """
    parts: list[LogPart] = []
    for file in files:
        if file.compression is None and file.size > size:
            file = _recognized_here(file)
        if file.compression is not None or file.size <= size:
            parts.append(file)
        else:
            begins = range(0, file.size, size)
            parts += [LogPart(file.path, begin, min(begin + size, file.size), file.size) for begin in begins]
    return parts


def _compression(url: str) -> str | None:
    name: str | None = infer_compression(url)
    return "bzip2" if name == "bz2" else name


def _recognized_here(file: LogPart) -> LogPart:
    try:
        return recognized(file)
    except FileNotFoundError:  # the worker has its own folders
        return file
    except OSError as error:
        raise InvalidArgumentError(f"paths: {file.path} can't be read: {error}", field="paths") from error


def _matches(path: str) -> list[LogPart]:
    _refuse_password(path)
    try:
        system, pattern = fsspec.core.url_to_fs(path)
        names: list[str] = [pattern] if system.isfile(pattern) else sorted(system.glob(pattern))
        files = [name for name in names if system.isfile(name)]
        found = [(str(system.unstrip_protocol(name)), int(system.size(name))) for name in files]
    except (OSError, ValueError, ImportError) as error:
        raise InvalidArgumentError(f"paths: {path} can't be read: {error}", field="paths") from error
    if not found:
        raise InvalidArgumentError(f"paths must name a file, or match one, got {path}", field="paths")
    return [LogPart(url, 0, size, size, _compression(url)) for url, size in found]


def _refuse_password(path: str) -> None:
    try:
        has_password = urlsplit(path).password is not None
    except ValueError:  # not a URL
        return
    if has_password:
        raise InvalidArgumentError(
            "paths must not contain a password, which would be sent with each task; put it into the workers' "
            "environment or into fsspec's configuration",
            field="paths",
        )
