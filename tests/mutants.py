"""Mutation testing: each part of a line is changed in turn, and some test has to fail: ``tox -e mutation``.

What is mutated, and by which tests it is watched, is in ``setup.cfg``. Takes most of an hour on one core;
results are kept in ``mutants/``, so a second run repeats only what has changed. CONTRIBUTING.md says what the
survivors are.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict

MARK = 0.85
"""The part of a module's mutants that has to be noticed."""

NOTICED = {"killed", "timeout", "segfault"}


def mutmut(*arguments: str) -> str:
    """What a command of mutmut writes."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def table(results: str) -> dict[str, Counter[str]]:
    """How many mutants of each module ended how."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for name, status in re.findall(r"^\s*(\S+)__mutmut_\d+: ([\w ]+)$", results, re.MULTILINE):
        found[re.split(r"\.x[_ǁ]", name)[0]][status.strip()] += 1
    return found


def main() -> int:
    """Run what is left to run, print each survivor and a line a module; 1 unless all are at the mark."""
    os.nice(19)
    environment = os.environ | {"HYPOTHESIS_PROFILE": "ci"}
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", *sys.argv[1:]]
    ran = subprocess.run(command, env=environment, check=False)
    if ran.returncode:
        return ran.returncode
    results = mutmut("results", "--all", "true")
    for name in re.findall(r"^\s*(\S+): (?:survived|no tests)$", results, re.MULTILINE):
        print(mutmut("show", name))
    modules = table(results)
    shares = {module: _share(ends) for module, ends in modules.items()}
    for module, ends in sorted(modules.items()):
        print(f"{module:32} {shares[module]:6.1%} noticed of {ends.total()}: {dict(ends)}")
    return int(not shares or min(shares.values()) < MARK)


def _share(ends: Counter[str]) -> float:
    return sum(ends[status] for status in NOTICED) / ends.total()


if __name__ == "__main__":
    sys.exit(main())
