"""Read settings: presets, files, overrides, and errors of unusable values."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from l4s_ensemble.config.removed import removed_in
from l4s_ensemble.config.sections import Config
from l4s_ensemble.errors import ConfigError

DEFAULT_PRESET = "default"


def config_folder() -> Path:
    """Folder of the presets: inside the wheel, or beside the package in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def presets() -> list[str]:
    """Names of the presets that come with the package, sorted."""
    return sorted(p.stem for p in config_folder().glob("*.yaml"))


def is_preset(config: Config) -> bool:
    """Whether settings are those of the preset they are named after, but for the data folder."""
    if config.name not in presets():
        return False
    own, known = config.model_dump(), load(config.name).model_dump()
    own["data"].pop("root"), known["data"].pop("root")
    return bool(own == known)


def load(source: str | Path = DEFAULT_PRESET, overrides: Sequence[str] = ()) -> Config:
    """Read a preset or a YAML file and apply ``key.path=value`` overrides.

    Parameters
    ----------
    source : str or Path
        The name of a preset (see `presets`) or the path of a YAML file.
    overrides : sequence of str
        Each ``section.key=value``; the value is read as YAML.

    Raises
    ------
    ConfigError
        If there is no such preset or file, it is not YAML, or a key or value is not allowed.
    """
    return build(_read(source), overrides, where=str(source))


def build(
    values: dict[str, Any], overrides: Iterable[str] = (), *, where: str = "settings"
) -> Config:
    """Make a `Config` of plain nested values, as read from YAML or JSON.

    Raises
    ------
    ConfigError
        If they are no mapping, or a key or value is not allowed or no longer exists.
    """
    if not isinstance(values, dict):
        raise ConfigError(
            "a config is a mapping of sections", where=where, found=type(values).__name__
        )
    tree = copy.deepcopy(values)
    for text in overrides:
        _override(tree, text)
    if gone := removed_in(tree):
        raise ConfigError(
            "settings that no longer exist",
            where=where,
            found="; ".join(gone),
            fix="leave them out; l4s-ensemble config shows all settings and their defaults",
        )
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise _explain(error, where) from None


def _read(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    preset = config_folder() / f"{source}.yaml"
    if path.suffix in {".yaml", ".yml", ".json"} or path.is_file():
        if not path.is_file():
            raise ConfigError("no such config file", where=path, fix="check the path")
    elif preset.is_file():
        path = preset
    else:
        raise ConfigError(
            "no preset of that name",
            found=str(source),
            allowed=", ".join(presets()),
            fix="name a preset, or give the path of a .yaml file",
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError("the config is not YAML", where=path, found=error) from None
    return {} if values is None else values


def _override(tree: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(
            "an override has the form section.key=value",
            found=text,
            fix="for example unet.epochs=4",
        )
    *parents, last = key.strip().split(".")
    node = tree
    for part in parents:
        if not isinstance(node.get(part), dict):
            node[part] = {}
        node = node[part]
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError("the override's value is not YAML", where=key, found=error) from None


def _explain(error: ValidationError, where: str) -> ConfigError:
    faults = []
    for item in error.errors():
        key = ".".join(str(p) for p in item["loc"])
        if item["type"] in {"extra_forbidden", "invalid_key"}:
            faults.append(f"{key}: no such setting{_nearest(item['loc'])}")
        else:
            faults.append(f"{key} = {item['input']!r}: {item['msg']}")
    return ConfigError(
        "the settings are not usable",
        where=where,
        found="; ".join(faults),
        fix="l4s-ensemble config shows all settings and their defaults",
    )


def _nearest(location: tuple[int | str, ...]) -> str:
    """Name the most similar allowed key, for a typing mistake."""
    import difflib

    model: Any = Config
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(str(part))
        model = field.annotation if field is not None else None
    names = list(getattr(model, "model_fields", {}))
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
