"""The objects of an annotation in XML, as fields of text: of VOC and its descendants, and of HRSC2016."""

from __future__ import annotations

from xml.sax.handler import ContentHandler

BOX_TAGS = ("robndbox", "bndbox", "polygon")
# Fields of an object, where no tag can be called so.
SECOND_BOX, ROTATION, OUTLINE = "second box", "attribute rotation", "points of an outline"

Field = tuple[str, int]  # text and line


class ObjectHandler(ContentHandler):
    """Collects of every object element its children and its box's, {tag: (text, line)}, and the size of the picture.

    What lies deeper or elsewhere (the parts of VOC, the attributes of CVAT) has names and boxes of its own; of these
    the attribute `rotation` alone is kept, under ROTATION. Of FAIR1M's objects the first possible result has the name,
    and the points of the outline stand under OUTLINE, one after the other.
    """

    def __init__(self, object_tag: str) -> None:
        super().__init__()
        self.object_tag = object_tag
        self.root: Field | None = None
        self.objects: list[dict[str, Field]] = []
        self.size: dict[str, str] = {}
        self._fields: dict[str, Field] | None = None
        self._attribute: dict[str, Field] = {}
        self._path: list[str] = []  # of the element that is open, from the object element or from the root on
        self._outer: list[str] = []
        self._text: list[str] = []

    def setDocumentLocator(self, locator) -> None:
        self._locator = locator

    def startElement(self, name: str, attrs) -> None:
        line = self._locator.getLineNumber()
        self._text = []
        if self.root is None:
            self.root = (name, line)
        elif self._fields is None and name == self.object_tag:
            self._fields = {"": ("", line)}
            self._outer, self._path = self._path, []
        else:
            self._path.append(name)
            if self._fields is not None and self._is_field():
                if name in BOX_TAGS and name in self._fields:
                    self._fields.setdefault(SECOND_BOX, ("", line))
                self._fields.setdefault(name, ("", line))
            elif self._fields is not None and self._path == ["attributes", "attribute"]:
                self._attribute = {"": ("", line)}
            elif self._fields is not None and self._path in (["possibleresult", "name"], ["points", "point"]):
                self._fields.setdefault(OUTLINE if name == "point" else name, ("", line))

    def characters(self, content: str) -> None:
        self._text.append(content)

    def endElement(self, name: str) -> None:
        text = "".join(self._text).strip()
        self._text = []
        if self._path:
            if self._fields is None and self._path[:-1] == ["size"]:
                self.size.setdefault(name, text)
            elif self._fields is not None:
                self._end_field(name, text)
            self._path.pop()
        elif self._fields is not None:
            self.objects.append(self._fields)
            self._fields, self._path = None, self._outer

    def _end_field(self, name: str, text: str) -> None:
        """At the end of an element within an object."""
        fields = self._fields
        if self._path[:2] == ["attributes", "attribute"]:
            self._end_attribute(name, text)
        elif self._is_field() and text:
            fields[name] = (text, fields[name][1])
        elif self._path == ["possibleresult", "name"]:
            fields[name] = (fields[name][0] or text, fields[name][1])
        elif self._path == ["points", "point"]:
            point = "".join(text.split()) or ","  # an empty one is a fault, and no corner less
            fields[OUTLINE] = (f"{fields[OUTLINE][0]} {point}", fields[OUTLINE][1])

    def _end_attribute(self, name: str, text: str) -> None:
        """At the end of an attribute of CVAT's, or of its <name> or <value>."""
        if len(self._path) == 3:
            self._attribute[name] = (text, self._attribute[""][1])
            return
        named = self._attribute.get("name", ("", 0))[0]
        if len(self._path) == 2 and named == "rotation" and "value" in self._attribute:
            self._fields[ROTATION] = self._attribute["value"]

    def _is_field(self) -> bool:
        return len(self._path) == 1 or (len(self._path) == 2 and self._path[0] in BOX_TAGS)
