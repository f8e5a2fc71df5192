"""Recorded logs as files: opened, decompressed, recognized and put in order."""

from rxruns._log_files._file import LogFile
from rxruns._log_files._order import LinesBySeq, is_ordered
from rxruns._log_files._signatures import name_of, prefix_of
from rxruns._log_files._unpacking import DamagedError, Unpacker, UnsupportedError, format_of

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
