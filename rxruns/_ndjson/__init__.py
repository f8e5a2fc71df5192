"""Bytes to events, without I/O."""
