"""The one way in which this package compiles a function with numba: cached on disk where that is possible."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numba


def njit(function: Callable) -> Callable:
    """Compile `function` in numba's nopython mode, without the GIL; division by zero gives inf or NaN as in numpy.

    The machine code is kept in numba's cache folder, so that a machine pays for the compilation once. Where no such
    folder can be written (a read-only installation without a home), numba refuses to cache with a RuntimeError;
    then the function is compiled anew in each process. No fast-math: results are the same on every machine.
    Nothing in C calls a kernel, so that the wrapper for that, which takes its time to compile, is left out.
    """
    options = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    function.__qualname__ += _imports_stamp(function)
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        return numba.njit(**options)(function)


def _imports_stamp(function: Callable) -> str:
    """A short hash of the source of the kernels that the function's module has imported by name; empty for none.

    Numba keys its cache by the function's name and the contents of its own file. A kernel that calls one of another
    file contains that one's code, and would go on running it after an update. With the hash in the name it cannot.
    """
    kernels = {
        (kernel.py_func.__code__.co_filename, kernel.py_func.__qualname__)
        for kernel in function.__globals__.values()
        if hasattr(kernel, "py_func") and kernel.py_func.__module__ != function.__module__
    }
    if not kernels:
        return ""
    digest = hashlib.sha256(repr(sorted(name for _, name in kernels)).encode())
    for path in sorted({path for path, _ in kernels}):
        digest.update(Path(path).read_bytes())
    return "_" + digest.hexdigest()[:12]
