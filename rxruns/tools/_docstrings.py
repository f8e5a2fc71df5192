"""Google-style docstrings: the description of a function and of its parameters."""

from __future__ import annotations

import inspect
import re

__all__ = ["described"]

_SECTION = re.compile(r"(Args|Arguments|Parameters|Returns|Yields|Raises|Examples?|Notes?|Attributes):\s*")
_PARAMETER = re.compile(r"(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?:\([^()]*\))?\s*:\s*(.*)")


def described(function: object) -> tuple[str, dict[str, str]]:
    """Return the text before the first section of a docstring, and its ``Args:`` by name.

    >>> def add(a, b):
    ...     '''Add two numbers.
    ...
    ...     Args:
    ...         a: the first.
    ...         b (int): the second,
    ...             which is added to the first.
    ...     '''
    >>> described(add)
    ('Add two numbers.', {'a': 'the first.', 'b': 'the second, which is added to the first.'})
    """
    lines = (inspect.getdoc(function) or "").splitlines()
    section, text, arguments = "", list[str](), list[str]()
    for line in lines:
        if found := _SECTION.fullmatch(line):
            section = found[1]
        elif not section:
            text.append(line)
        elif section in ("Args", "Arguments", "Parameters"):
            arguments.append(line)
    return "\n".join(text).strip(), _by_name(arguments)


def _by_name(lines: list[str]) -> dict[str, str]:
    depth = min((_indent(line) for line in lines if line.strip()), default=0)
    found: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        match = _PARAMETER.fullmatch(line.strip()) if _indent(line) == depth else None
        if match:
            names = [name.strip("* ") for name in match[1].split(",")]
            found |= dict.fromkeys(names, match[2])
        else:
            found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
    return found


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
