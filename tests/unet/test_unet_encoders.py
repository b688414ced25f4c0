"""Networks of segmentation-models-pytorch: names, sizes, channels, pretrained weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from unet_world import tiny

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.errors import ConfigError, ModelError
from l4s_ensemble.unet.networks.encoders import EncoderNetwork, require_smp
from l4s_ensemble.unet.networks.network import build
from l4s_ensemble.unet.networks.weights import adapt_filters

SMALL = "tu-mobilenetv3_small_050"
"""Half a million weights."""

NAMED = "mobilenet_v2"
"""Two million, and the library knows pretrained ones by name."""

FIRST = "features.0.0.weight"
"""Of `NAMED`: what reads the channels."""

BANDS = L4S.band_names
RGB = ("B4", "B3", "B2")


def make(
    name: str, bands: int | Sequence[str] = 3, *, seed: int = 0, weights: str | None = None
) -> EncoderNetwork:
    """A network of some channels, or of channels of these names."""
    channels = [str(i) for i in range(bands)] if isinstance(bands, int) else bands
    network = build(tiny(network=f"smp:{name}", weights=weights), channels, seed=seed)
    assert isinstance(network, EncoderNetwork)
    return network.eval()


@pytest.fixture(scope="module")
def stand_in() -> dict[str, torch.Tensor]:
    """A state dict as released for an encoder that sees red, green and blue."""
    encoder = require_smp().encoders.get_encoder(NAMED, in_channels=3, weights=None)
    generator = torch.Generator().manual_seed(4)
    state: dict[str, torch.Tensor] = encoder.state_dict()
    for value in state.values():
        if value.is_floating_point():
            value.uniform_(0.1, 0.9, generator=generator)
    return state


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", refuse)


@pytest.mark.parametrize(("arch", "bands"), [("unet", 2), ("fpn", 3), ("linknet", 14)])
def test_one_logit_a_pixel_at_any_size(arch: str, bands: int) -> None:
    network = make(f"{arch}/{SMALL}", bands)
    with torch.inference_mode():
        for size in ((64, 64), (37, 50), (7, 5)):
            assert network(torch.randn(2, bands, *size)).shape == (2, 1, *size)


def test_odd_sizes_are_padded_with_their_edge_and_cut() -> None:
    for upsample, whole in ((False, (64, 64)), (True, (48, 64))):
        network = make(f"unet/{SMALL}")
        network.upsample = upsample
        x = torch.randn(1, 3, 37, 50)
        padded = F.pad(x, (0, whole[1] - 50, 0, whole[0] - 37), mode="replicate")
        with torch.inference_mode():
            assert torch.equal(network(x), network(padded)[..., :37, :50])


def test_a_strided_encoder_sees_twice_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(f"unet/{SMALL}").upsample
    assert make(f"fpn/{NAMED}").upsample
    # VGG keeps full resolution. It draws a hundred million weights only to drop them: not here.
    for draw in ("kaiming_uniform_", "kaiming_normal_", "normal_", "uniform_"):
        monkeypatch.setattr(f"torch.nn.init.{draw}", lambda tensor, *_, **__: tensor)
    assert not make("fpn/vgg11").upsample


def test_upsampling_is_undone() -> None:
    plain, twice = (make(f"unet/{SMALL}", seed=1) for _ in range(2))
    plain.upsample = False
    x = torch.randn(1, 3, 32, 64)
    with torch.inference_mode():
        large = plain(F.interpolate(x, size=(64, 128), mode="bilinear", align_corners=False))
        wanted = F.interpolate(large, size=(32, 64), mode="bilinear", align_corners=False)
        assert torch.allclose(twice(x), wanted, atol=1e-6)
        assert not torch.allclose(plain(x), wanted, atol=1e-2)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("smp:unet", "smp:<arch>/<encoder>"),
        ("smp:unet/", "smp:<arch>/<encoder>"),
        ("smp:/resnet18", "smp:<arch>/<encoder>"),
        ("smp:unetplus/resnet18", "architecture.*unetplus.*unetplusplus"),
        ("smp:unet/resnet43", "resnet43.*resnet34"),
        ("smp:unet/tu-resnet43d", "resnet43d"),
        ("smp:unetplusplus/mit_b0", "mit_b0"),
    ],
)
def test_a_wrong_name_is_explained(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make(name.removeprefix("smp:"))


# Filters


def test_the_same_channels_keep_their_filters() -> None:
    filters = torch.randn(5, 3, 7, 7)
    assert torch.allclose(adapt_filters(filters, RGB), filters, atol=1e-6)
    turned = adapt_filters(filters, ("B2", "B3", "B4"))
    assert torch.allclose(turned, filters.flip(1), atol=1e-6)


def test_light_and_shade_are_answered_as_before() -> None:
    """A signal that all channels share: the same response, however many they are."""
    filters = torch.randn(5, 3, 7, 7)
    wanted = filters.sum(1)
    for channels in (BANDS, ("B8", "B11"), ("B4", "slope"), ("B2", "B8", "B4"), ("B12",)):
        found = adapt_filters(filters, channels)
        assert found.shape == (5, len(channels), 7, 7)
        assert torch.allclose(found.sum(1), wanted, atol=1e-5)


def test_contrasts_stay_with_the_bands_of_their_colours() -> None:
    """More red and less green is answered as before, and in no other band."""
    filters = torch.randn(5, 3, 7, 7)
    found = adapt_filters(filters, BANDS)
    red, green, blue = (BANDS.index(b) for b in RGB)
    for (a, b), wanted in (
        ((red, green), filters[:, 0] - filters[:, 1]),
        ((green, blue), filters[:, 1] - filters[:, 2]),
    ):
        assert torch.allclose(found[:, a] - found[:, b], wanted, atol=1e-5)
    others = [i for i in range(len(BANDS)) if i not in (red, green, blue)]
    assert torch.equal(found[:, others], found[:, others[:1]].expand(-1, len(others), -1, -1))


# Pretrained weights


@pytest.mark.parametrize("form", ["encoder", "network", "torchvision"])
def test_a_local_file_of_pretrained_weights(
    stand_in: dict[str, torch.Tensor], tmp_path: Path, no_network: None, form: str
) -> None:
    state, path = dict(stand_in), tmp_path / "weights.pth"
    if form == "network":
        state = {f"module.encoder.{k}": v for k, v in state.items()}
        state["module.decoder.what.weight"] = torch.zeros(1)
    if form == "torchvision":
        state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
        state["classifier.1.weight"] = torch.zeros(1000, 1280)
    if form == "encoder":
        path = tmp_path / "weights.safetensors"
        save_file(state, path)
    else:
        torch.save(state, path)
    fresh = make(f"fpn/{NAMED}", 14, seed=2)
    network = make(f"fpn/{NAMED}", BANDS, seed=2, weights=str(path))
    found, drawn = network.state_dict(), fresh.state_dict()
    for key, value in found.items():
        inner = key.removeprefix("network.encoder.")
        if inner == FIRST:
            wanted = adapt_filters(stand_in[inner], BANDS)
        elif key.startswith("network.encoder.") and value.is_floating_point():
            wanted = stand_in[inner]
        else:
            wanted = drawn[key]
        assert torch.equal(value, wanted), key


def test_three_channels_that_are_not_colours(
    stand_in: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """The number of channels alone does not say that they are red, green and blue."""
    path = tmp_path / "weights.safetensors"
    save_file(stand_in, path)
    for channels in (RGB, ("B8", "B4", "B3")):
        network = make(f"fpn/{NAMED}", channels, weights=str(path))
        found = network.network.encoder.get_parameter(FIRST).detach()
        assert torch.equal(found, adapt_filters(stand_in[FIRST], channels))
    assert not torch.allclose(found, stand_in[FIRST], atol=0.01)


def test_weights_for_these_very_channels_are_taken_as_they_are(
    stand_in: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    first = torch.rand(32, 14, 3, 3)
    save_file({**stand_in, FIRST: first}, path)
    network = make(f"fpn/{NAMED}", BANDS, weights=str(path))
    assert torch.equal(network.network.encoder.get_parameter(FIRST).detach(), first)
    with pytest.raises(ModelError, match="do not fit"):
        make(f"fpn/{NAMED}", BANDS[:5], weights=str(path))


def test_files_that_do_not_fit(stand_in: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(ModelError, match="cannot be read"):
        make(f"fpn/{NAMED}", RGB, weights=str(path))
    save_file({k: v for k, v in stand_in.items() if k != "features.9.conv.2.weight"}, path)
    with pytest.raises(ModelError, match=r"features\.9\.conv\.2\.weight"):
        make(f"fpn/{NAMED}", RGB, weights=str(path))
    save_file({**stand_in, "features.1.conv.2.bias": torch.zeros(63)}, path)
    with pytest.raises(ModelError, match=r"features\.1\.conv\.2\.bias"):
        make(f"fpn/{NAMED}", RGB, weights=str(path))


def test_weights_by_name(
    stand_in: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(stand_in, tmp_path / "model.safetensors")

    def from_cache(repo_id: str, filename: str, revision: str) -> str:
        assert repo_id == f"smp-hub/{NAMED}.imagenet"
        return str(tmp_path / filename)

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", from_cache)
    network = make(f"fpn/{NAMED}", BANDS, weights="imagenet")
    encoder = network.network.encoder
    wanted = adapt_filters(stand_in[FIRST], BANDS)
    assert torch.equal(encoder.get_parameter(FIRST).detach(), wanted)
    name = "features.9.conv.2.weight"
    assert torch.equal(encoder.get_parameter(name).detach(), stand_in[name])


def test_weights_by_name_without_network(no_network: None) -> None:
    for name, says in (("imagenet", "no network in tests"), ("imagenut", "imagenet")):
        with pytest.raises(ModelError, match=says) as error:
            make(f"fpn/{NAMED}", RGB, weights=name)
        assert "name the file in unet.weights" in str(error.value)


def test_a_finished_run_needs_no_network(no_network: None) -> None:
    config = tiny(network=f"smp:unet/{SMALL}", weights="imagenet")
    assert isinstance(build(config, RGB, pretrained=False), EncoderNetwork)
