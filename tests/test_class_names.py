"""Classes get other names, become one, and are kept or told as strangers."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture, Row, as_labels
from datasets.label_formats.class_names import NOT_LISTED, keep_classes, rename_classes, strangers

NAMES = ("car", "cart", "DontCare", "car")


def annotated(*names: str, class_names: tuple[str, ...] = ()) -> AnnotatedSet:
    """One picture with an object of each name, and one without any."""
    labels = as_labels([Row(np.eye(4, 2), name, 0, line) for line, name in enumerate(names, 1)])
    return AnnotatedSet([Picture("a", labels), Picture("b")], class_names)


def test_classes_of_one_new_name_become_one_and_the_list_follows() -> None:
    before = annotated(*NAMES, class_names=("boat", "car", "cart"))
    after = rename_classes(before, {"car": "vehicle", "cart": "vehicle"})
    assert after.pictures[0].labels.names == ["vehicle", "vehicle", "DontCare", "vehicle"]
    assert after.class_names == ("boat", "vehicle")
    assert before.pictures[0].labels.names == [*NAMES]
    assert rename_classes(before, {}) == before


def test_two_classes_can_change_places() -> None:
    after = rename_classes(annotated(*NAMES, class_names=("car", "cart")), {"car": "cart", "cart": "car"})
    assert after.pictures[0].labels.names == ["cart", "car", "DontCare", "cart"]
    assert after.class_names == ("cart", "car")


def test_the_star_renames_all_other_classes_but_no_ignore_regions() -> None:
    after = rename_classes(annotated(*NAMES, class_names=("car", "cart")), {"*": "物体", "cart": "cart"})
    assert after.pictures[0].labels.names == ["物体", "cart", "DontCare", "物体"]
    assert after.class_names == ("物体", "cart")
    assert rename_classes(annotated(), {"*": "object"}) == annotated()


def test_a_class_becomes_an_ignore_region_and_leaves_the_list() -> None:
    after = rename_classes(annotated(*NAMES, class_names=("car", "cart")), {"cart": "DontCare"})
    assert after.pictures[0].labels.names == ["car", "DontCare", "DontCare", "car"]
    assert after.class_names == ("car",)


@pytest.mark.parametrize(
    ("renames", "said"),
    [
        ({"Carts": "car"}, "no class 'Carts' to rename; did you mean 'cart'?"),
        ({"zebra": "horse"}, "no class 'zebra' to rename; there are DontCare, car, cart"),
        ({"car": "a\x07b"}, r"holds characters that are no text"),
    ],
)
def test_a_rename_that_cannot_be_is_refused(renames: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rename_classes(annotated(*NAMES), renames)
    with pytest.raises(ValueError, match="there are none"):
        rename_classes(annotated(), {"car": "boat"})


def test_objects_of_classes_that_a_list_does_not_name_are_told_with_the_nearest() -> None:
    labels = annotated(*NAMES[:3], "zebra").pictures[0].labels
    found = strangers(labels, ("car", "boat"))
    assert [*found] == [1, 3]
    assert "did you mean 'car'?" in found[1]
    assert strangers(as_labels([]), ()) == {}


def test_only_listed_classes_are_kept_in_the_order_of_the_list() -> None:
    ledger = Ledger()
    kept = keep_classes(annotated(*NAMES), ["boat", "car"], ledger)
    assert kept.class_names == ("boat", "car")
    assert kept.pictures[0].labels.names == ["car", "DontCare", "car"]
    assert [(str(fault.path), fault.line) for fault in ledger.faults] == [("a", 2)]


def test_classes_that_a_list_leaves_out_are_no_faults_but_slips_of_the_pen_are() -> None:
    """To convert two classes of a data set ended with exit code 1, `left out without being asked for`."""
    ledger = Ledger()
    names = ("zebra", "large-vehicle", "small-vehicle", "carts", "small-vehicel", "zebra")
    kept = keep_classes(annotated(*names, class_names=("carts",)), ["small-vehicle", "cart"], ledger)
    assert kept.pictures[0].labels.names == ["small-vehicle"]
    assert [fault.line for fault in ledger.faults] == [5]
    doubt = "; is 'cart' of the list meant to be that class?"  # for it has no object
    counts = {
        NOT_LISTED.format("zebra"): 2,
        NOT_LISTED.format("large-vehicle"): 1,
        NOT_LISTED.format("carts") + doubt: 1,
    }
    assert ledger.changed == counts
