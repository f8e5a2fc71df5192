"""Recorded logs as files: opened, decompressed, recognized and put in order."""

from rxruns._logs._file import LogFile
from rxruns._logs._order import LinesBySeq, is_ordered
from rxruns._logs._signatures import name_of, prefix_of
from rxruns._logs._unpacking import DamagedError, Unpacker, UnsupportedError, format_of

__all__ = [
    "DamagedError",
    "LinesBySeq",
    "LogFile",
    "Unpacker",
    "UnsupportedError",
    "format_of",
    "is_ordered",
    "name_of",
    "prefix_of",
]
