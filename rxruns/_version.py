"""The one place that names the version: packaging and the ``X-ModelRelay-Client`` header read it."""

from __future__ import annotations

__version__ = "0.1.0"
