"""XML in any encoding reaches the handler, and what is no sound XML is refused with its line."""

from __future__ import annotations

from pathlib import Path
from xml.sax.handler import ContentHandler

import pytest

from datasets.label_formats.xml_documents import parse_document
from datasets.label_formats.xml_labels import read_rolabelimg
from DOTA_devkit.labels import LabelError
from tests.test_xml_labels import rolabelimg_object, write


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


@pytest.mark.parametrize(
    ("declared", "written", "name"),
    [
        ("gb2312", "gbk", "船喆"),  # the second character is in GBK only, which Windows writes under the name gb2312
        ("GBK", "gbk", "船"),
        ("gb18030", "gb18030", "船"),
        ("Big5", "big5", "船"),
        ("Shift_JIS", "cp932", "船①"),
        ("EUC-KR", "euc_kr", "배"),
        ("windows-1251", "cp1251", "корабль"),
        ("latin-1", "latin-1", "bâteau"),
        ("iso-8859-1", "latin-1", "bâteau"),
        ("us-ascii", "ascii", "ship"),
        ("utf-16", "utf-16", "船"),
        ("UTF-16", "utf-16-be", "船"),
        ("utf-32", "utf-32", "船"),
        ("utf-16", "utf-8", "船"),  # what .NET writes when it writes text first
        ("gb2312", "utf-8-sig", "船"),  # saved anew by an editor that knows nothing of XML
        ("gbk", "utf-16", "船"),
        ("utf-8", "utf-8-sig", "船"),
    ],
)
def test_any_encoding_that_the_file_declares_is_read(tmp_path: Path, declared: str, written: str, name: str) -> None:
    path = tmp_path / "a.xml"
    body = f"<annotation>{rolabelimg_object(name=f'<name>{name}</name>')}</annotation>"
    mark = "\ufeff" if written == "utf-16-be" else ""
    path.write_bytes(f'{mark}<?xml version="1.0" encoding="{declared}"?>\n{body}'.encode(written))
    labels = read_rolabelimg(path)
    assert labels.names == [name]
    assert labels.lines.tolist() == [2]


@pytest.mark.parametrize("name", ["klingon", "rot13", "zlib", "punycode", "idna", "unicode_escape", "undefined"])
def test_an_encoding_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(f'<?xml version="1.0" encoding="{name}"?><annotation/>', encoding="utf-8")
    with pytest.raises(LabelError, match=r"a\.xml:1: "):
        read_rolabelimg(path)


def test_text_that_is_not_in_its_declared_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(b'<?xml version="1.0" encoding="euc-jp"?>\n<annotation>\n\xff</annotation>')
    with pytest.raises(LabelError, match=r"a\.xml:3: is not text in euc_jp"):
        read_rolabelimg(path)


def test_entities_in_another_encoding_are_refused_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    text = f'<?xml version="1.0" encoding="utf-7"?>{BOMB}<annotation>&i;</annotation>'
    for encoding in ("ascii", "utf-16", "utf-32"):  # plain characters are the same in utf-7 as in ascii
        path.write_bytes(text.encode(encoding))
        with pytest.raises(LabelError, match=r"a\.xml:1: declares entities, which are refused"):
            read_rolabelimg(path)


def test_broken_xml_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, rolabelimg_object(), rolabelimg_object().replace("</name>", "</nome>"))
    for on_bad in (None, lambda error: None):  # never skipped: all its objects would be trained as background
        with pytest.raises(LabelError, match=r"图 1\.xml:3: is not well-formed XML \(mismatched tag\)"):
            read_rolabelimg(path, on_bad)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", 1),
        ("no XML at all", 1),
        ("<annotation>\n<object>\n<name>ship", 3),
        ("<annotation>\n&nosuch;</annotation>", 2),
        ("<annotation>\n\xff</annotation>", 2),
        ("<annotation/>\n<annotation/>", 2),
    ],
    ids=["empty", "text", "cut off", "unknown entity", "not UTF-8", "two roots"],
)
def test_a_file_that_is_not_xml_is_named_with_its_line(tmp_path: Path, content: str, line: int) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(LabelError, match=rf"a\.xml:{line}: is not well-formed XML"):
        read_rolabelimg(path)


def test_a_file_in_place_of_which_there_is_nothing_or_a_folder_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "lost.xml", tmp_path):
        with pytest.raises(LabelError, match=f"{path.name}.*cannot be read"):
            read_rolabelimg(path)


BOMB = (
    '<!DOCTYPE a [<!ENTITY a "lol">'
    + "".join(f'<!ENTITY {y} "{f"&{x};" * 10}">' for x, y in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>"
)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (BOMB, "&i;"),
        ('<!DOCTYPE a [<!ENTITY secret SYSTEM "file:///etc/hostname">]>', "&secret;"),
        ('<!DOCTYPE a [<!ENTITY secret SYSTEM "http://127.0.0.1:9/x">]>', "&secret;"),
        ('<!DOCTYPE a [<!ENTITY % remote SYSTEM "http://127.0.0.1:9/x.dtd">%remote;]>', "ship"),
        ('<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd">', "ship"),
    ],
    ids=["bomb", "file", "address", "parameter", "document type"],
)
def test_entities_are_refused_before_they_are_expanded(tmp_path: Path, head: str, name: str) -> None:
    path = write(tmp_path, rolabelimg_object(name=f"<name>{name}</name>"), head=head)
    with pytest.raises(LabelError, match=r"图 1\.xml:1: declares entities, which are refused"):
        read_rolabelimg(path)


def test_a_document_type_alone_does_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path, rolabelimg_object(), head="<!DOCTYPE annotation>")
    assert read_rolabelimg(path).names == ["ship"]
