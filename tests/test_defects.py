"""tools/guides/defects.md tells of every defect by whose number the tests call it, and where the tests of each are."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
GUIDE = (TESTS.parent / "tools" / "guides" / "defects.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \|.*\| `(test_\w+)` \|$", re.MULTILINE)
NAMED = re.compile(r"[Dd]efects? (\d+(?:(?:, | and )\d+)*)")


def _numbers_in(path: Path) -> set[int]:
    text = path.read_text(encoding="utf-8")
    return {int(number) for numbers in NAMED.findall(text) for number in re.findall(r"\d+", numbers)}


def test_a_defect_is_named_in_the_file_of_tests_that_the_guide_tells():
    rows = {int(number): name for number, name in ROW.findall(GUIDE)}
    assert [*rows] == [*range(1, 27)]
    unheld = {number: name for number, name in rows.items() if number not in _numbers_in(TESTS / f"{name}.py")}
    assert unheld == {}


def test_every_number_that_a_test_names_is_told_of():
    named = set().union(*(_numbers_in(path) for path in TESTS.glob("test_*.py")))
    assert named == {int(number) for number, _ in ROW.findall(GUIDE)}
