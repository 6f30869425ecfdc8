"""JSON is read whole or refused with a line, however it is damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from datasets.label_formats import json_documents
from datasets.label_formats.json_documents import ROOT, entries_by_line, read_document
from DOTA_devkit.labels import LabelError
from tests.label_documents import write


def test_entries_of_lists_know_their_lines(tmp_path: Path) -> None:
    text = '\ufeff{ "a": [\n 1,\n\n {"b": [1,\n 2]}, []\n],\n "c": {"d": []},\r\n"e":[ ] }\n'
    document = read_document(write(tmp_path / "图 1.json", text))
    assert document.fields == {"a": [1, {"b": [1, 2]}, []], "c": {"d": []}, "e": []}
    assert document.entries("a") == [(2, 1), (4, {"b": [1, 2]}), (5, [])]
    assert document.entries("e") == []


def test_a_list_may_be_the_root(tmp_path: Path) -> None:
    assert read_document(write(tmp_path / "a.json", "[\n1,\n2]")).entries(ROOT) == [(2, 1), (3, 2)]
    assert read_document(write(tmp_path / "a.json", "[]")).entries(ROOT) == []


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("", 1, "is not JSON"),
        ("{", 1, "is not JSON"),
        ('{"a": [1,\n2', 2, "is not JSON"),
        ('{"a": [1,\n2,]}', 2, "is not JSON"),
        ('{"a": 1\n"b": 2}', 2, "is not JSON"),
        ('{"a": [{}\n]]', 2, "is not JSON"),
        ("{a: 1}", 1, "is not JSON"),
        ("{}\n{}", 2, r"is not JSON \(Extra data"),
        ('{"a": "x\ny"}', 1, "is not JSON"),
        ("12", 1, "holds 12 and nothing else"),
        ('{"a": 1,\n"a": 2}', 2, "the key 'a' stands twice"),
        ('{"a": [\n1,\n{"b": 1, "b": 1}]}', 3, "the key 'b' stands twice"),
        ('{"a": [1,\n' + "[" * 100_000, 2, "nested too deep|is not JSON"),
        ('{"a":\n' + '{"a":' * 100_000, 2, "nested too deep|is not JSON"),
    ],
)
def test_what_is_no_sound_json_is_refused_with_its_line(tmp_path: Path, text: str, line: int, sentence: str) -> None:
    with pytest.raises(LabelError, match=rf"图 1\.json:{line}: .*({sentence})"):
        read_document(write(tmp_path / "图 1.json", text))


def test_bytes_that_are_no_text_and_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a":\n"\xff"}')
    with pytest.raises(LabelError, match=r"a\.json:2: is not UTF-8"):
        read_document(path)
    for missing in (tmp_path / "none.json", tmp_path):
        with pytest.raises(LabelError, match="cannot be read"):
            read_document(missing)


def test_whole_numbers_of_64_bits_and_more_are_read(tmp_path: Path) -> None:
    """Ids made by hashing were infinite."""
    assert read_document(write(tmp_path / "a.json", f'{{"id": {2**63 - 1}, "b": -{2**128}}}')).fields == {
        "id": 2**63 - 1,
        "b": -(2**128),
    }


def test_numbers_of_thousands_of_digits_are_infinite_and_not_an_error_of_python(tmp_path: Path) -> None:
    document = read_document(write(tmp_path / "a.json", f'{{"a": [{"9" * 5000}, -{"9" * 5000}, 1e999]}}'))
    assert document.fields["a"] == [float("inf"), float("-inf"), float("inf")]


RECORDS = [{"image": f"图 {number}.png", "boxes": [{"score": 0.5}] * number} for number in range(4)]


def by_line(records: list[dict]) -> str:
    return "[" + ",".join("\n" + json.dumps(record, ensure_ascii=False) for record in records) + "\n]\n"


@pytest.mark.parametrize("records", [RECORDS, RECORDS[:1], []])
def test_entries_of_a_line_each_are_those_of_the_whole_document(tmp_path: Path, records: list[dict]) -> None:
    for text in (by_line(records), json.dumps(records, indent=1), json.dumps(records)):
        path = tmp_path / "a.json"
        path.write_text(text, encoding="utf-8")
        assert list(entries_by_line(path)) == read_document(path).entries(ROOT)


def test_entries_of_a_line_each_are_read_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million boxes took seven times the size of their file."""
    (tmp_path / "a.json").write_text(by_line(RECORDS), encoding="utf-8")
    monkeypatch.setattr(json_documents, "read_document", lambda path: pytest.fail("all at once"))
    assert [line for line, _ in entries_by_line(tmp_path / "a.json")] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda text: text[: len(text) // 2], 4),  # cut off
        (lambda text: text.replace('"boxes": []', '"boxes": [}'), 2),
        (lambda text: text.replace('"boxes": []', '"image": "b"'), 2),  # twice
        (lambda text: text + "x", 7),
        (lambda text: text.replace("},\n", "}\n", 1), 3),
    ],
)
def test_a_damaged_entry_is_told_with_its_line(tmp_path: Path, change: Callable[[str], str], line: int) -> None:
    (tmp_path / "a.json").write_text(change(by_line(RECORDS)), encoding="utf-8")
    with pytest.raises(LabelError) as caught:
        list(entries_by_line(tmp_path / "a.json"))
    assert caught.value.line == line


def test_two_entries_on_a_line_are_read_too(tmp_path: Path) -> None:
    text = '[\n{"a": 1},\n{"b": 2}, {"c": 3},\n{"d": 4}\n]\n'
    path = write(tmp_path / "a.json", text)
    assert list(entries_by_line(path)) == [(2, {"a": 1}), (3, {"b": 2}), (3, {"c": 3}), (4, {"d": 4})]
