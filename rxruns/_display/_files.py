"""Files that are there whole or not at all, and files that only their owner reads."""

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
"""Of a file that is renamed once it is whole. The target's name may already be as long as names can be."""


def write_whole(path: Path, content: bytes) -> None:
    """Put ``content`` into the file at once: written beside it, synced, renamed.

    Raises:
        StoreError: it could not be written; what was there before is untouched.
    """
    try:
        target = path.resolve()  # through a link, which stays one
        mode = _mode_of(target)
        if mode is None:
            raise StoreError(f"{path} could not be written: it is not a regular file", path=str(path))
        _replace(target, mode, content)
    except (OSError, RuntimeError) as error:  # `resolve` raises the second one for links in a circle
        reason = error.strerror if isinstance(error, OSError) else None
        raise StoreError(f"{path} could not be written: {reason or error}", path=str(path)) from error


def owner_only(path: str, flags: int) -> int:
    """An ``opener`` of :func:`open`: a file that it creates has mode 0600, one that exists keeps its own."""
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
    """The permissions of the file that is replaced, or those of a new file; None for what is not a file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return _PLAIN & ~mask
    return mode & 0o777 if stat.S_ISREG(mode) else None
