"""A small convolutional network over both logit maps, on top of their weighted mean.

Its kernels have one weight for the middle, one for the edges and one for the corners, so that a
turned or mirrored tile gives the turned or mirrored answer by construction: nothing is learnt, or
averaged, eight times over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit
from torch import Tensor, nn
from torch.nn import functional

from l4s_ensemble.config import StackConfig
from l4s_ensemble.run.files import atomic_path
from l4s_ensemble.stack.inputs import LIMIT, Seen
from l4s_ensemble.stack.learners import mean
from l4s_ensemble.stack.learners.linear import log_loss, minimum, require_both
from l4s_ensemble.stack.learners.mean import MeanLearner
from l4s_ensemble.stack.model import FILE, not_whole, read_model, write_model

WEIGHTS_FILE = "convolution.safetensors"
WIDTH = 8
DILATIONS = (1, 2, 4)
"""Of the layers of 3x3 kernels, in pixels: together they see 7 pixels to each side."""

BATCH_TILES = 8
LEARNING_RATE = 0.01
F1_SHARE = 0.5
"""Weight of the smooth F1 beside the cross-entropy."""

MEAN_PIXELS = 500
"""Pixels of a tile that the weighted mean below the network is fitted on."""


class SquareConvolution(nn.Module):
    """A 3x3 convolution that is the same in the eight symmetries of the square.

    Parameters
    ----------
    before, after : int
        Channels.
    dilation : int
        Pixels between the points of the kernel.
    """

    def __init__(self, before: int, after: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        bound = 1 / np.sqrt(9 * before)
        self.weight = nn.Parameter(torch.empty(3, after, before).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(after))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (tile, before, y, x); the border is repeated."""
        middle, edge, corner = self.weight
        row = torch.stack((corner, edge, corner), dim=-1)
        kernel = torch.stack((row, torch.stack((edge, middle, edge), dim=-1), row), dim=-2)
        d = self.dilation
        padded = functional.pad(x, (d, d, d, d), mode="replicate")
        return functional.conv2d(padded, kernel, self.bias, dilation=d)


class Network(nn.Module):
    """What is added to the mean's logit, (tile, y, x); nothing before it is trained."""

    def __init__(self, width: int, dilations: Sequence[int]) -> None:
        super().__init__()
        before = [3, *[width] * (len(dilations) - 1)]
        self.layers = nn.ModuleList(
            SquareConvolution(n, width, d) for n, d in zip(before, dilations, strict=True)
        )
        self.last = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    def forward(self, both: Tensor) -> Tensor:
        """Both logits, (tile, 2, y, x)."""
        x = torch.cat((both, both.amin(dim=1, keepdim=True)), dim=1) / 4
        for layer in self.layers:
            x = functional.relu(layer(x))
        added: Tensor = self.last(x)[:, 0]
        return added


