"""Objects that were found in several pictures of one place: of boxes that overlap on the map the best stays."""

from __future__ import annotations

import numpy as np

from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture, take_objects
from datasets.picture_files.georeference import (
    LONGITUDE_LATITUDE,
    GeoreferenceError,
    between,
    read_crs,
    read_georeference,
)
from DOTA_devkit import poly_nms

TWICE = "objects that a better one of their class overlaps on the map were left out, as asked"
POLAR = 85.0  # degrees of latitude
PER_DEGREE = 1e6  # units: about a decimetre each. What overlaps by how much does not depend on a map's scales


def without_repeated(annotated: AnnotatedSet, ledger: Ledger, nms_thresh: float) -> AnnotatedSet:
    """The set of predictions without those that a better one of their class overlaps on the map by more than
    `nms_thresh` (IoU), in whatever picture. Pictures that do not tell where they lie stay as they are.

    Boxes whose centres lie on either side of 85 degrees of latitude are not compared.
    """
    on_map = [_on_earth(picture) for picture in annotated.pictures]
    placed = [row for row, quads in enumerate(on_map) if quads is not None]
    if not placed:
        return annotated
    pictures = [annotated.pictures[row] for row in placed]
    quads = np.concatenate([on_map[row] for row in placed])
    scores = np.concatenate([picture.scores for picture in pictures])
    names = np.array([name for picture in pictures for name in picture.labels.names])
    owner = np.repeat(placed, [len(picture.scores) for picture in pictures])
    index = np.concatenate([np.arange(len(picture.scores)) for picture in pictures])
    has_place = np.isfinite(quads).all(axis=(1, 2))  # those without one overlap nothing, and stay
    sound = np.flatnonzero(has_place)
    best = sound[poly_nms(_flat(quads[sound]) * PER_DEGREE, scores[sound], nms_thresh, names[sound])]
    best = np.sort(np.concatenate([best, np.flatnonzero(~has_place)]))
    ledger.changed[TWICE] += len(scores) - len(best)
    kept = list(annotated.pictures)
    for row in placed:
        kept[row] = take_objects(kept[row], index[best[owner[best] == row]])
    return annotated._replace(pictures=kept)


def _on_earth(picture: Picture) -> np.ndarray | None:
    """The quads (N, 4, 2) of a picture in longitude and latitude; None where these are not known."""
    if picture.path is None or picture.scores is None or not len(picture.scores):
        return None
    try:
        place = read_georeference(picture.path)
    except GeoreferenceError:
        return None
    points = between(place.crs, read_crs(LONGITUDE_LATITUDE), place.to_map(picture.labels.quads.reshape(-1, 2)))
    return points.reshape(-1, 4, 2)


def _flat(quads: np.ndarray) -> np.ndarray:
    """Quads (N, 4, 2) in longitude and latitude on one plane, in which what lies together on the Earth does: cut where
    the most longitudes are without a box, and around the poles by the distance from them."""
    longitude, latitude = quads[..., 0], quads[..., 1]
    aside = (longitude - longitude[:, :1] + 180) % 360 - 180  # of a box's corners from its first, across the 180th too
    centre = (longitude[:, 0] + aside.mean(axis=1)) % 360
    places = np.sort(centre)
    start = places[np.argmax(np.diff(places, prepend=places[-1] - 360))]  # the eastern end of the widest gap
    turned = ((centre - start) % 360 - aside.mean(axis=1))[:, None] + aside
    is_polar = np.abs(latitude).mean(axis=1, keepdims=True) > POLAR
    away, angle = 90 - np.abs(latitude), np.deg2rad(longitude)
    elsewhere = 1000 * np.sign(latitude)  # degrees, where no other box is
    around = np.stack([away * np.cos(angle) + elsewhere, away * np.sin(angle)], axis=-1)
    return np.where(is_polar[..., None], around, np.stack([turned, latitude], axis=-1))
