"""Settings as they are saved with a run; a run folder of another version is refused."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from l4s_ensemble import config as configuration
from l4s_ensemble.config import Config
from l4s_ensemble.errors import RunError
from l4s_ensemble.run.files import read_json, write_json

log = logging.getLogger("l4s_ensemble")

SAVED = "config.json"
"""File of the settings that the run was fitted with; below `WORK` those of a fit under way."""

WORK = ".work"
"""Folder of the run for what is not whole yet."""


def save_settings(run: Path, config: Config) -> None:
    """Save the settings, so that later commands need only the run folder."""
    write_json(run / SAVED, config.model_dump(mode="json"))


def saved_settings(run: Path) -> dict[str, Any] | None:
    """Read the settings that a run was fitted with as plain values.

    They are those of a fit under way where none has ended, and None where none has begun.

    Raises
    ------
    RunError
        If they are damaged, or another version of this package made the run.
    """
    path = run / SAVED if (run / SAVED).is_file() else run / WORK / SAVED
    if not path.is_file():
        return None
    values = read_json(path)
    if not isinstance(values, dict):
        raise RunError(
            "a file of the run is damaged",
            where=path,
            found=type(values).__name__,
            allowed="a mapping of sections",
            fix="fit again with --config",
        )
    if values.get("format") != Config().format:
        raise _of_another_version(run, values)
    return values


def settings_to_fit(run: Path) -> dict[str, Any] | None:
    """Read the settings that a fit without ``--config`` goes on with.

    They are those of the fit that was interrupted last, else those of `saved_settings`.
    """
    saved = saved_settings(run)
    if saved is None or not (run / WORK / SAVED).is_file():
        return saved
    log.info("going on with the settings of the fit that was interrupted")
    return saved_settings(run / WORK)


def mismatches(run: Path, config: Config, stages: Iterable[str]) -> list[str]:
    """Say which fitted stages do not belong to the settings of the run, or to each other.

    A fit that was interrupted, or that fitted a part only, leaves such.
    """
    manifests = {
        name: read_json(run / name / "manifest.json")
        for name in stages
        if (run / name / "manifest.json").is_file()
    }
    now = _flat(config.model_dump(mode="json"))
    found = []
    for name, manifest in manifests.items():
        made_of = manifest.get("ingredients", {})
        was: dict[str, Any] = {}
        for section, value in made_of.get("sections", {}).items():
            was |= _flat({section: value})
        # A setting that only one version of this package knows tells nothing.
        other = [key for key, value in was.items() if now.get(key, value) != value]
        if other:
            found.append(f"{name} was fitted with other settings ({', '.join(other[:6])})")
        for needed, digest in made_of.get("inputs", {}).items():
            if needed in manifests and manifests[needed].get("digest") != digest:
                found.append(f"{name} was fitted before {needed} was fitted anew")
    return found


def _of_another_version(run: Path, values: dict[str, Any]) -> RunError:
    found, known = values.get("format", 1), Config().format
    if isinstance(found, int) and found > known:
        return RunError(
            "a newer version of this package made this run",
            where=run,
            found=f"format {found}",
            allowed=f"format {known}",
            fix="update the package",
        )
    # Settings changed beside the preset are left to the user: not all of them still exist.
    name, root = values.get("name"), _flat(values).get("data.root")
    preset = name if name in configuration.presets() else configuration.DEFAULT_PRESET
    words = ["l4s-ensemble", "fit-all", "--config", str(preset), "--data", str(root or "FOLDER")]
    words += ["--run", str(run.with_name(f"{run.name}-refitted"))]
    return RunError(
        "an older version of this package made this run",
        where=run,
        found=f"format {found}",
        allowed=f"format {known}",
        fix=f"fit it again into a new folder (this one stays as it is):\n{shlex.join(words)}",
    )


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Values by dotted name; a holdout is one value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and not f".{key}".endswith(".holdout"):
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = value
    return flat
