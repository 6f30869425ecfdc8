"""The network and what belongs to it: image -> maps -> boxes. Torch only; opens no files."""

from __future__ import annotations

from models.backbones import (
    ALIASES,
    BACKBONES,
    WEIGHTS_URLS,
    Backbone,
    BackboneError,
    build_backbone,
    check_declared,
    check_maps,
    class_in_file,
    known_backbones,
    load_pretrained,
    own_class,
    register_backbone,
    timm_name,
)
from models.combination import CombinationModule, channel_table
from models.ctrbox import CTRBOX, Maps, MapsAtCells
from models.decoder import Detections, decode
from models.input_channels import adapt_input, adapt_weights
from models.losses import BBAVectorsLoss
from models.positives import BatchTargets, Cells, Positives, find_positives
from models.preprocessing import IMAGENET, PUBLISHED, Preprocessing, normalize
from models.views import VIEWS, ViewedNetwork, maps_of_views, mirrored_maps

__all__ = [
    "ALIASES",
    "BACKBONES",
    "CTRBOX",
    "IMAGENET",
    "PUBLISHED",
    "VIEWS",
    "WEIGHTS_URLS",
    "BBAVectorsLoss",
    "Backbone",
    "BackboneError",
    "BatchTargets",
    "Cells",
    "CombinationModule",
    "Detections",
    "Maps",
    "MapsAtCells",
    "Positives",
    "Preprocessing",
    "ViewedNetwork",
    "adapt_input",
    "adapt_weights",
    "build_backbone",
    "channel_table",
    "check_declared",
    "check_maps",
    "class_in_file",
    "decode",
    "find_positives",
    "known_backbones",
    "load_pretrained",
    "maps_of_views",
    "mirrored_maps",
    "normalize",
    "own_class",
    "register_backbone",
    "timm_name",
]
