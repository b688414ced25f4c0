"""A run as one object: fit, predict, score."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l4s_ensemble import config as configuration
from l4s_ensemble.config import Config
from l4s_ensemble.errors import ConfigError, RunError
from l4s_ensemble.run.execute import Executor
from l4s_ensemble.run.export import unpack
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.settings import SAVED, mismatches, saved_settings, settings_to_fit
from l4s_ensemble.run.stage import Stage
from l4s_ensemble.stages import OCCLUSION, fit_stages, predict_stages

if TYPE_CHECKING:
    import xarray as xr

    from l4s_ensemble.adapt.choose import Choice
    from l4s_ensemble.adapt.summary import AdaptationSummary

SPLITS = ("train", "valid", "test", "holdout")
FIT_STAGES = ("data/train", "scenes", "features", "pixel", "unet", "stack")
DEFAULT_RUN = Path("runs/default")


@dataclass(frozen=True)
class Run:
    """A run folder with its settings.

    Attributes
    ----------
    folder : Path
        Holds one folder a stage.
    config : Config
    jobs : int
        Processes or threads a stage may use.
    device : str
        As ``--device``: ``auto``, ``cpu``, ``cuda``, or ``cuda:0,cuda:1`` for several.

    Examples
    --------
    >>> run = load_run("runs/demo")                                 # doctest: +SKIP
    >>> run.predict("valid")                                        # doctest: +SKIP
    """

    folder: Path
    config: Config
    jobs: int = 1
    device: str = "auto"

    def fit(self, until: Sequence[str] = ("stack",)) -> dict[str, bool]:
        """Bring the stages named in `until`, and all they need, up to date.

        Parameters
        ----------
        until : sequence of str
            Names of stages.

        Returns
        -------
        dict
            Stage name to whether it ran; False where nothing had changed.
        """
        stages = {s.name: s for s in fit_stages(self.config, self.data_root)}
        wanted = _closure(stages, until)
        if "unet" in wanted and self.config.report.occlusion:
            wanted.add(OCCLUSION)
        chosen = [s for name, s in stages.items() if name in wanted]
        ran = self._executor().execute(chosen, save=True)
        self._write_card()
        return ran

    def predict(
        self,
        split: str = "valid",
        *,
        data: Path | None = None,
        adapt: bool = True,
        fast: bool = False,
    ) -> xr.Dataset:
        """Predict a split with the fitted models; nothing is done again that is up to date.

        Parameters
        ----------
        split : {'valid', 'test', 'train', 'holdout'}
            ``holdout``: the training tiles that `data.holdout` holds out.
        data : Path, optional
            Another folder of patches of the same sensor.
        adapt : bool
            Whether the U-Net takes batch statistics of the images, see `Ensemble.predict`. Tiles
            that the run was fitted on are never adapted to.
        fast : bool
            Whether one fold's models predict, without averaging over symmetries: less exact. The
            full prediction of the split stays as it is.

        Returns
        -------
        xarray.Dataset
            ``probability`` float32 and ``mask`` uint8, dims ``(patch, y, x)``. The attributes are
            the result's summary (``threshold``, ``predicted_share`` …), its ``folder``, and
            ``landslides_stage`` and ``landslides_folder``, where ``landslides.csv`` has a row for
            each predicted landslide. ``applicability`` says how many tiles are unlike all training
            tiles.
        """
        from l4s_ensemble.predict.result import open_masks, open_probability

        stages = self._predict_stages(split, data, adapt, fast)
        landslides = self._bring_up_to_date(stages, "landslides")
        result = landslides.with_name("result")
        found = open_probability(result)
        found.attrs = {
            **self.summary(result.relative_to(self.folder).as_posix()),
            "folder": str(result),
            "landslides_stage": landslides.relative_to(self.folder).as_posix(),
            "landslides_folder": str(landslides),
        }
        found["mask"] = ("patch", "y", "x"), open_masks(result, found["patch"].values)
        return found

    def evaluate(
        self,
        split: str = "valid",
        *,
        data: Path | None = None,
        adapt: bool = True,
        fast: bool = False,
    ) -> dict[str, Any]:
        """Predict a split if that has not been done, and score it where masks exist.

        Parameters
        ----------
        split, data, adapt, fast
            See `predict`.

        Returns
        -------
        dict
            The summary of the scores: ``comparison``, ``gain``, ``threshold`` and more.
        """
        stages = self._predict_stages(split, data, adapt, fast)
        folder = self._bring_up_to_date(stages, "scores")
        summary: dict[str, Any] = read_json(folder / "summary.json")
        return summary

    def adapt(
        self,
        labels: Path,
        out: Path,
        *,
        split: str = "valid",
        data: Path | None = None,
        scene: Path | None = None,
        anyway: bool = False,
        curve: int = 0,
    ) -> AdaptationSummary:
        """Adapt the models to a few labelled tiles of a place, into a run folder of its own.

        Parameters
        ----------
        labels : Path
            See `l4s_ensemble.adapt.labels.read_labels`; with `scene` also polygons, see
            `l4s_ensemble.adapt.scene.polygon_labels`.
        out : Path
            Folder of the adapted run; it must not exist.
        split : {'valid', 'test', 'train'}
        data : Path, optional
            Another folder of patches of the same sensor.
        scene : Path, optional
            Folder of a map: the tiles are of its scene, not of a split.
        anyway : bool
            Whether the adapted models are used though no gain is shown.
        curve : int
            Draws of the learning curve; 0: no curve.
        """
        from l4s_ensemble.adapt.labels import POLYGONS, check_labels, digests_of, read_labels
        from l4s_ensemble.adapt.run import adapt_run
        from l4s_ensemble.data.sensor import require_sensor
        from l4s_ensemble.data.store import STORE
        from l4s_ensemble.features.source import FeatureSource
        from l4s_ensemble.predict.ensemble import Ensemble

        ensemble = Ensemble.load(self.folder, device=self.device, jobs=self.jobs)
        place: dict[str, str] = {"split": split}
        if scene is not None:
            from l4s_ensemble.adapt.scene import polygon_labels, source_of_scene
            from l4s_ensemble.maps.written import open_map

            mapped, place = open_map(scene), {"scene": str(scene)}
            require_sensor(mapped.asked.sensor, ensemble.sensor)
            drawn = labels.suffix.lower() in POLYGONS
            read = polygon_labels(labels, mapped) if drawn else read_labels(labels, ensemble.sensor)
            source = source_of_scene(ensemble, mapped.reader, read.patch, self.jobs)
        else:
            read = read_labels(labels, ensemble.sensor)
            patches, result = self._result(split, data)
            source = FeatureSource.beside(self.folder / "pixel", patches / STORE, result)
        name, *_ = place.values()
        check_labels(read, source.dataset(), name, digests_of(self.folder))
        return adapt_run(ensemble, read, source, out, **place, anyway=anyway, curve=curve)

    def label(
        self,
        page: Path,
        tiles: int = 20,
        *,
        split: str = "valid",
        data: Path | None = None,
        scene: Path | None = None,
    ) -> list[Choice]:
        """Choose tiles of a place that are worth a label, and write a page to label them on.

        Parameters
        ----------
        page : Path
            The HTML file.
        tiles : int
            How many; all where there are no more.
        split, data, scene
            As of `adapt`.
        """
        from l4s_ensemble.adapt.choose import candidates, choose
        from l4s_ensemble.adapt.labels import digests_of
        from l4s_ensemble.data.store import open_store
        from l4s_ensemble.predict.result import open_masks
        from l4s_ensemble.report.labelling import write_labelling_page

        if scene is not None:
            from l4s_ensemble.adapt.scene import candidates_of_scene, mapped_masks, read_tiles
            from l4s_ensemble.maps.written import open_map

            mapped = open_map(scene)
            chosen = choose(candidates_of_scene(mapped), tiles)
            patch = [c.patch for c in chosen]
            shown, masks = read_tiles(mapped.reader, patch), mapped_masks(mapped, patch)
        else:
            patches, result = self._result(split, data)
            chosen = choose(candidates(patches, result), tiles)
            patch = [c.patch for c in chosen]
            shown, masks = open_store(patches).sel(patch=patch), open_masks(result, patch)
        write_labelling_page(
            page,
            shown,
            masks,
            chosen,
            run=self.folder.name,
            place=split if scene is None else scene.resolve().name,
            models=digests_of(self.folder),
        )
        return chosen

    def summary(self, stage: str) -> dict[str, Any]:
        """Summary of a finished stage."""
        value: dict[str, Any] = read_json(self.folder / stage / "summary.json")
        return value

    @property
    def data_root(self) -> Path:
        """Folder of the patches.

        Raises
        ------
        ConfigError
            If no folder has been named.
        """
        if self.config.data.root is None:
            raise ConfigError(
                "no data folder was named",
                fix="give --data DIR, set L4S_DATA, or make some: l4s-ensemble data synth DIR",
            )
        return Path(self.config.data.root)

    def _predict_stages(
        self, split: str, data: Path | None, adapt: bool = True, fast: bool = False
    ) -> list[Stage]:
        if split not in SPLITS:
            raise ConfigError("no such split", found=split, allowed=", ".join(SPLITS))
        if not (self.folder / "stack" / "manifest.json").is_file():
            raise RunError(
                "this run has no fitted models yet",
                where=self.folder,
                fix="run `l4s-ensemble fit-all` with the same --run first",
            )
        if apart := mismatches(self.folder, self.config, FIT_STAGES):
            raise RunError(
                "the models of this run do not belong together: a fit was interrupted, or only a "
                "part was fitted again",
                where=self.folder,
                found="; ".join(apart),
                fix="run `l4s-ensemble fit-all` with the same --run; it goes on where it stopped",
            )
        root = data if data is not None else self.data_root
        saved = self.config.data.root
        own = saved is not None and root.resolve() == Path(saved).resolve()
        return predict_stages(self.config, root, split, own=own, adapt=adapt, fast=fast)

    def _result(self, split: str, data: Path | None) -> tuple[Path, Path]:
        """Predict a split if that has not been done; folders of its patches and of the result."""
        stages = self._predict_stages(split, data)
        result = self._bring_up_to_date(stages, "result")
        return self.folder / stages[0].name, result

    def _bring_up_to_date(self, stages: Sequence[Stage], last: str) -> Path:
        """Run those of a prediction's stages that its stage `last` needs; give that one's folder.

        Stages of the fit are not run here, whatever has changed.
        """
        by_name = {s.name: s for s in stages}
        final = next(name for name in by_name if name.endswith(f"/{last}"))
        wanted = _closure(by_name, [final])
        self._executor().execute([s for s in stages if s.name in wanted])
        self._write_card()
        return self.folder / final

    def _write_card(self) -> None:
        from l4s_ensemble.predict.card import write_card

        write_card(self.folder)

    def _executor(self) -> Executor:
        return Executor(self.folder, self.config, jobs=self.jobs, device=self.device)


def load_run(folder: str | Path, *, jobs: int | None = None, device: str = "auto") -> Run:
    """Open a run folder that `fit-all` (or `features`) has written.

    Parameters
    ----------
    folder : str or Path
        Or a file of `l4s_ensemble.run.export.export_run`: ``FILE.zip`` is unpacked into
        ``runs/FILE``.

    Raises
    ------
    RunError
        If the folder holds no run, or one of another version of this package, or the file is
        damaged.
    """
    path = Path(folder)
    if path.is_file():
        path = unpack(path, DEFAULT_RUN.parent / path.stem)
    values = saved_settings(path)
    if values is None:
        raise RunError(
            "no run in this folder",
            where=path,
            fix="run `l4s-ensemble fit-all --run DIR` first, or name another folder",
        )
    config = configuration.build(values, where=str(path / SAVED))
    return Run(path, config, jobs=jobs or default_jobs(), device=device)


def open_run(
    folder: Path,
    *,
    source: str | None = None,
    overrides: Sequence[str] = (),
    data: Path | None = None,
    jobs: int | None = None,
    device: str = "auto",
) -> Run:
    """Settings for a command: a named config, else those saved in the run, else the default.

    Parameters
    ----------
    folder : Path
        The run folder; it need not exist.
    source : str, optional
        Preset or config file.
    overrides : sequence of str
        ``section.key=value``.
    data : Path, optional
        Folder of the patches; it is saved with the run.

    Raises
    ------
    RunError
        If another version of this package made the run.
    """
    saved = settings_to_fit(folder)
    if source is None and saved is not None:
        config = configuration.build(saved, overrides, where=str(folder / SAVED))
    else:
        config = configuration.load(source or configuration.DEFAULT_PRESET, overrides)
        if config.data.root is None and saved is not None:
            section = saved.get("data")
            root = section.get("root") if isinstance(section, dict) else None
            config = _with_root(config, None if root is None else str(root))
    if data is not None:
        config = _with_root(config, str(data.resolve()))
    return Run(folder, config, jobs=jobs or default_jobs(), device=device)


def default_jobs() -> int:
    """Number of cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _closure(stages: dict[str, Stage], until: Sequence[str]) -> set[str]:
    """Names of the stages in `until` and of all they need, as far as they are in `stages`."""
    wanted: set[str] = set()
    todo = list(until)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += [n for n in stages[name].needs if n in stages]
    return wanted


def _with_root(config: Config, root: str | None) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update={"root": root})})
