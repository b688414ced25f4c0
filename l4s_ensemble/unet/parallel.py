"""One network trained by several processes, a device each.

::

    torchrun --nproc-per-node 8 -m l4s_ensemble.unet.parallel runs/a --config default

brings the run up to its U-Net: the stages before it are done as always, by the first process;
then all of them train. ``l4s-ensemble fit-all --run runs/a`` goes on from there (with the same
``--adapt``, where there is one). On CUDA process i
of a machine has device i and the processes speak nccl, on the CPU they speak gloo. All of them read
and only the first one writes the run folder, so it must be one that all machines see.

``unet.batch`` is the batch of all processes together and is divided among them; every sample is
drawn with the same key as in one process. Which sums are those of one process:

* The loss, whatever its name: its sums are taken over the whole batch, and each process follows the
  gradient of its own part. What comes out is the gradient of one process, up to rounding.
* Batch norm, on CUDA, where the processes share their statistics (`torch.nn.SyncBatchNorm`). On the
  CPU torch cannot, and each part of a batch has its own statistics: choose ``unet.norm=group``,
  which never mixes tiles, if the result must be that of one process.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from l4s_ensemble.errors import ConfigError, L4SError
from l4s_ensemble.run.execute import Executor
from l4s_ensemble.run.files import write_json
from l4s_ensemble.run.log import start_logging
from l4s_ensemble.run.stage import Stage, StageContext
from l4s_ensemble.unet.training.team import ALONE, Team

log = logging.getLogger("l4s_ensemble")

STAGE = "unet"

WAIT = timedelta(days=2)
"""How long processes wait for the first one, which alone does the stages before and scores the
held tiles. Where one ends early, torchrun ends the others."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit the U-Net of a run with all the processes that torchrun started.

    Returns
    -------
    int
        0 done, 1 the data, the run or the settings are at fault.
    """
    asked = _parser().parse_args(arguments)
    start_logging(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING)
    try:
        team, device = join(asked.device)
        try:
            _lead(asked, team, device) if team.first else _follow(team, asked, device)
        finally:
            distributed.destroy_process_group()
    except L4SError as error:
        log.error("%s", error)
        return 1
    return 0


def join(device: str) -> tuple[Team, str]:
    """Meet the processes that torchrun started.

    Parameters
    ----------
    device : {'auto', 'cpu', 'cuda'}

    Returns
    -------
    team : Team
    device : str
        This process's own: ``cpu``, or ``cuda:i``.

    Raises
    ------
    ConfigError
        If torchrun did not start this process, or there are fewer devices than processes.
    """
    if "WORLD_SIZE" not in os.environ:
        raise ConfigError(
            "this process is not one of several", fix="start it with torchrun: torchrun "
            "--nproc-per-node 2 -m l4s_ensemble.unet.parallel DIR",
        )  # fmt: skip
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if cuda and local >= torch.cuda.device_count():
        raise ConfigError(
            "there are fewer CUDA devices than processes", where="--nproc-per-node",
            found=f"process {local} of this machine", allowed=torch.cuda.device_count(),
            fix="start one process a device, or use --device cpu",
        )  # fmt: skip
    if cuda:
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=WAIT)
    team = Team(distributed.get_rank(), distributed.get_world_size())
    return team, f"cuda:{local}" if cuda else "cpu"


def _lead(asked: argparse.Namespace, team: Team, device: str) -> None:
    """The first process: the stages before, then the U-Net together with the others."""
    from l4s_ensemble.pipeline import open_run
    from l4s_ensemble.stages import fit_stages

    orders = _orders()
    run = open_run(
        asked.run, source=asked.config, overrides=asked.set, data=asked.data,
        jobs=_threads(asked), device=device,
    )  # fmt: skip
    stages = fit_stages(run.config, run.data_root, asked.adapt)
    stage = next(s for s in stages if s.name == STAGE)
    run.fit(until=stage.needs, adapt=asked.adapt)
    executor = _TeamExecutor(run.folder, run.config, run.jobs, run.device, team=team, orders=orders)
    executor.execute([stage])
    _say(orders, None)


def _follow(team: Team, asked: argparse.Namespace, device: str) -> None:
    """Any other process: train as the first one says."""
    from l4s_ensemble.config import build
    from l4s_ensemble.unet import train

    orders = _orders()
    while (order := _hear(orders)) is not None:
        context = StageContext(
            Path(order["run"]), Path(order["out"]), build(order["config"]), order["params"],
            tuple(order["needs"]), jobs=_threads(asked), device=device,
        )  # fmt: skip
        train.stage(context, team)


@dataclass(frozen=True)
class _TeamExecutor(Executor):
    """Runs a stage in the processes that torchrun started, not in a new one."""

    team: Team = ALONE
    orders: Any = None  # a torch.distributed.ProcessGroup

    def _run_child(self, stage: Stage, work: Path) -> dict[str, Any]:
        from l4s_ensemble.run.child import usage
        from l4s_ensemble.unet import train

        context = StageContext(
            self.run.resolve(), work.resolve(), self.config, stage.params, stage.needs,
            jobs=self.jobs, device=self.device,
        )  # fmt: skip
        order = {
            "run": str(context.run),
            "out": str(context.out),
            "config": self.config.model_dump(mode="json"),
            "params": dict(stage.params),
            "needs": list(stage.needs),
        }
        _say(self.orders, order)
        summary = train.stage(context, self.team)
        write_json(work / "summary.json", summary)
        return dict(usage())


def _orders() -> Any:
    """A line on which to wait without keeping a device busy."""
    return distributed.new_group(backend="gloo", timeout=WAIT)


def _say(orders: Any, order: Mapping[str, Any] | None) -> None:
    distributed.broadcast_object_list([json.dumps(order)], src=0, group=orders)


def _hear(orders: Any) -> dict[str, Any] | None:
    box: list[str] = [""]
    distributed.broadcast_object_list(box, src=0, group=orders)
    order: dict[str, Any] | None = json.loads(box[0])
    return order


def _threads(asked: argparse.Namespace) -> int:
    """Threads of one process: the processes of a machine share its cores."""
    from l4s_ensemble.pipeline import default_jobs

    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, int(asked.jobs or default_jobs()) // beside)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="torchrun --nproc-per-node N -m l4s_ensemble.unet.parallel",
        description="Fit the U-Net of a run with several processes, a device each.",
    )
    # Not --run: torchrun reads that as the beginning of an option of its own.
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--config", help="preset or YAML file; that of the run by default")
    parser.add_argument("--data", type=Path, help="folder of the patches")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--adapt", metavar="SPLIT", help="split whose images are adapted to")
    parser.add_argument("--jobs", type=int, help="threads of all processes of this machine")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return parser


if __name__ == "__main__":
    sys.exit(main())
