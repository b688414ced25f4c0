"""All features of this version, and the choice of those that a sensor and a config allow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.bands import BY_NAME
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import ConfigError, ModelError
from l4s_ensemble.features import indices, neighbourhood, segments, terrain
from l4s_ensemble.features.definition import Feature, Words
from l4s_ensemble.features.scene_statistics import SceneStatistics
from l4s_ensemble.features.tile_context import FeatureFunction, Field, TileContext
from l4s_ensemble.features.window import Window
from l4s_ensemble.run.files import read_json

FEATURES_FILE = "features.json"

VERSION = 4
"""Raised when a feature of the same name changes its values. A model refuses another version."""

_BANDS = {
    "slope": (terrain.SLOPE, "steeper", "flatter"),
    "dem": (terrain.ELEVATION, "higher", "lower"),
}


def _band(name: str, unit: str) -> Field:
    words, more, less = _BANDS.get(
        name, (Words(name, f"much {name}", f"little {name}"), f"more {name}", f"less {name}")
    )
    return Field(
        name,
        (name,),
        0,
        lambda context: context.field(name),
        words,
        unit,
        more,
        less,
        relational=name in _BANDS,
    )


@lru_cache(maxsize=1)
def all_fields() -> dict[str, Field]:
    """Shared pictures by name; bands are fields too."""
    made = [_band(b.name, b.unit) for b in BY_NAME.values()] + indices.fields() + terrain.fields()
    known = {f.name: f for f in made}
    return known | {f.name: f for f in neighbourhood.fields(known)}


def reach_of(names: Iterable[str]) -> int:
    """Pixels that the widest of these fields reads beyond a patch; 0 of none."""
    return max((all_fields()[name].support_px for name in names), default=0)


FUNCTIONS: tuple[Callable[[dict[str, Field]], list[FeatureFunction]], ...] = (
    indices.functions,
    terrain.functions,
    neighbourhood.functions,
    segments.functions,
)
"""What makes the features of one group or more, from all fields by name."""


@lru_cache(maxsize=1)
def catalogue() -> dict[str, FeatureFunction]:
    """Every feature by name, in the order of the groups."""
    made = [f for functions in FUNCTIONS for f in functions(all_fields())]
    order = list(dict.fromkeys(f.feature.group for f in made))
    made.sort(key=lambda f: order.index(f.feature.group))
    return {f.feature.name: f for f in made}


def groups() -> tuple[str, ...]:
    """Groups of features, in their order."""
    return tuple(dict.fromkeys(f.feature.group for f in catalogue().values()))


@dataclass(frozen=True)
class LeftOut:
    """A feature that is not computed, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class FeaturePlan:
    """The ordered features of a run: what a model carries and compares.

    Attributes
    ----------
    sensor : str
        Name of the sensor it was made for.
    """

    sensor: str
    features: tuple[Feature, ...]
    left_out: tuple[LeftOut, ...] = ()
    version: int = VERSION

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(f.name for f in self.features)

    @property
    def support_px(self) -> int:
        """Pixels that the widest feature reads beyond a patch."""
        return max((f.support_px for f in self.features), default=0)

    @property
    def scene_fields(self) -> tuple[str, ...]:
        """Fields whose statistics of the scene the features read."""
        return tuple(dict.fromkeys(n for f in self.features for n in f.scene_fields))

    def only(self, names: Sequence[str]) -> FeaturePlan:
        """Give a plan of some of the features, in the order asked for.

        Raises
        ------
        ConfigError
            If a name is not in this plan.
        """
        have = {f.name: f for f in self.features}
        unknown = [n for n in names if n not in have]
        if unknown:
            reasons = {item.name: item.reason for item in self.left_out}
            raise ConfigError(
                "no such feature in the plan",
                found=", ".join(f"{n} ({reasons[n]})" if n in reasons else n for n in unknown),
                allowed=", ".join(have),
            )
        return FeaturePlan(self.sensor, tuple(have[n] for n in names), self.left_out, self.version)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; see `plan_from_dict`."""
        return {
            "version": self.version,
            "sensor": self.sensor,
            "support_px": self.support_px,
            "features": [asdict(f) for f in self.features],
            "left_out": [asdict(item) for item in self.left_out],
        }


def plan_from_dict(value: object, where: object = None) -> FeaturePlan:
    """Read back what `FeaturePlan.as_dict` gave.

    Raises
    ------
    ModelError
        If it was made by another version of the features, or names a feature unknown here.
    """
    if isinstance(value, dict) and value.get("version") != VERSION:
        raise ModelError(
            "the features were made by another version",
            where=where,
            found=value.get("version"),
            allowed=VERSION,
            fix="run the features stage and the fit again",
        )
    try:
        plan = TypeAdapter(FeaturePlan).validate_python(value)
    except ValidationError as error:
        raise ModelError("this is not a plan of features", where=where, found=error) from None
    if unknown := [name for name in plan.names if name not in catalogue()]:
        raise ModelError(
            "the plan names features that do not exist here",
            where=where,
            found=", ".join(unknown),
            fix="run the features stage and the fit again",
        )
    return plan


def plan_from_file(path: Path) -> FeaturePlan:
    """Read a plan of features from ``features.json``.

    Raises
    ------
    RunError
        If the file is missing or damaged.
    ModelError
        If it is no plan, or of another version.
    """
    return plan_from_dict(read_json(path), path)


def select(sensor: Sensor, config: FeaturesConfig) -> FeaturePlan:
    """Choose the features that a sensor has the bands for and the config wants.

    Parameters
    ----------
    config : FeaturesConfig
        ``groups`` and ``exclude``.

    Returns
    -------
    FeaturePlan
        Features in the order of the catalogue, and each one left out with its reason.

    Raises
    ------
    ConfigError
        If a group or an excluded name does not exist, or nothing is left.
    """
    _known("features.groups", config.groups, groups())
    _known("features.exclude", config.exclude, tuple(catalogue()))
    chosen: list[Feature] = []
    left_out: list[LeftOut] = []
    for each in catalogue().values():
        reason = _reason(each.feature, sensor, config)
        if reason is None:
            chosen.append(each.feature)
        else:
            left_out.append(LeftOut(each.feature.name, reason))
    if not chosen:
        raise ConfigError(
            "no feature is left",
            where=f"sensor {sensor.name}",
            found=config.groups,
            allowed=", ".join(groups()),
            fix="add a group to features.groups",
        )
    return FeaturePlan(sensor.name, tuple(chosen), tuple(left_out))


def _reason(feature: Feature, sensor: Sensor, config: FeaturesConfig) -> str | None:
    missing = [b for b in feature.needs if b not in sensor.band_names]
    if missing:
        return f"the sensor has no {', '.join(missing)}"
    if feature.radiometry == "absolute" and sensor.radiometry != "absolute":
        return "needs true reflectance; the sensor's values are relative"
    if feature.radiometry == "relative" and sensor.radiometry != "relative":
        return "for relative values; the sensor has true reflectance"
    if feature.superseded_by and set(feature.superseded_by) <= set(sensor.band_names):
        return f"other features say it better where {', '.join(feature.superseded_by)} is there"
    if config.groups and feature.group not in config.groups:
        return f"group {feature.group} is not in features.groups"
    if feature.name in config.exclude:
        return "excluded by features.exclude"
    return None


def _known(where: str, found: Sequence[str], allowed: Sequence[str]) -> None:
    import difflib

    unknown = [n for n in found if n not in allowed]
    if unknown:
        close = difflib.get_close_matches(unknown[0], allowed, n=1)
        raise ConfigError(
            "no such name",
            where=where,
            found=", ".join(unknown),
            allowed=", ".join(allowed) if len(allowed) < 10 else f"{len(allowed)} names",
            fix=f"did you mean {close[0]}?" if close else "l4s-ensemble features lists all names",
        )


def compute_window(
    window: Window, sensor: Sensor, plan: FeaturePlan, statistics: SceneStatistics | None = None
) -> NDArray[np.float32]:
    """Compute the features of one patch.

    Parameters
    ----------
    window : Window
        Gives bands with as much of the neighbourhood as is asked for.
    statistics : SceneStatistics, optional
        Of the scene that the patch lies in, for features that are relative to it. Without them
        those of the patch itself stand in.

    Returns
    -------
    float32 array, shape (feature, y, x)
        All finite. Where the window knows ``plan.support_px`` pixels around, and with statistics of
        the scene, they are bit for bit those that the whole scene as one array would give.

    Raises
    ------
    DataError
        If a band is not finite.
    """
    functions = catalogue()
    out = np.empty((len(plan.features), *window.size), np.float32)
    context = TileContext(window, sensor, plan.support_px, all_fields(), statistics)
    for target, feature in zip(out, plan.features, strict=True):
        target[...] = functions[feature.name].image(context)
    return out
