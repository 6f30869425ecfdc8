"""A backbone from a file of the user's own: `--backbone path/to/file.py:MyNet`.

Such a file is a program, and it is run. So it is run only when the user names it in this very call, by the flag or in
the file of --config: a checkpoint that names one is refused until the user names it too. The class name is what counts
then, so the file may have moved.
"""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from DOTA_devkit.reasons import first_line
from models import ALIASES, Backbone, BackboneError, check_maps, class_in_file, own_class
from tools.config import Config
from tools.running.command_line import SettingsError


def run_named_file(config: Config) -> None:
    """Run the file of `--backbone FILE.py:CLASS`, if the user gave one now; its class can then be built by name.

    Raises SettingsError as `register_from_file` does.
    """
    if "backbone" in config.explicit:
        register_from_file(config.backbone)


def register_from_file(reference: str, *, is_probed: bool = True) -> None:
    """Run `path/to/file.py:MyNet`, and check on a small image that the class keeps the contract (with `is_probed`);
    nothing for the name of any other backbone.

    Raises:
        SettingsError: no such file or class, an error in the file, told with its line, or a promise that is not kept.
    """
    named = class_in_file(reference)
    if named is None:
        return
    path, kind = Path(named[0]), named[1]
    module = _run(path)
    found = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Backbone) and value.__module__ == module.__name__
    }
    if kind not in found:
        near = get_close_matches(kind, found, n=1) or list(found)
        hint = f"; did you mean {path}:{near[0]}?" if near else "; write a class made from models.Backbone"
        raise SettingsError(f"--backbone {reference}: {path} holds no backbone '{kind}'{hint}")
    if own_class(kind) is not found[kind]:
        raise SettingsError(
            f"--backbone {reference}: class {kind} is not registered; write @register_backbone (from models) above it"
        )
    if is_probed:
        with told_with_line(path):
            check_maps(found[kind](), reference)


def same_backbone(one: str, other: str) -> bool:
    """Whether two names mean one backbone: an alias and timm's name do, and of files it is the class that counts."""
    first, second = class_in_file(one), class_in_file(other)
    if first is not None and second is not None:
        return first[1] == second[1]
    return ALIASES.get(one, one) == ALIASES.get(other, other)


def _run(path: Path) -> ModuleType:
    """Run the file as a module. Its neighbours can be imported at its top; no byte code is written beside it."""
    try:
        source = path.read_bytes()
    except OSError as error:
        reason = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise SettingsError(f"--backbone {path}: the file {reason}; name the place where it is now") from error
    module = ModuleType(f"own_backbone_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pickle look a class's module up
    folder, wrote_bytecode = str(path.resolve().parent), sys.dont_write_bytecode
    sys.path.append(folder)
    sys.dont_write_bytecode = True
    try:
        with told_with_line(path):
            exec(compile(source, str(path), "exec"), vars(module))
    finally:
        sys.path.remove(folder)
        sys.dont_write_bytecode = wrote_bytecode
    return module


@contextmanager
def told_with_line(path: Path) -> Iterator[None]:
    """A block that runs the user's file: its errors become a SettingsError with the line that they come from."""
    linecache.checkcache(str(path))
    try:
        yield
    except BackboneError as error:
        raise SettingsError(f"{path}: {error}") from error
    except SyntaxError as error:
        text = f": {error.text.strip()}" if error.text else ""
        where = f"{error.filename}, line {error.lineno}" if error.filename and error.lineno else str(path)
        raise SettingsError(f"{where}: {error.msg}{text}") from error
    except (Exception, SystemExit) as error:
        steps = [step for step in traceback.extract_tb(error.__traceback__) if Path(step.filename) == path]
        where = f"{path}, line {steps[-1].lineno}" if steps else str(path)
        code = f" in `{steps[-1].line}`" if steps and steps[-1].line else ""
        raise SettingsError(f"{where}: {type(error).__name__}{code}: {first_line(error)}") from error
