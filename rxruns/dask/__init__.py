"""Folds on a Dask cluster: thousands of runs, or logs of many gigabytes, on many machines.

:func:`fold_runs` reads runs from the service, :func:`fold_logs` reads recorded logs; both spread a fold (see
:mod:`rxruns.folds`) over the workers and combine the results in a tree. Install it with
``pip install 'rxruns[dask]'``.
"""

from rxruns.dask._credentials import share_credentials
from rxruns.dask._logs import fold_logs
from rxruns.dask._runs import FoldedRuns, fold_runs

__all__ = ["FoldedRuns", "fold_logs", "fold_runs", "share_credentials"]
