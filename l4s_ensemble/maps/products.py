"""Sentinel-2 products and STAC items as scenes, with the radiometry that their metadata say."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

from l4s_ensemble.errors import DataError
from l4s_ensemble.maps.scene import (
    DN_PER_REFLECTANCE,
    SCL_CLOUDS,
    TERRAIN,
    BandFile,
    Mask,
    Scene,
    band_name,
)

PHYSICAL = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
"""Bands by the ``band_id`` of the metadata."""

_IMAGE = re.compile(r"IMG_DATA/(?:R\d0m/)?[^/]*_(B\d\d|B8A)(?:_(\d0)m)?\.jp2$")
_SCL = re.compile(r"IMG_DATA/R(\d0)m/[^/]*_SCL_\d0m\.jp2$")
_CLASSI = re.compile(r"QI_DATA/[^/]*MSK_CLASSI_B00\.jp2$")
_METADATA = re.compile(r"(?:^|/)MTD_MSI(L1C|L2A)\.xml$")


@dataclass(frozen=True)
class _Files:
    """Files of a product by their path in it, and how GDAL and Python read them."""

    path: Path

    def names(self) -> list[str]:
        if self.path.is_dir():
            return sorted(p.relative_to(self.path).as_posix() for p in self.path.rglob("*.*"))
        with zipfile.ZipFile(self.path) as archive:
            return sorted(archive.namelist())

    def gdal(self, name: str) -> str:
        if self.path.is_dir():
            return str(self.path / name)
        return f"/vsizip/{self.path.resolve()}/{name}"

    def text(self, name: str) -> str:
        if self.path.is_dir():
            return (self.path / name).read_text(encoding="utf-8")
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(name).decode("utf-8")


def is_safe(path: Path) -> bool:
    """Whether a path is a Sentinel-2 product: a folder with its metadata, or a zip of one."""
    if path.is_dir():
        return any(_METADATA.search(p.name) for p in path.glob("MTD_*.xml"))
    return path.suffix.lower() == ".zip" and zipfile.is_zipfile(path)


def open_safe(path: Path) -> Scene:
    """Read a Sentinel-2 product.

    Scale and offset are ``QUANTIFICATION_VALUE`` and ``RADIO_ADD_OFFSET`` of its metadata (since
    processing baseline 04.00; before it there is no offset).

    Raises
    ------
    DataError
        If it is none, or damaged.
    """
    files = _Files(path)
    try:
        names = files.names()
        metadata = [n for n in names if _METADATA.search(n)]
        if len(metadata) != 1:
            raise ValueError(f"{len(metadata)} files MTD_MSIL1C.xml or MTD_MSIL2A.xml, allowed 1")
        level: Literal["L1C", "L2A"] = "L1C" if "MSIL1C" in metadata[0] else "L2A"
        text = files.text(metadata[0])
        quantification, offsets = _radiometry(text)
    except (ValueError, OSError, ElementTree.ParseError, zipfile.BadZipFile, KeyError) as error:
        raise DataError(
            "this is not a whole Sentinel-2 product",
            where=path,
            found=error,
            allowed="a .SAFE folder of level L1C or L2A, or its zip",
            fix="download it again",
        ) from None
    images = [(f[1], int(f[2] or 0), n) for n in names if (f := _IMAGE.search(n))]
    finest = {band: metres for band, metres, _ in sorted(images, reverse=True)}
    unit = DN_PER_REFLECTANCE / quantification
    bands = [
        BandFile(band, files.gdal(name), 1, unit, offsets.get(band, 0.0) * unit, 0.0)
        for number, metres, name in images
        if metres == finest[number] and (band := band_name(number))
    ]
    said = ", ".join(f"{o:g}" for o in sorted(set(offsets.values()))) or "none"
    return Scene(
        str(path),
        tuple(bands),
        level,
        f"metadata of the product: quantification {quantification:g}, offset {said}",
        _masks(files, names),
        found[1] if (found := re.search(r"<PRODUCT_START_TIME>(\S+?)</", text)) else None,
    )


def _masks(files: _Files, names: list[str]) -> tuple[Mask, ...]:
    scl = sorted((int(found[1]), n) for n in names if (found := _SCL.search(n)))
    if scl:
        return (Mask(files.gdal(scl[0][1]), SCL_CLOUDS),)
    classified = [n for n in names if _CLASSI.search(n)]
    return tuple(Mask(files.gdal(n), (), i) for n in classified[:1] for i in (1, 2))


def _radiometry(text: str) -> tuple[float, dict[str, float]]:
    """Quantification and the offset of each band, from the metadata."""
    quantification, offsets = None, {}
    for element in ElementTree.fromstring(text).iter():
        tag, value = element.tag.rpartition("}")[2], (element.text or "").strip()
        if tag in {"QUANTIFICATION_VALUE", "BOA_QUANTIFICATION_VALUE"}:
            quantification = float(value)
        elif tag in {"RADIO_ADD_OFFSET", "BOA_ADD_OFFSET"}:
            offsets[PHYSICAL[int(element.attrib["band_id"])]] = float(value)
    if not quantification:
        raise ValueError("the metadata have no QUANTIFICATION_VALUE")
    return quantification, offsets


def open_stac(path: Path) -> Scene:
    """Read a STAC item whose assets are rasters, local or remote.

    Raises
    ------
    DataError
        If it is none, or no asset is a band.
    """
    try:
        item = json.loads(path.read_text(encoding="utf-8"))
        assets, properties = dict(item["assets"]), dict(item.get("properties", {}))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            "this is not a STAC item", where=path, found=error, allowed="JSON with assets"
        ) from None
    # Earth Search takes the offset off and leaves it in the metadata.
    applied = bool(properties.get("earthsearch:boa_offset_applied"))
    bands: dict[str, BandFile] = {}
    masks: list[Mask] = []
    for key, asset in assets.items():
        href = _href(str(asset["href"]), path)
        if key.lower() == "scl":
            masks.append(Mask(href, SCL_CLOUDS))
        for index, name, raster in _bands(key, asset):
            scale, offset = float(raster.get("scale", 1)), float(raster.get("offset", 0))
            if name in TERRAIN:
                unit = 1.0
            else:
                unit = DN_PER_REFLECTANCE if scale <= 1e-3 else 1.0
                offset = 0.0 if applied else offset
            nodata = raster.get("nodata")
            plain = float(nodata) if isinstance(nodata, int | float) else None
            # The same band in another format stands beside it.
            bands.setdefault(name, BandFile(name, href, index, scale * unit, offset * unit, plain))
    said = "raster:bands of the item" + (", whose offset was applied before" if applied else "")
    when = properties.get("datetime")
    return Scene(str(path), tuple(bands.values()), _level(item), said, tuple(masks[:1]), when)


def _bands(key: str, asset: Mapping[str, Any]) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    """Index, name and radiometry of each band of an asset."""
    kind, roles = str(asset.get("type", "")), asset.get("roles", ["data"])
    if not ("tiff" in kind or "jp2" in kind or kind == "") or "data" not in roles:
        return
    described = asset.get("bands") or asset.get("eo:bands") or [{}]
    raster = asset.get("raster:bands") or described
    for i, one in enumerate(described):
        texts = [one.get("name"), one.get("common_name"), one.get("eo:common_name")]
        texts += [key] if len(described) == 1 else []
        name = next((n for n in map(band_name, texts) if n), None)
        if name is not None:
            known = raster[i] if i < len(raster) else {}
            yield i + 1, name, {k.removeprefix("raster:"): v for k, v in known.items()}


def _level(item: Mapping[str, Any]) -> Literal["L1C", "L2A"] | None:
    properties = item.get("properties", {})
    said = (
        item.get("collection"),
        item.get("id"),
        properties.get("s2:product_type"),
        properties.get("processing:level"),
    )
    text = " ".join(str(s).upper() for s in said if s)
    if re.search(r"(MSI|L|LEVEL-)2A|\bL2\b", text):
        return "L2A"
    return "L1C" if re.search(r"(MSI|L|LEVEL-)1C|\bL1\b", text) else None


def _href(href: str, item: Path) -> str:
    if href.startswith("s3://"):
        return f"/vsis3/{href.removeprefix('s3://')}"
    if re.match(r"https?://", href):
        return f"/vsicurl/{href}"
    plain = Path(href.removeprefix("file://"))
    return str(plain if plain.is_absolute() else item.parent / plain)
