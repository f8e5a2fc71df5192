"""Another name of :mod:`rxruns.operators`, for ``from rxruns.ops import text``."""

# ruff: noqa: F403

import sys

from rxruns import operators
from rxruns.operators import *
from rxruns.operators._rxpy import *  # mypy doesn't see these through the line above

# One module under both names, so that it doesn't matter which one was imported first.
sys.modules[__name__] = operators
