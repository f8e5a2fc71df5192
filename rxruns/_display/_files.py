"""Files written atomically, and files that only their owner can read."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from rxruns._errors import StoreError

_PLAIN = 0o666
_OWNER = 0o600
_PREFIX = ".rxruns-"
"""Prefix of a temporary file. The target's name may already have the maximal length."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically: into a temporary file beside it, which is synced and renamed.

    Raises:
        StoreError: it could not be written; an existing file is unchanged.
    """
    try:
        target = path.resolve()  # a link is kept
        mode = _mode_of(target)
        if mode is None:
            raise StoreError(f"{path} could not be written: it is not a regular file", path=str(path))
        _replace(target, mode, content)
    except (OSError, RuntimeError) as error:  # RuntimeError: `resolve`, for circular links
        reason = error.strerror if isinstance(error, OSError) else None
        raise StoreError(f"{path} could not be written: {reason or error}", path=str(path)) from error


def owner_only(path: str, flags: int) -> int:
    """Open a file, as an ``opener`` of :func:`open`: a new file gets mode 0600."""
    return os.open(path, flags, _OWNER)


def _replace(path: Path, mode: int, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=path.parent)
    try:
        with open(descriptor, "wb") as beside:
            beside.write(content)
            beside.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _mode_of(path: Path) -> int | None:
    """Return the mode of the file to replace, or of a new file; None for anything but a regular file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return _PLAIN & ~mask
    return mode & 0o777 if stat.S_ISREG(mode) else None
