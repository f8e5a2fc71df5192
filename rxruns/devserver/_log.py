"""The append-only log of a run, in memory and optionally in an NDJSON file."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import msgspec

from rxruns._display._files import owner_only
from rxruns.devserver._json import is_object

__all__ = ["INLINE_BYTES", "KEEPALIVE", "TERMINAL", "EventLog", "artifact", "now"]

INLINE_BYTES = 1_000_000
"""The largest payload in bytes that is sent inside an event."""

KEEPALIVE = b"\n"  # the official SDKs refuse a record with the type "keepalive"
TERMINAL = frozenset({"run_completed", "run_failed", "run_canceled"})
_ARTIFACTS = ("output", "outputs")


def now() -> str:
    """Return the current time in UTC, as on the wire."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def artifact(key: str, value: Any, *, inline: bool = True) -> dict[str, Any]:
    """Make a payload artifact: hash and size, and the value itself if `inline` and not too large."""
    encoded = msgspec.json.encode(value)
    inline = inline and len(encoded) <= INLINE_BYTES
    about = {"bytes": len(encoded), "sha256": sha256(encoded).hexdigest(), "included": inline}
    return {"artifact_key": key, "info": about} | ({"content": value} if inline else {})


class EventLog:
    """The events of one run, encoded once for all readers.

    Whoever reads or appends holds `changed`, which is notified of each change.
    """

    def __init__(self, run_id: UUID, path: Path | None = None) -> None:
        self.run_id: UUID = run_id
        self.changed: threading.Condition = threading.Condition(threading.RLock())
        self.ended: bool = False
        self._lines: list[bytes] = []
        self._with_output: dict[int, bytes] = {}
        self._seqs: list[int] = []
        self._file: BinaryIO | None = None
        if path is not None:
            self._file = open(path, "ab", opener=owner_only)  # noqa: SIM115 - kept open

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def last_seq(self) -> int:
        return self._seqs[-1] if self._seqs else 0

    def append(self, event: Mapping[str, Any], *, keep: bool = True) -> dict[str, Any]:
        """Append an event with a complete envelope, to the file too if `keep`."""
        with self.changed:
            whole = {
                "envelope_version": "v2",
                "run_id": str(self.run_id),
                "seq": self.last_seq + 1,
                "ts": now(),
            } | dict(event)
            line = msgspec.json.encode(whole) + b"\n"
            bare = _without_output(whole)
            if bare is not whole:
                self._with_output[len(self._lines)] = line
            self._add(line if bare is whole else msgspec.json.encode(bare) + b"\n", whole["seq"])
            if self._file is not None and keep:
                self._file.write(line)
                self._file.flush()
            if whole.get("type") in TERMINAL:
                self.end()
            return whole

    def append_line(self, line: bytes, seq: int | None = None) -> None:
        """Append any bytes, for readers from before `seq` (None: that of the last event)."""
        with self.changed:
            self._add(line.rstrip(b"\n") + b"\n", self.last_seq if seq is None else seq)

    def end(self) -> None:
        """End the log: waiting readers finish after the last line."""
        with self.changed:
            self.ended = True
            self.close()
            self.changed.notify_all()

    def close(self) -> None:
        """Close the file; the log stays readable."""
        with self.changed:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def position(self, after_seq: int) -> int:
        """Return the position of the first event with ``seq > after_seq``."""
        with self.changed:
            return bisect_right(self._seqs, after_seq)

    def read(self, start: int, count: int, include_output: bool) -> list[bytes]:
        """Return at most `count` lines from a position on, each with its newline."""
        with self.changed:
            lines = self._lines[start : start + count]
            if include_output and self._with_output:
                whole = self._with_output
                lines = [whole.get(place, line) for place, line in enumerate(lines, start)]
            return lines

    def events(self) -> list[dict[str, Any]]:
        """Return all events, decoded, with their outputs; lines that aren't objects are skipped."""
        decoded: list[dict[str, Any]] = []
        for line in self.read(0, len(self), include_output=True):
            try:
                event = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            if is_object(event):
                decoded.append(event)
        return decoded

    def _add(self, line: bytes, seq: Any) -> None:
        self._lines.append(line)
        # A wrong or smaller `seq` counts as the last one: `position` searches a sorted list.
        known = seq if isinstance(seq, int) else 0
        self._seqs.append(max(known, self.last_seq))
        self.changed.notify_all()


def _without_output(event: dict[str, Any]) -> dict[str, Any]:
    for name in _ARTIFACTS:
        payload = event.get(name)
        if is_object(payload) and "content" in payload:
            about = payload.get("info")
            about = about | {"included": False} if is_object(about) else about
            bare = {key: value for key, value in payload.items() if key != "content"} | {"info": about}
            event = event | {name: bare}
    return event
