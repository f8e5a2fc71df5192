"""Type check the Python blocks of the README and of docs: ``python -m tests.snippets [mypy] [pyright]``.

Each block is a module of its own, at the lines that it has on its page, so that errors name the page's lines.
``run_id`` is defined, as it is in `test_readme.py`, which runs the blocks.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (ROOT / "docs", ROOT / "docs/howto")
BEFORE = "from uuid import UUID as _UUID; run_id = _UUID(int=1)"


def main(checkers: list[str]) -> int:
    """Run the checkers (both by default) over all blocks; 1 if one finds an error."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pages = extract(folder)
        commands = {"mypy": mypy(folder), "pyright": pyright(folder)}
        codes = [run(commands[checker], pages) for checker in checkers or commands]
    return max(codes)


def extract(folder: Path) -> dict[str, str]:
    """Write a module for each block; return the page of each module."""
    pages: dict[str, str] = {}
    for page in [ROOT / "README.md", *(page for folder in FOLDERS for page in sorted(folder.glob("*.md")))]:
        text = page.read_text("utf-8")
        for block in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, block.start(1))
            module = f"{page.stem.replace('-', '_')}_{line + 1}.py"
            (folder / module).write_text(BEFORE + "\n" * line + block[1], "utf-8")
            pages[module] = str(page.relative_to(ROOT))
    return pages


def mypy(folder: Path) -> list[str]:
    """mypy with the project's options."""
    return [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "setup.cfg"), str(folder)]


def pyright(folder: Path) -> list[str]:
    """pyright with its standard checks."""
    options = {"include": ["*.py"], "extraPaths": [str(ROOT)], "typeCheckingMode": "standard"}
    (folder / "pyrightconfig.json").write_text(json.dumps(options), "utf-8")
    return [sys.executable, "-m", "pyright", "-p", str(folder), "--pythonpath", sys.executable]


def run(command: list[str], pages: dict[str, str]) -> int:
    """Run a checker, and print what it finds with the names of the pages."""
    environment = os.environ | {"MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    printed = done.stdout + done.stderr
    print(re.sub(r"\S*?(\w+\.py)(?=:\d)", lambda found: pages.get(found[1], found[0]), printed), end="")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
