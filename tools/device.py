"""Where the arithmetic runs: device and precision by name or by what the machine has."""

from __future__ import annotations

import torch

from DOTA_devkit.reasons import first_line
from tools.config import PRECISIONS
from tools.running.command_line import SettingsError

_DTYPES = dict(zip(PRECISIONS, (torch.float32, torch.bfloat16, torch.float16), strict=True))


def pick_device(name: str, local_rank: int | None = None, local_ranks: int = 1) -> torch.device:
    """The device of --device; `auto` takes the GPU of this process on its machine, else the CPU. `local_rank` is its
    number there, None for one that no launcher started. Raises SettingsError for one that is absent."""
    if name == "meta":
        raise SettingsError("--device meta holds no numbers; give auto or cpu")
    if local_rank is not None and name.startswith("cuda:"):
        raise SettingsError(f"--device {name}: a launcher gives each process its own GPU; give auto")
    if name in ("auto", "cuda") and torch.cuda.is_available():
        if local_ranks > torch.cuda.device_count():
            num_gpus = torch.cuda.device_count()
            raise SettingsError(f"{local_ranks} processes, but {num_gpus} GPUs; start one a GPU, or give --device cpu")
        return torch.device("cuda", local_rank or 0)
    if name == "auto":
        return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        if name.isdigit():
            raise SettingsError(
                f"--device {name}: GPUs are called cuda:{name}; auto takes one where there is one"
            ) from error
        raise SettingsError(f"--device {name} is not here ({first_line(error)}); give auto or cpu") from error
    return device


def training_layout(device: torch.device, dtype: torch.dtype) -> torch.memory_format:
    """The order of a training step's maps in memory: channels_last on a GPU and in 16 bits; NCHW in fp32 on a CPU.

    There the backward pass of channels_last takes two to five times as long on processors without AVX-512
    (`python -m tools.benchmark train` measures both).
    """
    is_plain = device.type == "cpu" and dtype == torch.float32
    return torch.contiguous_format if is_plain else torch.channels_last


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype for --precision; `auto`, of training, takes bf16 where the machine multiplies it in hardware. Raises
    SettingsError for a name that is not known, and for one that the device has not."""
    if name == "fp16" and device.type == "cpu":
        raise SettingsError("--precision fp16 is for GPUs; give bf16 or fp32")
    if name != "auto":
        if name not in _DTYPES:
            raise SettingsError(f"--precision {name} is not known; give one of {', '.join(PRECISIONS)}")
        return _DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float32
    has_bf16 = device.type == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.bfloat16 if has_bf16 else torch.float32
