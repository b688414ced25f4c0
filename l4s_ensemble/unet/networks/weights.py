"""First weights from elsewhere: files of tensors, and pretrained encoders for other channels."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from l4s_ensemble.errors import ModelError
from l4s_ensemble.unet.networks.encoders import TIMM, EncoderNetwork, require_smp

COLOURS = ("B4", "B3", "B2")
"""Bands that pretrained filters know, in their order: red, green, blue."""

FILES = (".safetensors", ".pth", ".pt", ".bin")
"""Endings by which ``unet.weights`` names a file and not a set of weights."""

_COUNTER = "num_batches_tracked"  # of batch norm; older files lack it, and nothing depends on it


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name from a file of `FILES`, without leading ``module.``; no code in it is run.

    Raises
    ------
    ModelError
        If the file cannot be read or holds anything but tensors by name.
    """
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
        KeyError,
        SafetensorError,
        pickle.UnpicklingError,
    ) as error:
        raise ModelError(
            "the weights cannot be read",
            where=path,
            found=error,
            allowed="a state dict saved by torch.save, or a .safetensors file",
        ) from None
    values = list(state.values()) if isinstance(state, dict) else []
    if not values or not all(isinstance(value, torch.Tensor) for value in values):
        raise ModelError(
            "the file holds no state dict",
            where=path,
            found=type(state).__name__,
            allowed="tensors by name",
            fix="save network.state_dict(), not the network or a whole checkpoint",
        )
    return {name.removeprefix("module."): value for name, value in state.items()}


def adapt_filters(filters: torch.Tensor, channels: Sequence[str]) -> torch.Tensor:
    """Filters for these channels, made of filters for red, green and blue.

    A colour filter is the mean of the three, which sees brightness, and a contrast, which sees how
    a colour differs from the others. Contrasts stay with the bands of the colours. Brightness is
    shared by all n channels: each gets the mean filter times 3 / n. So a signal that all channels
    have in common is answered as strongly as it was before, a difference between colours too, and
    new channels start neither silent nor loud. Repeating the filters R, G, B, R, G, … would answer
    the ninth band as if it were blue, and scaled by 3 / n it would weaken the contrasts as well.

    Parameters
    ----------
    filters : Tensor, shape (out, 3, y, x)
    channels : sequence of str
        Names of the n channels, of which those of `COLOURS` are known.

    Returns
    -------
    Tensor, shape (out, n, y, x)
        With the channels B4, B3, B2 the filters themselves.
    """
    mean = filters.mean(dim=1, keepdim=True)
    out = (mean * (len(COLOURS) / len(channels))).repeat(1, len(channels), 1, 1)
    known = [c for c in COLOURS if c in channels]
    if known:
        colour = filters[:, [COLOURS.index(c) for c in known]]
        # About the mean of the colours at hand: what they share is brightness, shared out above.
        out[:, [channels.index(c) for c in known]] += colour - colour.mean(dim=1, keepdim=True)
    return out


def load_pretrained(network: EncoderNetwork, weights: str, channels: Sequence[str]) -> None:
    """Put pretrained weights into the encoder; the decoder keeps its own.

    The inputs of this package have mean 0 and deviation 1 a channel, as those of ImageNet have.

    Parameters
    ----------
    network : EncoderNetwork
    weights : str
        Name such as ``imagenet``, downloaded once to the cache of huggingface_hub, or a file of
        `FILES`: the state dict of the encoder, or of a whole network of the library. Its first
        layer may see red, green and blue, see `adapt_filters`, or as many channels as the network.
    channels : sequence of str
        Names of the input channels.

    Raises
    ------
    ModelError
        If there are none of that name, they cannot be had, or do not fit.
    """
    path = Path(weights)
    given = _of_file(path) if path.suffix in FILES else _of_name(network.encoder, weights)
    encoder = network.network.encoder
    own = encoder.state_dict()
    # The first layer is what has another shape with another number of channels.
    other = _encoder(network.encoder, network.bands + 1, None).state_dict()
    state = {k: given[k] for k in own if k in given}
    for key, value in state.items():
        first = other.get(key, own[key]).shape != own[key].shape
        if first and value.shape[1:2] == (len(COLOURS),):
            state[key] = adapt_filters(value.float(), channels)
    try:
        missing = nn.Module.load_state_dict(encoder, state, strict=False).missing_keys
        if any(not k.endswith(_COUNTER) for k in missing):
            raise RuntimeError(f"missing: {', '.join(missing)}")
    except RuntimeError as error:
        raise ModelError(
            "the pretrained weights do not fit the encoder",
            where=weights,
            found=error,
            allowed=f"the weights of {network.encoder}",
        ) from None


def _of_file(path: Path) -> dict[str, torch.Tensor]:
    state, part = read_state(path), "encoder."
    found = {k.removeprefix(part): v for k, v in state.items() if k.startswith(part)}
    return found or state


def _of_name(encoder: str, name: str) -> dict[str, torch.Tensor]:
    try:
        # Which weights is part of the name of an encoder of timm; there the library wants yes.
        made = _encoder(encoder, len(COLOURS), True if encoder.startswith(TIMM) else name)
    except Exception as error:  # the download raises many kinds, without a common base
        raise ModelError(
            "the pretrained weights cannot be had",
            where=f"{encoder}, {name}",
            found=f"{type(error).__name__}: {error}",
            fix="name weights of this encoder and go online once, or download them elsewhere and "
            f"name the file in unet.weights, ending in {', '.join(FILES)}",
        ) from None
    state: dict[str, torch.Tensor] = made.state_dict()
    return state


def _encoder(name: str, bands: int, weights: str | bool | None) -> nn.Module:
    made: nn.Module = require_smp().encoders.get_encoder(name, in_channels=bands, weights=weights)
    return made
