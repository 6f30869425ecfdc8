"""XML in any encoding reaches the handler, and what is no sound XML is refused with its line."""

from __future__ import annotations

from pathlib import Path
from xml.sax.handler import ContentHandler

import pytest

from datasets.label_formats.xml_documents import parse_document
from DOTA_devkit.labels import LabelError


class Names(ContentHandler):
    """Keeps the names and attributes of the elements."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def startElement(self, name: str, attrs) -> None:
        self.found.append((name, dict(attrs)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030", "big5", "cp932"])
def test_elements_reach_the_handler_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "图 1.xml"
    declared = encoding.removesuffix("-sig")
    path.write_bytes(f'<?xml version="1.0" encoding="{declared}"?>\n<a 名="大"><b/></a>'.encode(encoding))
    parse_document(path, handler := Names())
    assert handler.found == [("a", {"名": "大"}), ("b", {})]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "1: is not well-formed XML"),
        (b"<a>\n<b></a>", "2: is not well-formed XML"),
        ("<a>\n<b>垫圈</b></a>".encode("gbk"), "2: is not well-formed XML .*such as GBK, save it as UTF-8"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "1: declares entities, which are refused"),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "1: declares the encoding 'klingon', which nobody knows"),
        (b'<?xml version="1.0" encoding="big5"?>\n<a>\n\xff</a>', "3: is not text in big5"),
    ],
)
def test_what_is_no_sound_xml_is_refused_with_its_line(tmp_path: Path, data: bytes, sentence: str) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(data)
    with pytest.raises(LabelError, match=rf"a\.xml:{sentence}"):
        parse_document(path, Names())


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"none\.xml:1: cannot be read"):
        parse_document(tmp_path / "none.xml", Names())
