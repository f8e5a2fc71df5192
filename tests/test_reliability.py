"""The table of reliability and its tests name each other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROWS = {
    int(row): files
    for row, files in re.findall(
        r"^\| R(\d+) \|.*\| ([^|]*`test_[^|]*) \|$",
        (ROOT / "docs" / "reliability.md").read_text("utf-8"),
        re.MULTILINE,
    )
}


def test_each_row_has_a_test_in_the_files_that_it_names() -> None:
    assert set(range(1, 42)) <= ROWS.keys() and sorted(ROWS) == list(ROWS)
    for row, files in ROWS.items():
        for file in re.findall(r"`(test_\w+\.py)`", files):
            (path,) = (ROOT / "tests").rglob(file)
            text = path.read_text("utf-8")
            assert file in ("test_decoding_law.py", "test_framing.py") or f"def test_R{row:02}_" in text, file


def test_each_test_of_a_row_is_in_a_file_that_its_row_names() -> None:
    for file in sorted((ROOT / "tests").glob("**/test_*.py")):
        for row in set(re.findall(r"^def test_R(\d\d)_", file.read_text("utf-8"), re.MULTILINE)):
            assert file.name in ROWS[int(row)]
