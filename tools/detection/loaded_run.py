"""A checkpoint as test and eval use it: with the settings of its run, and where its results go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from models import CTRBOX
from tools.architecture import ARCHITECTURE_FLAGS, Architecture, check_flags
from tools.checkpoint import load_named, settings_in
from tools.class_choice import ClassChoice
from tools.config import Config, with_settings
from tools.detection.results import origin_of
from tools.outcomes import DetectionSettings, Tiling
from tools.run_folder import checkpoint_path, results_dir
from tools.running.destinations import refuse_data_folder, refuse_inputs

# What holds as in training where no flag says otherwise: of the labels, and of where the data are.
_LABELS = {"seed", "missing_labels", "on_bad_label", "classes"}
_DATA = {"data_dir", "dataset", "lists"}


class LoadedRun(NamedTuple):
    """A checkpoint ready to use: the settings (those of its run, the flags given now on top), where it lies, where
    results go, the network, what it is, and which of its classes are taken."""

    config: Config
    checkpoint: Path
    run_dir: Path
    model: CTRBOX
    architecture: Architecture
    choice: ClassChoice

    @property
    def class_names(self) -> tuple[str, ...]:
        """Those that are taken of the network's."""
        return self.choice.names

    @property
    def of_all_classes(self) -> LoadedRun:
        """The same with all classes of the network."""
        names = self.architecture.class_names
        return self._replace(choice=ClassChoice(names, None, str(self.checkpoint)))

    @property
    def settings(self) -> DetectionSettings:
        """Those of the detector among all settings."""
        config = self.config
        return DetectionSettings(
            num_peaks=config.K,
            conf_thresh=config.conf_thresh,
            nms_thresh=config.nms_thresh,
            true_rectangles=not config.quads,
            agnostic=config.agnostic_nms,
            num_views=config.tta_views,
            precision="fp32" if config.precision == "auto" else config.precision,
        )

    @property
    def tiling(self) -> Tiling | None:
        """How pictures are cut, None where they are not."""
        config = self.config
        return None if config.tile is None else Tiling(config.tile, config.overlap, config.scales)

    def origin(self, images: Mapping[str, Path], source: str) -> dict:
        """What the results on these pictures are results of."""
        return origin_of(
            self.checkpoint, source, images.values(), self.settings, self.tiling, self.architecture.reading
        )


def load_run(config: Config) -> LoadedRun:
    """The checkpoint of --resume or of the newest run. The data folder, its format and the split's seed come from its
    settings where no flag says otherwise."""
    path = checkpoint_path(config.resume)
    model, architecture, content = load_named(path, config.backbone if "backbone" in config.explicit else None)
    check_flags(config, architecture, path, [name for name in ARCHITECTURE_FLAGS if name != "backbone"])
    kept = settings_in(content)
    from_run = _LABELS if config.explicit & {"data_dir", "dataset"} else _LABELS | _DATA
    changes = {name: getattr(kept, name) for name in from_run - config.explicit}
    choice = ClassChoice(architecture.class_names, config.classes, str(path))
    config = with_settings(config, **changes)
    run_dir = results_dir(config, path)
    if config.input is None and config.data_dir is not None:
        refuse_data_folder(run_dir, config.data_dir, "--out")
        refuse_inputs(run_dir, config.data_dir, "--out")
    return LoadedRun(config, path, run_dir, model, architecture, choice)
