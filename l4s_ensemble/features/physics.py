"""What is known of a feature before any training: where a landslide moves it, what cancels in it.

A fresh landslide has lost its plants and shows bare, dry, bright, reddish ground. A model that may
learn anything learns, beside that, how bright and how red the ground of its training scene is; in
a scene with paler or redder ground it fails. Two facts of each feature help against it: the
direction that physics expects (for monotone constraints), and whether the level of the scene
cancels in it (a difference to its surroundings, a spread, a shape).
"""

from __future__ import annotations

EXPECTED: dict[str, int] = {
    # less vegetation
    "ndvi": -1, "evi2": -1, "msavi": -1, "gndvi": -1, "ndre": -1, "nd705": -1, "cire": -1,
    "osavi": -1, "mcari": -1, "gli": -1, "vari": -1, "rgbvi": -1, "tc_greenness": -1,
    # less water in leaves and soil
    "ndmi": -1, "nbr": -1, "tc_wetness": -1,
    # more bare soil, brighter and redder ground
    "bsi": 1, "dbsi": 1, "ndsoi": 1, "bai": 1, "bi": 1, "ri": 1, "ikaw": 1, "bright": 1,
    "tc_brightness": 1, "ferrous_iron": 1, "psri": 1,
    "refl_b2": 1, "refl_b3": 1, "refl_b4": 1, "refl_b5": 1, "refl_b11": 1, "refl_b12": 1,
    "level_b2": 1, "level_b3": 1, "level_b4": 1,
}  # fmt: skip
"""+1: a landslide has the higher value than what it replaced; -1: the lower one; else not known."""

_SAME = ("mean", "min", "max", "minus", "dog", "scene", "segment_mean", "segment_minus",
         "without_sun")  # fmt: skip
"""Operators that keep the direction of what they are applied to."""

_NO_LEVEL = ("std", "gradient", "minus", "dog", "coherence", "energy", "roughness", "fineness",
             "variation", "along_slope", "downhill", "tophat", "bothat", "scene")  # fmt: skip


def expected_sign(name: str) -> int:
    """Give the direction in which a landslide moves a feature: +1, -1, or 0 where none is known.

    Parameters
    ----------
    name : str
        Name of a feature, for example ``ndvi_mean_9``.
    """
    field, operator = _parts(name)
    sign = EXPECTED.get(field, 0)
    # The narrow or slope-wise part of a hat, and its scale, tell shape, not amount.
    if any(word in operator for word in ("log2", "narrow", "downhill")):
        return 0
    # The other hat of a field tells its grain, which grows with its level.
    if operator.startswith("tophat"):
        return max(sign, 0)
    if operator.startswith("bothat"):
        return max(-sign, 0)
    return sign if not operator or operator.startswith(_SAME) else 0


def is_relational(name: str, group: str) -> bool:
    """Whether the level of the scene cancels: a difference, a spread, a shape, or terrain.

    Parameters
    ----------
    name, group : str
        Of a feature.
    """
    if group in {"terrain", "water"}:
        return True
    _, operator = _parts(name)
    if group == "object":
        return not operator.startswith("segment_mean")
    return operator.startswith(_NO_LEVEL) or name in {
        "sun_cosine", "sunward_horizon_30_deg", "sky_view_30",
    }  # fmt: skip


def _parts(name: str) -> tuple[str, str]:
    """Split a name into what is measured and the operator on it."""
    for field in sorted(EXPECTED, key=len, reverse=True):
        if name == field:
            return field, ""
        if name.startswith(f"{field}_"):
            return field, name[len(field) + 1 :]
    head, _, tail = name.partition("_")
    return head, tail
