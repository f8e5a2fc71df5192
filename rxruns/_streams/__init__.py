"""Observables of events: one run, several runs, recorded logs."""
