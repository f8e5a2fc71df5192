"""Mutation testing: each part of a line is changed in turn, and a test must fail: ``tox -e mutation``.

``setup.cfg`` lists the mutated modules and their tests. It takes most of an hour on one core; results are
kept in ``mutants/``, so a second run repeats only changed code. CONTRIBUTING.md explains the survivors.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict

MARK = 0.85
"""The least share of a module's mutants that tests must notice."""

NOTICED = {"killed", "timeout", "segfault"}


def mutmut(*arguments: str) -> str:
    """Run a command of mutmut and return its output."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def table(results: str) -> dict[str, Counter[str]]:
    """Count the results of each module's mutants."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for name, status in re.findall(r"^\s*(\S+)__mutmut_\d+: ([\w ]+)$", results, re.MULTILINE):
        found[re.split(r"\.x[_ǁ]", name)[0]][status.strip()] += 1
    return found


def main() -> int:
    """Run the missing mutants, print each survivor and a line per module; 1 unless all reach the mark."""
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
