"""Sessions of requests: use our connections, close them, and replace them in forked children."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from requests.utils import prepend_scheme_if_needed, select_proxy  # pyright: ignore[reportUnknownVariableType]
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from rxruns._transport._connections import NotingHTTPPool, NotingHTTPSPool

_POOL = 1000

_STOCK_POOLS = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}
_NOTING_POOLS = {"http": NotingHTTPPool, "https": NotingHTTPSPool}

_sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()


def new_session() -> requests.Session:
    """A session for many open streams, each of which holds a connection."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=_POOL))
    return session


def renew_in_children(session: requests.Session) -> None:
    """Let forked children open connections of their own, and leave those of their parent alone."""
    _sessions.add(session)


def note_sockets_of(session: requests.Session, url: str, proxies: Any) -> None:
    """Make the adapter for `url` use our connections, unless the caller gave it pools of its own."""
    adapter = session.get_adapter(url)
    if not isinstance(adapter, HTTPAdapter):
        return
    _use_pools(adapter.poolmanager, _STOCK_POOLS, _NOTING_POOLS)
    if proxy := select_proxy(url, proxies):
        with_scheme = cast(Callable[[str, str], str], prepend_scheme_if_needed)
        manager = adapter.proxy_manager_for(with_scheme(proxy, "http"))
        if proxy.lower().startswith("socks"):
            # PySocks is there, because the manager needed it.
            from rxruns._transport._socks import NOTING_POOLS, STOCK_POOLS  # noqa: PLC0415

            _use_pools(manager, STOCK_POOLS, NOTING_POOLS)
        else:
            _use_pools(manager, _STOCK_POOLS, _NOTING_POOLS)


def _use_pools(manager: Any, stock: Mapping[str, Any], noting: Mapping[str, Any]) -> None:
    if manager.pool_classes_by_scheme == stock:
        manager.pool_classes_by_scheme = noting
        manager.clear()  # the idle connections of the pools that it made before


def close_idle(session: requests.Session) -> None:
    """Close a session and its idle connections now.

    urllib3 by itself closes them when a pool is collected as garbage, which an error's traceback puts off.
    """
    for adapter in session.adapters.values():
        if isinstance(adapter, HTTPAdapter):
            for manager in (adapter.poolmanager, *adapter.proxy_manager.values()):
                for key in manager.pools.keys():  # noqa: SIM118  (the container isn't iterable)
                    if (pool := manager.pools.get(key)) is not None:
                        pool.close()
    session.close()


_inherited: list[object] = []
"""Pools of the parent process. Collecting them needs locks that a thread of the parent may have held."""


def _renew_sessions() -> None:
    """In a forked child: new pools and cookie jars, with locks of their own."""
    for session in list(_sessions):
        session.cookies = session.cookies.copy()
        for adapter in session.adapters.values():
            if isinstance(adapter, HTTPAdapter):
                _inherited.extend((adapter.poolmanager, adapter.proxy_manager))
                # As requests does it for an adapter that was pickled. It keeps what a subclass of it adds.
                pickled: Any = adapter
                pickled.__setstate__(pickled.__getstate__())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_sessions)