@dataclass(frozen=True)
class ConvolutionLearner:
    """A weighted mean and the network that corrects it.

    Attributes
    ----------
    base : MeanLearner
    width : int
        Channels of each layer.
    dilations : tuple of int
        One a layer.
    scale, shift : float
        The sum of both is multiplied and moved by them: the smooth F1 in the loss asks for
        probabilities that are too sure.
    state : dict of str to Tensor
        The network's weights.
    """

    base: MeanLearner
    width: int
    dilations: tuple[int, ...]
    scale: float
    shift: float
    state: dict[str, Tensor] = field(repr=False, compare=False)

    kind = "convolution"

    def __post_init__(self) -> None:
        network = Network(self.width, self.dilations)
        network.load_state_dict(self.state)
        object.__setattr__(self, "_network", network.eval())

    def probability(self, seen: Seen) -> NDArray[np.float32]:
        """Probability of landslide of one tile, float32 (y, x)."""
        both = torch.from_numpy(np.stack(seen.clipped()))[None]
        network: Network = getattr(self, "_network")  # noqa: B009 - set on a frozen instance
        with torch.inference_mode():
            z = torch.from_numpy(self.base.logit(seen)) + network(both)[0]
            return np.asarray(torch.sigmoid(self.scale * z + self.shift).numpy(), dtype=np.float32)

    def told(self) -> dict[str, Any]:
        """``inputs``, ``weights`` of the mean below it, ``parameters`` and ``sees_px``."""
        below = self.base.told()
        return {
            "inputs": below["inputs"],
            "weights": below["weights"],
            "parameters": sum(t.numel() for t in self.state.values()),
            "sees_px": sum(self.dilations),
        }

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and ``convolution.safetensors``."""
        from safetensors.torch import save_file

        with atomic_path(folder / WEIGHTS_FILE) as partial:
            save_file({k: v.contiguous() for k, v in self.state.items()}, partial)
        values = {k: getattr(self, k) for k in ("width", "dilations", "scale", "shift")}
        write_model(folder, self.kind, {"base": asdict(self.base), **values})

    @classmethod
    def load(cls, folder: Path) -> ConvolutionLearner:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            If the files are of another form, or not whole.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        values = read_model(folder, cls.kind)
        try:
            base = MeanLearner(**values.pop("base"))
            return cls(base=base, state=load_file(folder / WEIGHTS_FILE), **values)
        except (KeyError, TypeError) as error:
            raise not_whole(folder / FILE, error) from None
        except (OSError, SafetensorError, RuntimeError) as error:
            raise not_whole(folder / WEIGHTS_FILE, error) from None


def rows_of(seen: Seen, settings: StackConfig) -> NDArray[np.float32]:
    """Both logits of one tile, float32 (2, y, x)."""
    return mean.rows_of(seen, settings)


def fit(
    maps: NDArray[np.floating],
    truth: NDArray[np.bool_],
    settings: StackConfig,
    *,
    seed: int = 0,
    jobs: int = 1,
) -> ConvolutionLearner:
    """Fit on whole tiles, by cross-entropy and smooth F1.

    Parameters
    ----------
    maps : float array, shape (tile, 2, y, x)
        Both logits, within ±`LIMIT`; float16 is enough.
    truth : bool array, shape (tile, y, x)
    seed : int
        Of weights and order.
    jobs : int
        Threads.

    Raises
    ------
    RunError
        If only one class is there.
    """
    require_both(truth)
    rng = np.random.default_rng(seed)
    base = _base(maps, truth, settings, rng)
    torch.set_num_threads(jobs)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = Network(WIDTH, DILATIONS)
    steps = settings.epochs * -(-len(maps) // BATCH_TILES)
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.2
    )
    shares = [w / base.temperature for w in (base.weight_pixel, 1 - base.weight_pixel)]
    for _ in range(settings.epochs):
        order = rng.permutation(len(maps))
        for start in range(0, len(maps), BATCH_TILES):
            at = np.sort(order[start : start + BATCH_TILES])
            both = torch.from_numpy(maps[at].astype(np.float32)).clamp(-LIMIT, LIMIT)
            wanted = torch.from_numpy(truth[at].astype(np.float32))
            z = shares[0] * both[:, 0] + shares[1] * both[:, 1] + base.intercept
            loss = _loss(z + network(both), wanted)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    state = {k: v.detach().clone() for k, v in network.state_dict().items()}
    raw = ConvolutionLearner(base, WIDTH, DILATIONS, 1.0, 0.0, state)
    return _calibrated(raw, maps, truth, rng)


def _calibrated(
    raw: ConvolutionLearner,
    maps: NDArray[np.floating],
    truth: NDArray[np.bool_],
    rng: np.random.Generator,
) -> ConvolutionLearner:
    each = min(truth[0].size, MEAN_PIXELS)
    scores, labels = [], []
    for both, mask in zip(maps, truth, strict=True):
        chosen = rng.choice(mask.size, each, replace=False)
        p = raw.probability(Seen(both[0].astype(np.float32), both[1].astype(np.float32)))
        scores.append(np.clip(p.ravel()[chosen], 1e-7, 1 - 1e-7))
        labels.append(mask.ravel()[chosen])
    wanted = np.concatenate(labels)
    if wanted.all() or not wanted.any():
        return raw
    z = logit(np.concatenate(scores).astype(np.float64))[:, np.newaxis]
    scale, shift = minimum(log_loss(z, wanted, 0.0), np.array([1.0, 0.0]))
    return replace(raw, scale=float(scale), shift=float(shift))


def _loss(z: Tensor, wanted: Tensor) -> Tensor:
    probability = torch.sigmoid(z)
    # One pixel to each sum: a batch without a landslide would divide zero by nearly zero.
    overlap = 2 * (probability * wanted).sum() + 1
    f1 = overlap / (probability.sum() + wanted.sum() + 1)
    entropy = functional.binary_cross_entropy_with_logits(z, wanted)
    return entropy + F1_SHARE * (1 - f1)


def _base(
    maps: NDArray[np.floating], truth: NDArray[np.bool_], settings: StackConfig,
    rng: np.random.Generator,
) -> MeanLearner:  # fmt: skip
    pixels = truth[0].size
    each = min(pixels, MEAN_PIXELS)
    rows, labels = [], []
    for one, mask in zip(maps, truth, strict=True):
        chosen = rng.choice(pixels, each, replace=False)
        rows.append(one.reshape(2, -1)[:, chosen].T.astype(np.float32))
        labels.append(mask.ravel()[chosen])
    found = np.concatenate(labels)
    if found.all() or not found.any():  # few landslide pixels, and none of them was drawn
        rows = [one.reshape(2, -1).T.astype(np.float32) for one in maps]
        found = truth.ravel()
    return mean.fit(np.concatenate(rows), found, settings)
