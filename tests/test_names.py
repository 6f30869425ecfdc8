"""Names that look the same are the same, whatever wrote them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from DOTA_devkit.names import as_class_name, as_class_names, spelling_in, spellings

ONE_CHARACTER, TWO_CHARACTERS = "Gerät", "Gera\u0308t"


def test_a_class_has_one_name_however_its_umlaut_is_written() -> None:
    assert as_class_name(TWO_CHARACTERS) == as_class_name(ONE_CHARACTER) == ONE_CHARACTER
    assert as_class_name("  storage\u3000tank\t") == "storage tank"


@pytest.mark.slow
@given(st.text())
def test_a_class_name_stays_what_it_has_become(text: str) -> None:
    name = as_class_name(text)
    assert as_class_name(name) == name


@pytest.mark.parametrize("name", [ONE_CHARACTER, TWO_CHARACTERS, "plain", ""])
def test_a_name_comes_before_its_other_spellings(name: str) -> None:
    found = spellings(name)
    assert found[0] == name
    assert {*found} == {name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)}
    assert len(found) == len({*found})


def test_classes_of_earlier_files_are_in_one_form_unless_two_would_be_one() -> None:
    assert as_class_names([TWO_CHARACTERS, "car"]) == (ONE_CHARACTER, "car")
    assert as_class_names([TWO_CHARACTERS, ONE_CHARACTER]) == (TWO_CHARACTERS, ONE_CHARACTER)
    assert as_class_names(["a", "a"]) == ("a", "a")


def test_of_two_spellings_that_are_there_the_name_itself_is_found() -> None:
    both = {ONE_CHARACTER: 1, TWO_CHARACTERS: 2}
    assert [both[spelling_in(both, name)] for name in both] == [1, 2]
    assert spelling_in({ONE_CHARACTER}, TWO_CHARACTERS) == ONE_CHARACTER
    assert spelling_in({TWO_CHARACTERS}, ONE_CHARACTER) == TWO_CHARACTERS
    assert spelling_in({"car"}, ONE_CHARACTER) is None
