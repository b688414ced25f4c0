"""Read what a run left behind: typed summaries, manifests and arrays of whatever stages there are.

All that pages and checks know of a run comes through `RunSource`. A summary is validated when the
run is opened: one of another version is an error there, and never in a page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import ValidationError

from l4s_ensemble.adapt.summary import AdaptationSummary
from l4s_ensemble.config import Config, build
from l4s_ensemble.data.summary import DataSummary
from l4s_ensemble.errors import RunError
from l4s_ensemble.features.summary import FeaturesSummary
from l4s_ensemble.pixel.summary import PixelSummary
from l4s_ensemble.predict.summary import LandslidesSummary, ResultSummary, ScoresSummary
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.settings import SAVED, saved_settings
from l4s_ensemble.run.stage import SummaryModel
from l4s_ensemble.scenes.summary import ScenesSummary
from l4s_ensemble.stack.summary import StackSummary
from l4s_ensemble.unet.summary import ExplainSummary, UNetSummary

if TYPE_CHECKING:
    import xarray as xr

    from l4s_ensemble.metrics.tiles import TileHistograms
    from l4s_ensemble.scenes.folds import Folds

PLACE = ("scene", "row", "col")

FITS = ("scenes", "features", "pixel", "unet", "explain/unet", "stack")
"""Stages that a ``fit-all`` runs after the data, in order."""

STAGES: dict[type[SummaryModel], str] = {
    AdaptationSummary: "adapt",
    DataSummary: "data/{}",
    ScenesSummary: "scenes",
    FeaturesSummary: "features",
    PixelSummary: "pixel",
    UNetSummary: "unet",
    ExplainSummary: "explain/unet",
    StackSummary: "stack",
    ResultSummary: "predict/{}/result",
    LandslidesSummary: "predict/{}/landslides",
    ScoresSummary: "predict/{}/scores",
}
"""Stage of each kind of summary; ``{}`` stands for the split."""

S = TypeVar("S", bound=SummaryModel)


@dataclass(frozen=True)
class StageRecord:
    """One finished stage of a run.

    Attributes
    ----------
    name : str
        ``pixel``, ``data/train``, ``predict/valid/result`` …
    folder : Path
    manifest : dict
        As the executor wrote it.
    """

    name: str
    folder: Path
    manifest: Mapping[str, Any]

    @property
    def seconds(self) -> float:
        """Wall time of the stage, 0 if its manifest does not say."""
        return float(self.manifest.get("seconds") or 0.0)


class RunSource:
    """A run folder, opened for reading.

    Parameters
    ----------
    run : Path
        Folder that holds the stages' folders.
    config : Config, optional
        Settings to show and to use for the report; without them those of the latest stage.

    Attributes
    ----------
    stages : dict of str to StageRecord
    summaries : dict of str to SummaryModel
        Of the stages that pages read, see `STAGES`.

    Raises
    ------
    RunError
        If the folder does not exist, holds no finished stage, or a summary is damaged or of another
        version; the message names the file.
    """

    def __init__(self, run: Path, config: Config | None = None) -> None:
        self.run = Path(run)
        if not self.run.is_dir():
            raise RunError("no such run folder", where=self.run, fix="check --run")
        self._kept: dict[str, Any] = {}
        found = sorted(self.run.glob("data/*/summary.json"))
        found += [self.run / name / "summary.json" for name in FITS]
        found += sorted(self.run.glob("predict/*/*/summary.json"))
        found.append(self.run / "adapt" / "summary.json")
        self.stages: dict[str, StageRecord] = {}
        self.summaries: dict[str, SummaryModel] = {}
        for folder in (path.parent for path in found if path.is_file()):
            name = folder.relative_to(self.run).as_posix()
            manifest = self.json(f"{name}/manifest.json") or {}
            self.stages[name] = StageRecord(name, folder, manifest)
            kind = _kind_of(name)
            if kind is not None:
                self.summaries[name] = read_summary(folder / "summary.json", kind)
        if not self.stages:
            raise RunError(
                "the run folder holds no finished stage",
                where=self.run,
                fix="run `l4s-ensemble fit-all` with this run folder first",
            )
        self._config = config

    def get(self, kind: type[S], split: str = "train") -> S | None:
        """Summary of a stage by its kind; None where the stage was not run."""
        found = self.summaries.get(STAGES[kind].format(split))
        return found if isinstance(found, kind) else None

    def need(self, kind: type[S], split: str = "train") -> S:
        """Summary of a stage that must have been run.

        Raises
        ------
        RunError
            If it was not.
        """
        found = self.get(kind, split)
        if found is None:
            where = self.run / STAGES[kind].format(split)
            raise RunError("a stage of this run is missing", where=where, fix="run it again")
        return found

    def data(self, split: str) -> DataSummary | None:
        """Summary of the patches that a split's tiles are from, see `data_stage`."""
        found = self.summaries.get(self.data_stage(split))
        return found if isinstance(found, DataSummary) else None

    def json(self, path: str) -> dict[str, Any] | None:
        """Read a JSON object of the run; None where the file is not there.

        Raises
        ------
        RunError
            If it is no JSON object.
        """
        file = self.run / path
        if not file.is_file():
            return None
        found = read_json(file)
        if not isinstance(found, dict):
            raise _damaged(file, f"{type(found).__name__}, no JSON object")
        return found

    def __getitem__(self, stage: str) -> StageRecord:
        return self.stages[stage]

    def __contains__(self, stage: str) -> bool:
        return stage in self.stages

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
        return self.json("model_card.json") or {}

    def pixel_m(self, split: str = "train") -> float:
        """Edge of a pixel of a split's tiles, metres; 10 where their store is not there."""
        from l4s_ensemble.data.store import sensor_of

        here = self.data_stage(split) in self
        return float(sensor_of(self.store(split)).pixel_m) if here else 10.0

    @cached_property
    def folds(self) -> Folds | None:
        """Folds of the training tiles, None where the run has none."""
        from l4s_ensemble.scenes.folds import load_folds

        return load_folds(self["scenes"].folder) if "scenes" in self else None

    def places(self, split: str) -> dict[int, dict[str, int]]:
        """Scene, row and column of tiles by id: the folds know them best, else the store."""
        known: Any = self.folds if self.data_stage(split) == "data/train" else None
        if known is None:
            columns = {k: self.store(split)[k].values.tolist() for k in ("patch", *PLACE)}
        else:
            columns = {k: getattr(known, k).tolist() for k in ("patch", *PLACE)}
        ids = columns.pop("patch")
        return {p: {k: v[i] for k, v in columns.items()} for i, p in enumerate(ids)}

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

    def tiles(self, stage: str, name: str = "tiles.npz") -> TileHistograms:
        """Histograms of probability tile by tile."""
        from l4s_ensemble.metrics.tiles import TileHistograms

        found = self.arrays(stage, name) or {}
        if not {"patch", "positive", "negative"} <= set(found):
            raise _damaged(self.run / stage / name, f"holds {', '.join(sorted(found)) or None}")
        return TileHistograms(found["patch"], found["positive"], found["negative"])


def read_summary(path: Path, kind: type[S]) -> S:
    """Read the summary of a stage.

    Raises
    ------
    RunError
        If it cannot be read, lacks a field or has another one.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RunError(
            "the summary of a stage is damaged or of another version",
            where=path,
            found=f"{place}: {first['msg']}" if place else first["msg"],
            allowed=f"the fields of {kind.__name__}",
            fix="run the stage again with this version, or delete its folder",
        ) from None


def _kind_of(stage: str) -> type[SummaryModel] | None:
    first, _, rest = stage.partition("/")
    if first == "predict" and rest.endswith("/data"):
        return DataSummary
    for kind, name in STAGES.items():
        before, split, after = name.partition("{}")
        if stage == name or (split and stage.startswith(before) and stage.endswith(after)):
            return kind
    return None


def _damaged(path: Path, error: object) -> RunError:
    fix = "delete the folder it stands in and run the stage again"
    return RunError("a file of the run is damaged", where=path, found=error, fix=fix)
