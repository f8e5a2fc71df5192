"""``rxruns.ops`` is :mod:`rxruns.operators` under a short name. Type checkers read ops.pyi."""

import sys

from rxruns import operators

sys.modules[__name__] = operators
