"""An embedded runs service, for trying and testing: real HTTP, a simulated model, faults on request.

>>> from rxruns.devserver import DevServer
>>> with DevServer(seed=7) as server:
...     server.url.startswith("http://127.0.0.1:"), server.api_key.startswith("mr_sk_")
(True, True)

The texts of the model are made up, but follow from the seed, the name of the model and the prompt. Markers in
a prompt do more: ``[[say: text]]``, ``[[tokens: n]]``, ``[[fail: text]]``, ``[[ask: text]]`` and
``[[rounds: n]]``, see ``docs/simulated-model.md``.

A model that was given tools calls each of them once, with arguments that fit its parameters, and quotes the
results in its answer. With ``tool_execution: {"mode": "client"}`` the client runs them, ``user_ask`` in
every mode. In the text of a ``map.fanout`` subnode, ``{{item}}`` stands for the item; its events carry node
ids like ``each_one_0``.
"""

from __future__ import annotations

from rxruns.devserver import faults
from rxruns.devserver._model import PRICES
from rxruns.devserver._request import Request
from rxruns.devserver._server import DevServer, ScriptedRun
from rxruns.devserver.faults import Faults

__all__ = ["PRICES", "DevServer", "Faults", "Request", "ScriptedRun", "faults"]
