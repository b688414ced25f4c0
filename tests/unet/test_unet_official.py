"""The official network: its parameters, its arithmetic, its released weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from unet_world import tiny

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.errors import ModelError
from l4s_ensemble.unet.networks.network import build, count_parameters
from l4s_ensemble.unet.networks.official import OfficialUNet, load_official

BLOCKS = (
    "inc",
    *(f"down{i}.maxpool_conv.1" for i in range(1, 5)),
    *(f"up{i}.conv" for i in range(1, 5)),
)
WIDTHS = {  # inside, middle, outside
    "inc": (14, 64, 64),
    "down1.maxpool_conv.1": (64, 128, 128),
    "down2.maxpool_conv.1": (128, 256, 256),
    "down3.maxpool_conv.1": (256, 512, 512),
    "down4.maxpool_conv.1": (512, 512, 512),
    "up1.conv": (1024, 512, 256),
    "up2.conv": (512, 256, 128),
    "up3.conv": (256, 128, 64),
    "up4.conv": (128, 64, 64),
}


@pytest.fixture(scope="module")
def network() -> OfficialUNet:
    """Weights and batch statistics at random, as after some training."""
    made = build(tiny(network="baseline"), L4S.band_names, seed=3)
    assert isinstance(made, OfficialUNet)
    generator = torch.Generator().manual_seed(1)
    for name, value in made.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(generator=generator)
        elif name.endswith(("running_var", "1.weight", "4.weight")) and value.ndim == 1:
            value.uniform_(0.5, 1.5, generator=generator)
    return made.eval()


def test_parameters_are_those_of_the_official_network(network: OfficialUNet) -> None:
    assert count_parameters(network) == 17_273_794
    wanted = {"outc.conv.weight": (2, 64, 1, 1), "outc.conv.bias": (2,)}
    for block, (inside, middle, outside) in WIDTHS.items():
        for layer, (a, b) in ((0, (inside, middle)), (3, (middle, outside))):
            at = f"{block}.double_conv.{layer}"
            wanted |= {f"{at}.weight": (b, a, 3, 3), f"{at}.bias": (b,)}
            at = f"{block}.double_conv.{layer + 1}"
            wanted |= {f"{at}.{n}": (b,) for n in ("weight", "bias")}
            wanted |= {f"{at}.{n}": (b,) for n in ("running_mean", "running_var")}
            wanted[f"{at}.num_batches_tracked"] = ()
    assert {k: tuple(v.shape) for k, v in network.state_dict().items()} == wanted


def test_outputs_equal_a_second_plain_implementation(network: OfficialUNet) -> None:
    x = torch.randn(2, 14, 48, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    state = {k: v.double() for k, v in network.state_dict().items()}
    with torch.inference_mode():
        found = network.outputs(x.float())
    assert torch.allclose(found.double(), _plain(state, x), atol=1e-4, rtol=1e-4)


def test_logit_is_the_softmax_of_the_two_outputs(network: OfficialUNet) -> None:
    x = torch.randn(2, 14, 32, 32)
    target = (torch.rand(2, 32, 32) < 0.2).long()
    with torch.inference_mode():
        logit, raw = network(x), network.outputs(x)
    assert logit.shape == (2, 1, 32, 32)
    assert torch.equal(logit[:, 0] > 0, raw.argmax(1) == 1)
    assert torch.allclose(torch.sigmoid(logit[:, 0]), raw.softmax(1)[:, 1], atol=1e-6)
    binary = F.binary_cross_entropy_with_logits(logit, target[:, None].float())
    assert torch.allclose(binary, F.cross_entropy(raw, target), rtol=1e-5)


def test_any_size(network: OfficialUNet) -> None:
    with torch.inference_mode():
        assert network(torch.randn(1, 14, 37, 50)).shape == (1, 1, 37, 50)


@pytest.mark.parametrize(
    ("prefix", "suffix"), [("", ".pth"), ("module.", ".pth"), ("module.", ".safetensors")]
)
def test_released_weights_load(
    network: OfficialUNet, tmp_path: Path, prefix: str, suffix: str
) -> None:
    from safetensors.torch import save_file

    state = {prefix + k: v for k, v in network.state_dict().items()}
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    loaded = load_official(path)
    assert not loaded.training
    x = torch.randn(1, 14, 16, 16)
    with torch.inference_mode():
        assert torch.equal(loaded(x), network(x))


def test_training_can_start_from_released_weights(network: OfficialUNet, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    started = build(tiny(network="baseline", weights=str(path)), L4S.band_names, seed=9)
    assert started.training
    pairs = zip(started.parameters(), network.parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    for state, says in (
        ({"inc.double_conv.0.weight": torch.zeros(64, 14, 3, 3)}, "not those of the official"),
        ({"epoch": 3}, "no state dict"),
        ({}, "no state dict"),
        (torch.zeros(3), "no state dict"),
    ):
        torch.save(state, path)
        with pytest.raises(ModelError, match=says):
            load_official(path)
    torch.save(torch.nn.ReLU(), path)  # a pickled object could run code
    with pytest.raises(ModelError, match="cannot be read"):
        load_official(path)
    for content in (b"", b"PK not a zip"):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="cannot be read"):
            load_official(path)
    with pytest.raises(ModelError, match="cannot be read"):
        load_official(tmp_path / "nowhere.safetensors")


def _plain(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The network written out: batch norm folded, interpolation as two matrices."""
    skips = []
    for block in BLOCKS[:5]:
        if block != "inc":
            n, c, rows, columns = x.shape
            x = x.reshape(n, c, rows // 2, 2, columns // 2, 2).amax((3, 5))
        x = _double(state, block, x)
        skips.append(x)
    for block, skip in zip(BLOCKS[5:], skips[3::-1], strict=True):
        y, z = _stretch(x.shape[-2]), _stretch(x.shape[-1])
        x = torch.einsum("Yy,ncyx,Xx->ncYX", y, x, z)
        x = _double(state, block, torch.cat([skip, x], 1))
    head = state["outc.conv.weight"][:, :, 0, 0]
    return torch.einsum("oc,ncyx->noyx", head, x) + state["outc.conv.bias"][:, None, None]


def _double(state: dict[str, torch.Tensor], block: str, x: torch.Tensor) -> torch.Tensor:
    for layer in (0, 3):
        conv, norm = (f"{block}.double_conv.{layer + i}" for i in (0, 1))
        gain = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-5).sqrt()
        bias = (state[f"{conv}.bias"] - state[f"{norm}.running_mean"]) * gain
        kernel = state[f"{conv}.weight"] * gain[:, None, None, None]
        x = F.conv2d(x, kernel, bias + state[f"{norm}.bias"], padding=1).clamp_min(0)
    return x


def _stretch(size: int) -> torch.Tensor:
    """Matrix from `size` values to twice as many, first on first and last on last."""
    at = torch.arange(2 * size, dtype=torch.float64) * (size - 1) / (2 * size - 1)
    apart = (at[:, None] - torch.arange(size, dtype=torch.float64)).abs()
    return (1 - apart).clamp_min(0)
