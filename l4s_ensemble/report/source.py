"""Read what a run left behind: summaries, manifests and arrays of whatever stages there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from l4s_ensemble.config import Config, build
from l4s_ensemble.errors import RunError
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.settings import SAVED, saved_settings

if TYPE_CHECKING:
    import xarray as xr

    from l4s_ensemble.metrics.tiles import TileHistograms

FITS = ("scenes", "features", "pixel", "unet", "explain/unet", "stack")
"""Stages that a ``fit-all`` runs after the data, in order."""


@dataclass(frozen=True)
class StageRecord:
    """One finished stage of a run.

    Attributes
    ----------
    name : str
        ``pixel``, ``data/train``, ``predict/valid/result`` …
    folder : Path
    summary, manifest : dict
        As the stage and the executor wrote them.
    """

    name: str
    folder: Path
    summary: Mapping[str, Any]
    manifest: Mapping[str, Any]

    @property
    def seconds(self) -> float | None:
        """Wall time of the stage, if its manifest tells."""
        value = self.manifest.get("seconds")
        return float(value) if value is not None else None


class RunSource:
    """A run folder, opened for reading.

    Parameters
    ----------
    run : Path
        Folder that holds the stages' folders.
    config : Config, optional
        Settings to show and to use for the report; without them those of the latest stage.

    Raises
    ------
    RunError
        If the folder does not exist, holds no finished stage, or a summary is damaged.
    """

    def __init__(self, run: Path, config: Config | None = None) -> None:
        self.run = Path(run)
        if not self.run.is_dir():
            raise RunError("no such run folder", where=self.run, fix="check --run")
        found = sorted(self.run.glob("data/*/summary.json"))
        found += [self.run / name / "summary.json" for name in FITS]
        found += sorted(self.run.glob("predict/*/*/summary.json"))
        self.stages = {r.name: r for r in map(self._record, found) if r is not None}
        if not self.stages:
            raise RunError(
                "the run folder holds no finished stage", where=self.run,
                fix="run `l4s-ensemble fit-all` with this run folder first",
            )  # fmt: skip
        self._config = config
        self._kept: dict[str, Any] = {}
        self.asked_last = self.run
        """Summary that was asked for last: an error about its content can name the file."""

    def _record(self, path: Path) -> StageRecord | None:
        if not path.is_file():
            return None
        summary = read_json(path)
        manifest_path = path.with_name("manifest.json")
        manifest = read_json(manifest_path) if manifest_path.is_file() else {}
        for value, file in ((summary, path), (manifest, manifest_path)):
            if not isinstance(value, dict):
                raise RunError(
                    "a file of the run is damaged", where=file, found=type(value).__name__,
                    allowed="a JSON object", fix="delete its folder and run the stage again",
                )  # fmt: skip
        folder = path.parent
        return StageRecord(folder.relative_to(self.run).as_posix(), folder, summary, manifest)

    def __getitem__(self, stage: str) -> StageRecord:
        return self.stages[stage]

    def __contains__(self, stage: str) -> bool:
        return stage in self.stages

    def summary(self, stage: str) -> Mapping[str, Any]:
        """Summary of a stage, empty if it has not been run."""
        if stage not in self.stages:
            return {}
        self.asked_last = self.stages[stage].folder / "summary.json"
        return self.stages[stage].summary

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """Value of `make`, made once and kept: pages and checks both ask for it."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    @property
    def splits(self) -> list[str]:
        """Splits whose data were stored, train first."""
        names = [s.removeprefix("data/") for s in self.stages if s.startswith("data/")]
        return sorted(names, key=lambda s: (s != "train", s))

    @property
    def predicted(self) -> list[str]:
        """Splits with a result."""
        return [s.split("/")[1] for s in self.stages if s.endswith("/result")]

    def data_stage(self, split: str) -> str:
        """Name of the data stage that a predicted split's tiles come from.

        A prediction of another folder has a data stage of its own; the holdout is a part of
        the training tiles.
        """
        for name in (f"predict/{split}/data", f"data/{split}"):
            if name in self:
                return name
        return "data/train"

    @cached_property
    def config(self) -> Config:
        """Settings given, else those saved with the run, else of the stage that started last."""
        if self._config is not None:
            return self._config
        saved = saved_settings(self.run)
        if saved is not None:
            return build(saved, where=str(self.run / SAVED))
        dated = [r for r in self.stages.values() if isinstance(r.manifest.get("config"), dict)]
        if not dated:
            return Config()
        last = max(dated, key=lambda r: str(r.manifest.get("started", "")))
        return build(dict(last.manifest["config"]), where=str(last.folder / "manifest.json"))

    @cached_property
    def card(self) -> Mapping[str, Any]:
        """The model card, empty where the run has none."""
        path = self.run / "model_card.json"
        if not path.is_file():
            return {}
        self.asked_last = path
        found = read_json(path)
        if not isinstance(found, dict):
            raise _damaged(path, type(found).__name__)
        return found

    def store(self, split: str) -> xr.Dataset:
        """Open the patch store that a split's tiles are in."""
        from l4s_ensemble.data.store import open_store

        return open_store(self[self.data_stage(split)].folder / "patches.zarr")

    def array(self, stage: str, name: str) -> xr.Dataset | None:
        """Open ``<stage>/<name>`` (zarr) lazily, or None if it is not there."""
        from l4s_ensemble.run.scores import open_scores

        path = self.run / stage / name
        return open_scores(path) if path.is_dir() else None

    def arrays(self, stage: str, name: str) -> dict[str, np.ndarray] | None:
        """Read ``<stage>/<name>`` (npz) whole, or None if it is not there."""
        path = self.run / stage / name
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except Exception as error:  # zipfile, zlib and numpy each have their own errors
            raise _damaged(path, error) from None

    def tiles(self, stage: str, name: str = "tiles.npz") -> TileHistograms | None:
        """Histograms of probability tile by tile, or None if they are not there."""
        from l4s_ensemble.metrics.tiles import TileHistograms

        found = self.arrays(stage, name)
        if found is None:
            return None
        if not {"patch", "positive", "negative"} <= set(found):
            raise _damaged(self.run / stage / name, f"holds {', '.join(sorted(found))}")
        return TileHistograms(found["patch"], found["positive"], found["negative"])


def _damaged(path: Path, error: object) -> RunError:
    return RunError(
        "a file of the run is damaged", where=path, found=error,
        fix="delete the folder it stands in and run the stage again",
    )  # fmt: skip
