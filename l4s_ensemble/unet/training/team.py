"""What several processes that train one network say to each other.

Every process holds the same weights and takes its part of each batch. `l4s_ensemble.unet.parallel`
starts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn

from l4s_ensemble.errors import ConfigError
from l4s_ensemble.unet.training.losses import Pool

if TYPE_CHECKING:
    from l4s_ensemble.unet.hardware import Hardware


@dataclass(frozen=True)
class Team:
    """The processes that train one network, seen from one of them.

    Attributes
    ----------
    rank, size : int
        Number of this process, from 0, and of all.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    @property
    def pool(self) -> Pool:
        """How a loss sums over the batch of all processes."""
        return Pool() if self.size == 1 else _TeamPool(self)

    def part(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Part of a batch that is this process's: equal and whole parts where they divide."""
        return values if self.size == 1 else np.array_split(values, self.size)[self.rank]

    def divide(self, batch: int, tiles: int) -> int:
        """Size of a batch of a fold, all processes together.

        Parameters
        ----------
        batch : int
            Asked for.
        tiles : int
            Of the fold: there may be fewer.

        Raises
        ------
        ConfigError
            If the processes cannot divide it evenly, or there are more processes than tiles.
        """
        if batch % self.size or tiles < self.size:
            raise ConfigError(
                "the processes cannot divide a batch evenly", where="unet.batch",
                found=f"{batch}, with {tiles} tiles to train on",
                allowed=f"a multiple of {self.size}, the number of processes",
                fix="change unet.batch, or start another number of processes",
            )  # fmt: skip
        return batch if batch <= tiles else tiles // self.size * self.size

    def wrap(self, network: nn.Module, hardware: Hardware) -> nn.Module:
        """Let the processes share the gradients of a network; the network itself if alone.

        The gradient that comes out is the mean over processes.
        """
        if self.size == 1:
            return network
        cuda = hardware.device.type == "cuda"
        ids = [hardware.device.index or 0] if cuda else None
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(network, device_ids=ids, gradient_as_bucket_view=True)

    def shared_norms(self, network: nn.Module, hardware: Hardware) -> nn.Module:
        """Let batch norms see the batch of all processes, where torch can (CUDA)."""
        if self.size == 1 or hardware.device.type != "cuda":
            return network
        shared: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return shared

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum over the processes, without gradient."""
        if self.size == 1:
            return values
        out = values.detach().clone()
        distributed.all_reduce(out)
        return out

    def told(self, value: int) -> int:
        """What the first process says."""
        if self.size == 1:
            return value
        kind = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        said = torch.tensor(value, dtype=torch.int64, device=kind)
        distributed.broadcast(said, src=0)
        return int(said)


ALONE = Team()
"""One process."""


@dataclass(frozen=True)
class _TeamPool(Pool):
    """Sums over the batch of all processes."""

    team: Team

    def total(self, part: torch.Tensor) -> torch.Tensor:
        # The value is that of all parts, the gradient that of this one: summed over the processes
        # the gradients are those of the whole.
        return self.team.sum(part) + (part - part.detach())

    def whole(self, part: torch.Tensor) -> tuple[torch.Tensor, slice]:
        mine = part.detach().contiguous()
        parts = [torch.empty_like(mine) for _ in range(self.team.size)]  # of equal size: `divide`
        distributed.all_gather(parts, mine)
        start = self.team.rank * len(mine)
        return torch.cat(parts), slice(start, start + len(mine))
