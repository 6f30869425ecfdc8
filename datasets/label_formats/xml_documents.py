"""XML from strangers, in any encoding: parsed whole or refused with a line; entities are never expanded."""

from __future__ import annotations

import codecs
import re
from io import BytesIO
from pathlib import Path
from xml.sax import SAXException, SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import InputSource

from defusedxml import DefusedXmlException
from defusedxml.sax import parse

from DOTA_devkit.labels import LabelError

LONGEST = 200  # characters of the parser's words, which repeat what is wrong in full
DECLARED_ENCODING = re.compile(rb"\s*<\?xml[^>]{0,200}?\sencoding\s*=\s*[\"']([\w.:-]+)[\"']")
BYTE_ORDER_MARKS = {  # the longer ones first: UTF-16's are the beginning of UTF-32's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
EXPAT_ENCODINGS = ("utf-8", "utf-16", "iso8859-1", "ascii")  # as Python spells the four that the parser reads itself
SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949"}  # what Windows writes
NO_CHARACTER = "not well-formed (invalid token)"  # expat's word for bytes that are none in the encoding, too
NO_ENCODINGS = ("idna", "punycode", "unicode-escape", "raw-unicode-escape")  # Python's, of names and of source code


def parse_document(path: Path, handler: ContentHandler) -> None:
    """Send the elements of a file, in whatever encoding it declares, to the handler. Raises LabelError, with the line,
    for what is no sound XML, and for what the handler finds wrong."""
    try:
        parse(_open_source(path), handler, forbid_dtd=False)
    except OSError as error:
        raise LabelError(path, 1, f"cannot be read ({error.strerror or error}); check the path") from error
    except SAXParseException as error:
        line, why = error.getLineNumber() or 1, error.getMessage()
        remedy = "mend or delete the file"
        if why == NO_CHARACTER:
            remedy = (
                "mend the line (& is written &amp; and < &lt;), or, if its text is in another encoding than it "
                "declares, such as GBK, save it as UTF-8"
            )
        raise LabelError(path, line, f"is not well-formed XML ({why}); {remedy}") from error
    except DefusedXmlException as error:
        why = f"declares entities, which are refused ({type(error).__name__}); remove the DOCTYPE"
        raise LabelError(path, 1, why) from error
    except LabelError:
        raise
    except (SAXException, ValueError, LookupError) as error:
        why = f"cannot be parsed as XML ({str(error)[:LONGEST]}); mend or delete the file"
        raise LabelError(path, 1, why) from error


def _open_source(path: Path) -> InputSource:
    """The file's bytes for the parser, which knows four encodings; from any other they are translated to UTF-8."""
    data = path.read_bytes()
    source = InputSource()
    encoding = _foreign_encoding(path, data)
    if encoding is not None:
        try:
            data = data.decode(encoding).encode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise LabelError(
                path, line, f"is not text in {encoding}, as it declares; save it as UTF-8", "encoding"
            ) from error
        source.setEncoding("utf-8")  # whatever the file goes on to declare
    source.setByteStream(BytesIO(data))
    return source


def _foreign_encoding(path: Path, data: bytes) -> str | None:
    """The encoding that Python has to read; None where the parser can.

    A byte order mark counts more than the declaration, which an editor leaves as it was when it saves a file as UTF-8;
    and a declaration that reads as ASCII is not in UTF-16, whatever it says (a habit of .NET's).
    """
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return encoding
    declared = DECLARED_ENCODING.match(data)
    if declared is None:
        return None
    name = declared[1].decode("ascii", "replace")
    try:
        encoding = codecs.lookup(name).name
    except LookupError:
        encoding = ""
    if not encoding or encoding in NO_ENCODINGS:
        raise LabelError(path, 1, f"declares the encoding {name!r}, which nobody knows; save it as UTF-8", "encoding")
    if encoding.startswith(("utf-16", "utf-32")):
        return "utf-8"
    return None if encoding in EXPAT_ENCODINGS else SUPERSETS.get(encoding, encoding)
