"""Run folders, `runs/<name>/`: where everything that a run writes lies, and how the newest one is found."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from tools.config import Config
from tools.running.command_line import SettingsError
from tools.running.destinations import refuse_data_folder, refuse_inputs
from tools.running.folder_lock import HAS_LOCKS
from tools.running.messages import log_warnings, warn
from tools.running.ranks import is_main_process

RUNS_DIR = Path("runs")
LAST, BEST, SETTINGS, LOG, METRICS = "last.pth", "best.pth", "settings.toml", "log.txt", "metrics.json"
METRICS_HEAD = '{\n  "mAP50":'  # by which such a file is known


class Log:
    """Prints lines and keeps them in the run folder's log, on the main process; warnings, which are printed elsewhere,
    stand there, too."""

    def __init__(self, run_dir: Path) -> None:
        if is_main_process():
            run_dir.mkdir(parents=True, exist_ok=True)
        self.path = run_dir / LOG
        if is_main_process():
            log_warnings(self._keep)

    def __call__(self, line: str) -> None:
        if not is_main_process():
            return
        print(line, flush=True)
        self._keep(line)

    def _keep(self, line: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")


def new_run_dir(config: Config, data_name: str) -> Path:
    """The folder of a new run: --out, or a name by data, backbone and time. Refuses a folder that holds a run."""
    if config.out is not None:
        if config.data_dir is not None:
            refuse_data_folder(config.out, config.data_dir, "--out")
            refuse_inputs(config.out, config.data_dir, "--out")
        # Settings alone are of a run that was stopped while it started; without locks, perhaps of one that starts.
        if any((config.out / name).exists() for name in (LAST, BEST, *(() if HAS_LOCKS else (SETTINGS,)))):
            remedy = f"continue it with --resume_train {shlex.quote(str(config.out))}, name another folder or remove it"
            raise SettingsError(f"--out {config.out} already holds a run; {remedy}")
        return config.out
    backbone = config.backbone.rpartition(":")[2].replace("/", "-")  # of path/to/file.py:MyNet the class
    stem = f"{data_name}-{backbone}-{time.strftime('%Y%m%d-%H%M%S')}"
    run_dir, number = RUNS_DIR / stem, 2
    while True:
        try:
            run_dir.mkdir(parents=True)
            return run_dir
        except FileExistsError:  # of another run that began within the same second
            run_dir, number = RUNS_DIR / f"{stem}-{number}", number + 1


def newest_run(file_name: str) -> Path:
    """`file_name` of the run folder whose checkpoint is newest. Raises SettingsError when there is no run."""
    found = [path for path in RUNS_DIR.glob(f"*/{file_name}") if path.is_file()]
    if not found:
        raise SettingsError(
            f"no {RUNS_DIR}/*/{file_name} here: train first (python main.py --phase train), or name the run, "
            + ("--resume_train RUN_FOLDER" if file_name == LAST else "--resume RUN_FOLDER")
        )
    newest = max(found, key=lambda path: path.stat().st_mtime)
    begun = max(RUNS_DIR.glob(f"*/{SETTINGS}"), key=lambda path: path.stat().st_mtime, default=newest)
    if begun.parent != newest.parent and begun.stat().st_mtime > newest.stat().st_mtime:
        warn(f"{begun.parent} is newer but has no {file_name} yet; taking {newest.parent}")
    return newest


def checkpoint_path(resume: Path | None) -> Path:
    """The checkpoint to use: that of --resume (a file or a run folder), else the best one of the newest run."""
    return newest_run(BEST) if resume is None else weights_in(resume)


def weights_in(place: Path) -> Path:
    """The checkpoint of a run folder, its best; or the file itself."""
    if not place.is_dir():
        return place
    if not (place / BEST).exists() and (place / LAST).exists():
        warn(f"{place} has no {BEST} yet, which its first validation writes; taking {LAST}")
        return place / LAST
    return place / BEST


def results_dir(config: Config, checkpoint: Path) -> Path:
    """The run folder that test and eval write to: --out, else the checkpoint's own run; a checkpoint from elsewhere
    gets a folder of its own under runs/, for nothing is written beside inputs."""
    if config.out is not None:
        return config.out
    if (checkpoint.parent / SETTINGS).is_file():
        return checkpoint.parent
    return RUNS_DIR / f"test-{checkpoint.stem}"
