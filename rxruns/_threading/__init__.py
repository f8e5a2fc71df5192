"""Threads, channels between them, and iterators that pull from an Observable."""
