"""A tool that a test holds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acting import Gate


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Open at the end of the test, so that no thread is left."""
    gate = Gate()
    yield gate
    gate.end.set()
