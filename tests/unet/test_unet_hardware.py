"""What is set for the hardware."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from l4s_ensemble.errors import ConfigError
from l4s_ensemble.unet.hardware import choose, devices_of

FAULTS = """
import resource, sys
import torch
from l4s_ensemble.unet.hardware import choose

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "ours":
    choose("cpu", "float32", threads=1)
for _ in range(8):
    torch.zeros(1 << 24).add_(1)  # 64 MB
before = faults()
for _ in range(4):
    torch.zeros(1 << 24).add_(1)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_large_blocks_are_kept() -> None:
    """Each page of a block that was given back is cleared again: a fault of the processor."""

    def run(way: str) -> int:
        words = [sys.executable, "-c", FAULTS, way]
        return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)

    as_it_is, ours = run("plain"), run("ours")
    assert as_it_is > 4 * 16  # huge pages of 2 MB, or as many small ones as there are
    assert ours < as_it_is / 2


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("tpu", "tpu"), ("cpu:1", "cpu:1"), ("cuda:x", "cuda:x"), ("cpu,auto", "auto"),
        ("cpu,", "no such device"), ("cpu,gpu", "gpu"),
    ],
)  # fmt: skip
def test_a_device_that_is_none_is_named(device: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        devices_of(device)


def test_cuda_without_cuda_says_what_to_do() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    for device in ("cuda", "cuda:0,cuda:1"):
        with pytest.raises(ConfigError, match="--device auto"):
            choose(device)
    assert choose("auto").device.type == "cpu"
    assert devices_of("cpu, cpu") == ("cpu", "cpu")


def test_precision_can_be_forced() -> None:
    assert choose("cpu", "bfloat16").precision == "bfloat16"
    assert choose("cpu", "float32").precision == "float32"
