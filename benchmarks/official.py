"""The official baseline's way to train and to predict, made again from its description.

What https://github.com/iarai/Landslide4Sense-2022 does, step by step, without its lines: each tile
is two HDF5 files that are opened when it is wanted; the image is float64, becomes float32 and is
standardised band by band with published numbers; four worker processes put tiles together; the
network computes in plain float32; Adam with weight decay in the gradient, cross-entropy of two
outputs. To predict it takes one tile at a time, resizes the outputs and takes the larger one.

What only reports (accuracy of every batch, files written) is left out, which favours it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from l4s_ensemble.data.patches import PatchFiles
from l4s_ensemble.unet.inputs.normalisation import OFFICIAL_MEAN, OFFICIAL_STD
from l4s_ensemble.unet.networks.official import OfficialUNet

LEARNING_RATE, WEIGHT_DECAY = 1e-3, 5e-4
WORKERS = 4

Tile = tuple[NDArray[np.float32], NDArray[np.int64]]


class OfficialTiles(Dataset[Tile]):
    """Tiles read from their files, one by one.

    Parameters
    ----------
    files : sequence of PatchFiles
    bands : sequence of str
        Their bands in order.
    masks : bool
        Whether the masks are wanted too.
    """

    def __init__(
        self, files: Sequence[PatchFiles], bands: Sequence[str], *, masks: bool = True
    ) -> None:
        self.files = list(files)
        self.mean = [OFFICIAL_MEAN[b] for b in bands]
        self.std = [OFFICIAL_STD[b] for b in bands]
        self.masks = masks

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> Tile:
        """Image float32 (band, y, x) and label int64 (y, x); no label is an empty one."""
        file = self.files[number]
        with h5py.File(file.image, "r") as opened:
            stored = opened["img"][:]
        label = np.empty((0, 0), np.int64)
        if self.masks and file.mask is not None:
            with h5py.File(file.mask, "r") as opened:
                label = opened["mask"][:].astype(np.int64)
        image = np.asarray(stored, np.float32).transpose(2, 0, 1).copy()
        for band, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            image[band] -= mean
            image[band] /= std
        return image, label


def loader(
    tiles: OfficialTiles,
    order: Sequence[int] | NDArray[np.int64],
    *,
    batch: int,
    workers: int = WORKERS,
) -> DataLoader[Any]:
    """Batches of the tiles at `order`, put together by worker processes that stay alive."""
    return DataLoader(
        tiles,
        batch_size=batch,
        sampler=[int(i) for i in order],
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


class OfficialLoop:
    """Plain float32 training.

    Parameters
    ----------
    network : OfficialUNet
    device : torch.device
    """

    def __init__(self, network: OfficialUNet, device: torch.device) -> None:
        self.network = network.to(device).train()
        self.device = device
        self.optimiser = torch.optim.Adam(
            network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )

    def step(self, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """One step on images (n, band, y, x) and labels (n, y, x); the loss before it."""
        image = image.to(self.device, non_blocking=True)
        label = label.to(self.device, non_blocking=True)
        self.optimiser.zero_grad()
        outputs = self.network.outputs(image)
        outputs = F.interpolate(outputs, size=label.shape[-2:], mode="bilinear")
        loss = F.cross_entropy(outputs, label)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.detach()

    def run(self, batches: Iterator[Any], steps: int) -> list[float]:
        """Losses of some steps; the device is waited for at the end only."""
        return [float(loss) for loss in [self.step(*next(batches)) for _ in range(steps)]]


@torch.no_grad()
def predict(
    network: OfficialUNet, tiles: DataLoader[Any], device: torch.device
) -> NDArray[np.uint8]:
    """Classes (n, y, x) of all tiles, taken as they come from the loader."""
    network.eval()
    classes = []
    for image, _ in tiles:
        shares = torch.softmax(network.outputs(image.to(device)), dim=1)
        shares = F.interpolate(shares, size=image.shape[-2:], mode="bilinear")
        classes.append(shares.argmax(dim=1).cpu().numpy().astype(np.uint8))
    return np.concatenate(classes)
