"""The cost of rxruns beside its peers, on the same bytes in the same run: ``python -m benchmarks``."""
