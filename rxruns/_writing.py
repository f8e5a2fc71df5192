"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

_PLAIN = 0o666


def write_whole(path: Path, content: bytes) -> None:
    """Put ``content`` into the file at once: written beside it, synced, renamed.

    Raises:
        OSError: it could not be written; what was there before is untouched.
    """
    path = path.resolve()  # through a link, which stays one
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as beside:
            beside.write(content)
            beside.flush()
            os.fchmod(descriptor, _mode_of(path))
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _mode_of(path: Path) -> int:
    """The permissions of the file that is replaced, or those that a new file has here."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return _PLAIN & ~mask
