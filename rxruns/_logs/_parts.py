"""Files and the parts in which they are read. URLs are opened by fsspec, local files without it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from glob import glob
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import msgspec

from rxruns._arguments import check_kind
from rxruns._errors import InvalidArgumentError, RunsError, StoreError, must_be
from rxruns._logs._unpacking import format_of

__all__ = ["LogPart", "Path", "UNPACKED", "find_files", "open_part", "recognized", "split"]

Path = str | os.PathLike[str]

UNPACKED = frozenset({"gzip", "bzip2", "xz", "zstd"})
"""Formats that are unpacked here, because this gives all that a truncated file holds."""

_MAGIC = 6


class LogPart(msgspec.Struct, frozen=True):
    """A byte range of a file, or all of a compressed one.

    Attributes:
        path: an absolute path, or a URL that fsspec opens.
        begin: the offset from which on lines belong to the part.
        end: the first offset of the next part.
        size: of the file when the work was planned: bytes that are appended later are not read.
        compression: of all of the file, as :func:`rxruns._logs.format_of` names it, or fsspec does for
            others; None: it is plain, or has not been opened yet.
    """

    path: str
    begin: int
    end: int
    size: int
    compression: str | None = None


def open_part(part: LogPart) -> Any:
    """Open the file of a part, decompressed if fsspec must do that. Returns a context manager."""
    if not _is_url(part.path):
        return open(part.path, "rb", buffering=0)
    compression = None if part.compression in UNPACKED else part.compression
    return _fsspec(part.path).open(part.path, "rb", compression=compression)


def recognized(part: LogPart) -> LogPart:
    """Return the part with the compression that the first bytes of its file show, whatever its name."""
    if part.begin or (part.compression is not None and part.compression not in UNPACKED):
        return part
    with open_part(msgspec.structs.replace(part, compression=None)) as file:
        return msgspec.structs.replace(part, compression=format_of(file.read(_MAGIC)) or None)


def find_files(paths: Path | Iterable[Path]) -> list[LogPart]:
    """Return each file that the paths and patterns match, whole, in order.

    Raises:
        InvalidArgumentError: no file matches.
        StoreError: a file can't be read.
    """
    check_kind("paths", paths, os.PathLike | Iterable, "a path or a URL, or several of them")
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise must_be("paths", "at least one path", paths)
    for place, path in enumerate(given):
        check_kind(f"paths[{place}]", path, str | os.PathLike, "a path or a URL")
    return [file for path in given for file in _matches(os.fspath(path))]


def split(files: Iterable[LogPart], size: int) -> list[LogPart]:
    """Return the files in parts of `size` bytes. A compressed file stays whole.

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


def _is_url(path: str) -> bool:
    return "://" in path or "::" in path


def _fsspec(url: str) -> Any:
    try:
        return import_module("fsspec")
    except ImportError as error:
        raise must_be("paths", "local paths", url, "URLs need fsspec: pip install fsspec") from error


def _recognized_here(file: LogPart) -> LogPart:
    try:
        return recognized(file)
    except FileNotFoundError:  # a worker of a cluster has its own folders
        return file
    except OSError as error:
        raise _unreadable(file.path, error) from error


def _matches(path: str) -> list[LogPart]:
    found = _matches_of_url(path) if _is_url(path) else _local_matches(path)
    if not found:
        raise must_be("paths", "a file, or a pattern that matches one", path)
    return found


def _local_matches(path: str) -> list[LogPart]:
    try:
        names = [path] if os.path.isfile(path) else sorted(glob(path, recursive=True))
        found = [(os.path.abspath(name), os.path.getsize(name)) for name in names if os.path.isfile(name)]
    except (OSError, ValueError) as error:  # a NUL in the path
        raise _unreadable(path, error) from error
    return [LogPart(name, 0, size, size) for name, size in found]


def _matches_of_url(url: str) -> list[LogPart]:
    _refuse_password(url)
    fsspec = _fsspec(url)
    try:
        system, pattern = fsspec.core.url_to_fs(url)
        names: list[str] = [pattern] if system.isfile(pattern) else sorted(system.glob(pattern))
        files = [name for name in names if system.isfile(name)]
        found = [(str(system.unstrip_protocol(name)), int(system.size(name))) for name in files]
    except (OSError, ValueError, ImportError) as error:
        raise _unreadable(url, error) from error
    return [LogPart(name, 0, size, size, _compression(name)) for name, size in found]


def _compression(url: str) -> str | None:
    name: str | None = import_module("fsspec.utils").infer_compression(url)
    return "bzip2" if name == "bz2" else name


def _unreadable(path: str, error: Exception) -> RunsError:
    if isinstance(error, OSError):
        return StoreError(f"the log {path} can't be read: {error.strerror or error}", path=path)
    return InvalidArgumentError(f"paths: {path} can't be read: {error}", field="paths")


def _refuse_password(url: str) -> None:
    try:
        has_password = urlsplit(url).password is not None
    except ValueError:  # not a URL
        return
    if has_password:
        raise InvalidArgumentError(
            "paths must not contain a password, which would be sent with each task; put it into the workers' "
            "environment or into fsspec's configuration",
            field="paths",
        )
