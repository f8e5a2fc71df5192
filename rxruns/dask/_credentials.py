"""Credentials for workers that were started elsewhere, apart from the tasks."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from rxruns.dask._cluster import Cluster, distributed
from rxruns.errors import InvalidArgumentError

__all__ = ["share_credentials"]

VARIABLES = ("MODELRELAY_API_KEY", "MODELRELAY_ACCESS_TOKEN", "MODELRELAY_API_BASE_URL")


def share_credentials(dask_client: Any = None) -> None:
    """Put this process's ``MODELRELAY_…`` variables into the environment of all workers, also of later ones.

    They travel over the cluster's own connections and are kept by its scheduler, which sends them to
    workers that join; no task holds them. A ``LocalCluster`` has them already: its workers inherit the
    environment.

    Args:
        dask_client: a ``distributed.Client``; None: the current one.

    Raises:
        InvalidArgumentError: no variable is set here, or the connections are not encrypted and leave this
            machine. Pass the cluster and its client a ``distributed.Security``, or set the variables where
            the workers are started.

    >>> from unittest.mock import patch
    >>> from distributed import Client
    >>> with patch.dict("os.environ", {"MODELRELAY_API_KEY": "mr_sk_example"}):
    ...     with Client(n_workers=1, processes=False, dashboard_address="127.0.0.1:0"):
    ...         share_credentials()
    """
    client = Cluster(dask_client).client
    variables = {name: value for name in VARIABLES if (value := os.environ.get(name, "").strip())}
    if not variables.keys() - {"MODELRELAY_API_BASE_URL"}:
        raise InvalidArgumentError(
            "MODELRELAY_API_KEY is not set here, nor is MODELRELAY_ACCESS_TOKEN: there is nothing to share",
            field="MODELRELAY_API_KEY",
        )
    if not is_private(str(client.scheduler.address)):
        raise InvalidArgumentError(
            f"the connections of the cluster at {client.scheduler.address} are not encrypted: pass it and "
            "its client a distributed.Security, or set the variables where the workers are started",
            field="dask_client",
        )
    client.register_plugin(_Environment(variables), name="rxruns-credentials")


def is_private(address: str) -> bool:
    """Return whether a connection to an address of Dask's is encrypted, or stays on this machine.

    >>> is_private("tls://10.0.0.7:8786"), is_private("tcp://127.0.0.1:8786"), is_private("tcp://10.0.0.7:8786")
    (True, True, False)
    """
    parts = urlsplit(address)
    if parts.scheme in ("tls", "wss", "inproc"):
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


class _Environment(distributed.WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """Variables that each worker sets when it starts. Its ``repr`` doesn't contain them."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = variables

    def setup(self, worker: Any) -> None:
        os.environ.update(self._variables)
