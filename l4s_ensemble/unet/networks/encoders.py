"""Networks of segmentation-models-pytorch, through the extra ``[encoders]``."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from l4s_ensemble.errors import ConfigError

SMP = "smp:"
"""How the names of networks, and of losses, of segmentation-models-pytorch begin."""

DIVISOR = 32
"""Inputs are padded to multiples of this: encoders halve the resolution up to five times."""

TIMM = "tu-"
"""How the library names encoders of timm."""

_PROBE_PX = 128
_OPERATORS = ("torchvision::nms", "torchvision::qnms")


class EncoderNetwork(nn.Module):
    """A network with an encoder from the library, one logit a pixel.

    Most encoders begin with a stride: a landslide of ten pixels is five wide before anything was
    learnt of it, and the decoder has nothing finer to draw its edge from. For these the input is
    upsampled twice, and four logits are averaged to one: about four times the arithmetic.

    Parameters
    ----------
    name : str
        ``smp:<arch>/<encoder>``, such as ``smp:unet/resnet34``; ``tu-<name>`` is one of timm.
    bands : int
        Input channels. The first layer is made for that many.

    Attributes
    ----------
    upsample : bool
        Whether the network sees twice the pixels a side: where no stage of the encoder keeps full
        resolution.

    Raises
    ------
    ConfigError
        If the extra is not installed, the name has another form, or there is no such architecture
        or encoder, or they do not go together.
    """

    def __init__(self, name: str, bands: int) -> None:
        super().__init__()
        arch, _, encoder = name.removeprefix(SMP).partition("/")
        if not arch or not encoder:
            raise ConfigError(
                "the name of the network is not complete",
                where="unet.network",
                found=name,
                allowed="smp:<arch>/<encoder>",
                fix="for example smp:unet/resnet34",
            )
        smp = require_smp()
        self.bands, self.encoder = bands, encoder
        try:
            self.network = smp.create_model(
                arch, encoder_name=encoder, encoder_weights=None, in_channels=bands, classes=1
            )
            self.upsample = _is_strided(self.network.encoder, bands)
        except (ValueError, KeyError, RuntimeError, AssertionError, NotImplementedError) as error:
            raise ConfigError(
                "segmentation-models-pytorch cannot make the network",
                where="unet.network",
                found=f"{name}: {error}",
                fix="for example smp:unet/resnet34",
            ) from None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Standardised channels (n, channel, y, x) -> logits (n, 1, y, x), of any size."""
        rows, columns = x.shape[-2:]
        multiple = DIVISOR // 2 if self.upsample else DIVISOR
        if rows % multiple or columns % multiple:
            x = F.pad(x, (0, -columns % multiple, 0, -rows % multiple), mode="replicate")
        if self.upsample:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        logit = self.network(x)
        if self.upsample:
            # The mean of four is what bilinear interpolation gives at half the size.
            logit = F.avg_pool2d(logit, 2)
        return logit[..., :rows, :columns]  # type: ignore[no-any-return]


def require_smp(where: str = "unet.network") -> Any:
    """Import segmentation-models-pytorch, which the setting `where` asks for.

    Raises
    ------
    ConfigError
        If it, or something that it needs, cannot be imported.
    """
    try:
        _import_torchvision()
        import segmentation_models_pytorch as smp
    except (ImportError, RuntimeError) as error:
        raise ConfigError(
            "names that begin with smp: need segmentation-models-pytorch, which cannot be imported",
            where=where,
            found=error,
            fix="pip install 'l4s_ensemble[encoders]'",
        ) from None
    return smp


def _import_torchvision() -> None:
    """Import torchvision, even one that is built for a torch with CUDA beside one without.

    The wheel that pip finds first is built for CUDA. Beside a torch for the CPU its operators do
    not load, and the import stops at the first of them that it wants to describe. The encoders use
    none of them: two names are enough.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if _OPERATORS[0] not in str(error):
            raise
        for operator in _OPERATORS:
            torch.library.define(operator, "(Tensor dets, Tensor scores, float iou) -> Tensor")
        import torchvision  # noqa: F401


@torch.no_grad()
def _is_strided(encoder: nn.Module, bands: int) -> bool:
    """Whether the encoder's only features at full resolution are its input."""
    x, training = torch.zeros(1, bands, _PROBE_PX, _PROBE_PX), encoder.training
    features = encoder.eval()(x)
    encoder.train(training)
    return features[0] is x
