"""A cluster on this machine, for the tests of a module: two processes, one thread each.

It ends with the module: its connections come and go, which tests elsewhere would take for leaks of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from distributed import Client, LocalCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two workers, which are started again when they die, and a client, which is the current one."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
