"""Sessions of requests that use our connections, which forked children replace."""

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
    """Make a session for many open streams, each of which uses a connection."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=_POOL))
    return session


def renew_in_children(session: requests.Session) -> None:
    """Let forked children open their own connections, and leave those of their parent alone."""
    _sessions.add(session)


def note_sockets_of(session: requests.Session, url: str, proxies: Any) -> None:
    """Make the adapter for `url` use our connections, unless the caller set its own pools."""
    adapter = session.get_adapter(url)
    if not isinstance(adapter, HTTPAdapter):
        return
    _use_pools(adapter.poolmanager, _STOCK_POOLS, _NOTING_POOLS)
    if proxy := select_proxy(url, proxies):
        with_scheme = cast(Callable[[str, str], str], prepend_scheme_if_needed)
        manager = adapter.proxy_manager_for(with_scheme(proxy, "http"))
        if proxy.lower().startswith("socks"):
            # PySocks is installed, because the manager needed it.
            from rxruns._transport._socks import NOTING_POOLS, STOCK_POOLS  # noqa: PLC0415

            _use_pools(manager, STOCK_POOLS, NOTING_POOLS)
        else:
            _use_pools(manager, _STOCK_POOLS, _NOTING_POOLS)


def _use_pools(manager: Any, stock: Mapping[str, Any], noting: Mapping[str, Any]) -> None:
    if manager.pool_classes_by_scheme == stock:
        manager.pool_classes_by_scheme = noting
        manager.clear()  # the idle connections of its earlier pools


def close_idle(session: requests.Session) -> None:
    """Close a session and its idle connections now.

    urllib3 closes them only when a pool is garbage-collected, which an error's traceback delays.
    """
    for adapter in session.adapters.values():
        if isinstance(adapter, HTTPAdapter):
            for manager in (adapter.poolmanager, *adapter.proxy_manager.values()):
                for key in manager.pools.keys():  # noqa: SIM118  (the container isn't iterable)
                    if (pool := manager.pools.get(key)) is not None:
                        pool.close()
    session.close()


_inherited: list[object] = []
"""Pools of the parent process. Collecting them needs locks that the parent may have held at the fork."""


def _renew_sessions() -> None:
    """Make new pools and cookie jars in a forked child, with their own locks."""
    for session in list(_sessions):
        session.cookies = session.cookies.copy()
        for adapter in session.adapters.values():
            if isinstance(adapter, HTTPAdapter):
                _inherited.extend((adapter.poolmanager, adapter.proxy_manager))
                # As requests does for a pickled adapter. It keeps the attributes of subclasses.
                pickled: Any = adapter
                pickled.__setstate__(pickled.__getstate__())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_sessions)
