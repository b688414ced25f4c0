"""Precision, chosen from the hardware.

Measured: on CPUs with AMX or AVX-512 bf16 instructions, bf16 autocast with channels_last trains a
U-Net two to five times faster than plain float32. Without them bf16 is emulated and slower than
float32, so it is not chosen by itself.
"""

from __future__ import annotations

import ctypes
import platform
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch

from l4s_ensemble.errors import ConfigError

LAYOUT = torch.channels_last
"""Of weights and activations: pixel by pixel."""

DEVICES = "auto, cpu, cuda, cuda:<number>, or several joined by commas"


@dataclass(frozen=True)
class Hardware:
    """Device and precision of the network.

    Attributes
    ----------
    device : torch.device
    precision : {'float32', 'bfloat16'}
        Type of the convolutions. Weights, losses and statistics are always float32.
    reason : str
        Why, for the log and the report.
    """

    device: torch.device
    precision: str
    reason: str

    def autocast(self) -> AbstractContextManager[object]:
        """Context in which the network computes in the chosen precision."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"
        )

    def place(self, network: torch.nn.Module) -> torch.nn.Module:
        """Move a network to the device and into the layout."""
        # nn.Module.to knows memory_format, its stub does not with both arguments.
        return network.to(self.device).to(memory_format=LAYOUT)  # type: ignore[call-overload, no-any-return]


def devices_of(device: str) -> tuple[str, ...]:
    """Devices that ``--device`` names: `DEVICES`.

    Raises
    ------
    ConfigError
        If one is not known, or cannot be had.
    """
    names = tuple(part.strip() for part in device.split(","))
    for name in names:
        if not re.fullmatch(r"cpu|cuda(:\d+)?", name) and names != ("auto",):
            raise ConfigError("no such device", where="--device", found=name, allowed=DEVICES)
        if not name.startswith("cuda"):
            continue
        if not torch.cuda.is_available():
            raise ConfigError(
                "CUDA was asked for, but torch finds none",
                where="--device",
                found=f"torch {torch.__version__}",
                allowed="auto, cpu",
                fix="use --device auto, or install a CUDA build of torch and a driver "
                "(https://pytorch.org/get-started)",
            )
        known = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        if name not in ("cuda", *known):
            raise ConfigError(
                "there is no CUDA device of that number",
                where="--device",
                found=name,
                allowed=", ".join(known),
            )
    return names


def choose(device: str = "auto", precision: str = "auto", threads: int | None = None) -> Hardware:
    """Choose device and precision, and set what is global in torch.

    Parameters
    ----------
    device : str
        As `devices_of` takes it; of several, the first.
    precision : {'auto', 'float32', 'bfloat16'}
    threads : int, optional
        Threads that torch may use on the CPU.
    """
    if threads is not None:
        torch.set_num_threads(max(1, threads))
    first = devices_of(device)[0]
    if torch.cuda.is_available() and first != "cpu":
        # TF32 for what stays float32; the tile size never changes, so cuDNN may search once.
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        chosen = torch.device("cuda" if first == "auto" else first)
        reason = torch.cuda.get_device_name(chosen)
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        keep_freed_memory()
        chosen, found = torch.device("cpu"), _bf16_instructions()
        reason, native = f"CPU with {found}" if found else "CPU without bf16 instructions", found
    if precision != "auto":
        return Hardware(chosen, precision, f"{reason}, set in unet.precision")
    return Hardware(chosen, "bfloat16" if native else "float32", reason)


def keep_freed_memory() -> None:
    """Let this process keep large blocks of memory that it frees, where the C library is glibc.

    As it is, glibc maps each block of more than 32 MB anew and gives it back when it is freed: the
    kernel clears every page of it at its first touch. A wide network's activations are such blocks,
    a hundred a step. Measured on two cores with AMX: a step of the official network, 32 tiles, in
    2.1 s instead of 3.0, with 3.0 GB instead of 2.1.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        # Nothing is mapped by itself, and the end of the heap is not given back.
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


def _bf16_instructions() -> str | None:
    """Name of the CPU's bf16 matrix instructions, or None."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore").split())
    except OSError:
        return None
    labels = {"amx_bf16": "AMX bf16", "avx512_bf16": "AVX512 bf16"}
    return next((label for flag, label in labels.items() if flag in flags), None)
