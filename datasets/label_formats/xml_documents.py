"""XML from strangers: parsed whole or refused with a line; entities are never expanded."""

from __future__ import annotations

from pathlib import Path
from xml.sax import SAXException, SAXParseException
from xml.sax.handler import ContentHandler

from defusedxml import DefusedXmlException
from defusedxml.sax import parse

from DOTA_devkit.labels import LabelError

LONGEST = 200  # characters of the parser's words, which repeat what is wrong in full


def parse_document(path: Path, handler: ContentHandler) -> None:
    """Send the elements of a file to the handler. Raises LabelError, with the line, for what is no sound XML."""
    try:
        with path.open("rb") as file:
            parse(file, handler, forbid_dtd=False)
    except OSError as error:
        raise LabelError(path, 1, f"cannot be read ({error.strerror or error}); check the path") from error
    except SAXParseException as error:
        line, why = error.getLineNumber() or 1, error.getMessage()
        raise LabelError(path, line, f"is not well-formed XML ({why}); mend or delete the file") from error
    except DefusedXmlException as error:
        why = f"declares entities, which are refused ({type(error).__name__}); remove the DOCTYPE"
        raise LabelError(path, 1, why) from error
    except LabelError:
        raise
    except (SAXException, ValueError, LookupError) as error:
        raise LabelError(
            path, 1, f"cannot be parsed as XML ({str(error)[:LONGEST]}); mend or delete the file"
        ) from error
