# For type checkers: `rxruns.ops` is `rxruns.operators` under another name (see `__init__`).
# pyright: reportUnusedImport=false
# ruff: noqa: F401, F403

from rxruns.operators import *
from rxruns.operators._rxpy import *

# RxPY only assigns these; these are the functions themselves, which have types.
from reactivex.operators import debounce as throttle_with_timeout  # isort: skip
from reactivex.operators import to_iterable as to_list  # isort: skip
from reactivex.operators import zip_with_iterable as zip_with_list  # isort: skip
