"""Measure the small tables that made-up scenes are drawn from, on real tiles.

    python -m benchmarks.measure_classes L4S_14BAND_FOLDER L4S_RGB_FOLDER

rewrites ``l4s_ensemble/sources/measured.json``. The first folder holds released training tiles in
the official layout; spectra, relief and texture come from nine tiles of it only (`IDS`), so every
other tile stays fit for scoring. The second holds the training tiles as true colour; only the
masks of scene 1, columns 0-22, are read there, for the sizes of landslides, and not those of the
tiles kept for scoring. Data: Landslide4Sense, Ghorbanzadeh et al. 2022, Zenodo record 10463239,
CC BY 4.0.

How: signal = DN − path(elevation); the path is a line through 0.88 of the darkest 0.3 % of a tile.
Shade is a linear fit of B8 over vegetation on the surface normal; log signal is freed of it with
one exponent a band. Classes are the rules in `classes_of`. The covariance of a class has three
parts: between tiles, within a tile above and below a Gaussian of 4 px.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from l4s_ensemble.data.bands import L4S_BANDS

IDS = (1, 2, 3, 4, 16, 27, 28, 45, 72)
KEPT_FOR_SCORING = (150, 253, 300, 461, 512, 600, 700, 800)
"""Tiles that `benchmarks.realism` scores: not even their masks are measured."""
SIGNAL = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B11", "B12")
NAMES = [b.name for b in L4S_BANDS]
PLACE = [NAMES.index(name) for name in SIGNAL]
HAZY = 5
"""The first five signal bands have a path that is worth taking off."""
CLASSES = ("conifer", "broadleaf", "shrub", "grass", "field", "gravel", "bright", "slide", "cloud")
SMOOTH_PX = 4.0
PATH_SHARE = 0.88
"""Share of the darkest signal taken as path: the rest is diffuse light off shaded ground."""
B5_PATH = 0.8
"""Path of B5 over that of B4: (704/665)**-4, since no object is dark in B5."""
OUT = Path(__file__).parents[1] / "l4s_ensemble" / "sources" / "measured.json"

Floats = NDArray[np.float64]


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bands14", type=Path, help="folder that holds TrainData, 14 bands")
    parser.add_argument("rgb", type=Path, help="folder that holds TrainData, true colour")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    tiles = [read(args.bands14, i) for i in IDS]
    image = np.stack([t[0] for t in tiles])
    mask = np.stack([t[1] for t in tiles])
    table: dict[str, Any] = {
        "about": "Measured by benchmarks/measure_classes.py on Landslide4Sense training tiles "
        "(Ghorbanzadeh et al. 2022, Zenodo record 10463239, CC BY 4.0).",
        "ids": IDS,
        "bands": SIGNAL,
    }
    table["atmosphere"] = atmosphere(image)
    table["relief"] = relief(image[:, 13], image[:, 12])
    table |= spectra(image, mask, table["atmosphere"])
    table["slides"] = slide_sizes(args.rgb)
    args.out.write_text(dumps(table), encoding="utf-8")
    for name, row in table["classes"].items():
        print(f"{name:10s} {row['pixels']:7d} px in {row['tiles']} tiles")
    print(json.dumps({"out": str(args.out), "classes": len(table["classes"])}))


def read(root: Path, patch: int) -> tuple[Floats, NDArray[np.uint8]]:
    """One tile: image (band, y, x) as integers of the unit, and mask (y, x)."""
    divisor = np.array([b.divisor for b in L4S_BANDS])
    with h5py.File(root / "TrainData" / "img" / f"image_{patch}.h5") as file:
        image = np.rint(file["img"][:] * divisor)
    with h5py.File(root / "TrainData" / "mask" / f"mask_{patch}.h5") as file:
        return np.moveaxis(image, -1, 0), file["mask"][:]


def atmosphere(image: Floats) -> dict[str, Any]:
    """Path signal, water vapour and cirrus band as functions of elevation in km."""
    z_km = np.median(image[:, 13], axis=(1, 2)) / 1000
    dark = np.percentile(image[:, PLACE[:HAZY]], 0.3, axis=(2, 3))
    line = np.polyfit(z_km, PATH_SHARE * dark, 1)
    line[:, 4] = B5_PATH * line[:, 3]
    order = np.argsort(z_km)
    ratio = np.log(image[:, 8] / np.maximum(image[:, 7], 1))
    wet = np.array([np.median(r) for r in ratio])
    return {
        "path_dn": {
            name: {"at_sea": a, "per_km": b}
            for name, b, a in zip(SIGNAL[:HAZY], line[0], line[1], strict=True)
        },
        "knots_km": z_km[order],
        "log_b9_over_b8": wet[order],
        "b10_dn": np.median(image[:, 9], axis=(1, 2))[order],
    }


def relief(dem_m: Floats, slope_deg: Floats) -> dict[str, Any]:
    """Quantiles of slope and the structure function of elevation, for comparison."""
    lags = (1, 2, 4, 8, 16, 32, 64)
    steps = [np.sqrt(((dem_m[:, :, k:] - dem_m[:, :, :-k]) ** 2).mean()) for k in lags]
    return {
        "slope_deg_q05_25_50_75_95": np.percentile(slope_deg, [5, 25, 50, 75, 95]),
        "lags_px": lags,
        "rms_step_m": steps,
    }


def shade(image: Floats, green: NDArray[np.bool_]) -> Floats:
    """Relative illumination of a tile (y, x), mean 1: B8 over vegetation on the normal."""
    dem = ndimage.gaussian_filter(image[13], 1.5)
    gy, gx = np.gradient(dem, 10.0)
    nz = 1 / np.sqrt(1 + gx**2 + gy**2)
    design = np.stack([nz, -gx * nz, -gy * nz], -1)
    weights, *_ = np.linalg.lstsq(design[green], image[7][green], rcond=None)
    light = design @ weights
    return np.asarray(np.clip(light / light[green].mean(), 0.35, 1.8))


def classes_of(image: Floats, mask: NDArray[np.uint8], patch: int) -> NDArray[np.int8]:
    """Class of every pixel by plain rules; -1 where none is sure.

    The rules are on DN: too dark to tell is left out; one tile has clouds; then brightness, NDVI
    and elevation. A landslide is labelled, at least one pixel inside, and not green.
    """
    b3, b4, b8, b11 = (image[NAMES.index(n)] for n in ("B3", "B4", "B8", "B11"))
    ndvi = (b8 - b4) / (b8 + b4)
    visible = image[[1, 2, 3]].mean(0)
    high = image[13] > 2000
    out = np.full(mask.shape, -1, np.int8)

    def put(name: str, where: NDArray[np.bool_]) -> None:
        out[where & (out == -1)] = CLASSES.index(name)

    labelled = ndimage.binary_dilation(mask > 0, iterations=2)
    core = ndimage.binary_erosion(mask > 0)
    put("slide", core & (ndvi < 0.45) & (b8 > 900))
    out[labelled & (out == -1)] = -2
    if patch == 4:
        put("cloud", ndimage.uniform_filter(b3, 5) > 1250)
    out[(b8 < 1000) & (out == -1)] = -2
    put("bright", visible > 1550)
    put("gravel", (ndvi < 0.38) & (b11 < 1900) & ~high)
    put("field", (ndvi < 0.38) & ~high)
    put("grass", (ndvi < 0.48) & high)
    put("shrub", (ndvi < 0.58) & ~high)
    put("conifer", (ndvi > 0.52) & high)
    put("broadleaf", ~high & (ndvi > 0.58))
    return out


def spectra(image: Floats, mask: NDArray[np.uint8], air: dict[str, Any]) -> dict[str, Any]:
    """Mean and covariances of the log signal of each class, and the exponents of shade."""
    path = np.array([[v["at_sea"], v["per_km"]] for v in air["path_dn"].values()])
    log_signal, light, kinds, greens = [], [], [], []
    for tile, labels, patch in zip(image, mask, IDS, strict=True):
        signal = tile[PLACE].copy()
        haze = path[:, 0, None, None] + path[:, 1, None, None] * tile[13] / 1000
        signal[:HAZY] -= haze
        kind = classes_of(tile, labels, patch)
        green = (tile[7] - tile[3] > 0.5 * (tile[7] + tile[3])) & (labels == 0)
        log_signal.append(np.log(np.maximum(signal, 15.0)))
        light.append(np.log(shade(tile, green)))
        kinds.append(kind)
        greens.append(green)
    x, e, kind_all = np.stack(log_signal), np.stack(light), np.stack(kinds)
    exponent = []
    for band in range(len(SIGNAL)):
        top = bottom = 0.0
        for xi, ei, green in zip(x[:, band], e, greens, strict=True):
            centred = ei[green] - ei[green].mean()
            top += float((centred * xi[green]).sum())
            bottom += float((centred**2).sum())
        exponent.append(top / bottom)
    x = x - np.array(exponent)[None, :, None, None] * e[:, None]
    classes = {name: class_row(x, kind_all == i) for i, name in enumerate(CLASSES)}
    return {"shade_exponent": exponent, "classes": classes}


def class_row(x: Floats, where: NDArray[np.bool_]) -> dict[str, Any]:
    """Mean, and covariance between tiles, at coarse and at fine scale, of one class."""
    means, coarse, fine, pixels = [], [], [], []
    for tile, inside in zip(x, where, strict=True):
        if inside.sum() < 60:
            continue
        weight = ndimage.gaussian_filter(inside.astype(float), SMOOTH_PX)
        low = np.stack(
            [
                ndimage.gaussian_filter(b * inside, SMOOTH_PX) / np.maximum(weight, 1e-6)
                for b in tile
            ]
        )
        mean = tile[:, inside].mean(1)
        means.append(mean)
        coarse.append(np.cov(low[:, inside]))
        fine.append(np.cov((tile - low)[:, inside]))
        pixels.append(int(inside.sum()))
    share = np.array(pixels) / sum(pixels)
    between = np.cov(np.array(means).T, aweights=share) if len(means) > 2 else 0.5 * coarse[0]
    return {
        "pixels": sum(pixels),
        "tiles": len(pixels),
        "mean": np.average(means, axis=0, weights=share),
        "between": lower(between),
        "coarse": lower(np.average(coarse, axis=0, weights=share)),
        "fine": lower(np.average(fine, axis=0, weights=share)),
    }


def lower(matrix: Floats) -> list[list[float]]:
    """Lower triangle of a covariance, row by row."""
    return [row[: i + 1].tolist() for i, row in enumerate(matrix)]


def slide_sizes(rgb: Path) -> dict[str, Any]:
    """Sizes and forms of landslides in scene 1, columns 0-22, joined over tile edges."""
    columns, width, rows = 23, 41, 74
    mosaic = np.zeros((rows * 128, columns * 128), np.uint8)
    share = []
    for path in sorted((rgb / "TrainData" / "mask").glob("mask_*.h5")):
        patch = int(path.stem.split("_")[1])
        row, col = divmod(patch - 1, width)
        if row >= rows or col >= columns or patch in KEPT_FOR_SCORING:
            continue
        with h5py.File(path) as file:
            mask = file["mask"][:]
        mosaic[row * 128 : row * 128 + 128, col * 128 : col * 128 + 128] = mask
        share.append(mask.mean())
    labels, number = ndimage.label(mosaic, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    stretch = []
    for i, box in enumerate(ndimage.find_objects(labels), start=1):
        if 60 <= sizes[i - 1] <= 2000:
            axes = np.linalg.eigvalsh(np.cov(np.stack(np.nonzero(labels[box] == i))))
            stretch.append(np.sqrt(axes[1] / max(axes[0], 0.05)))
    q = np.r_[0.02, 0.05, np.arange(0.1, 0.95, 0.1), 0.95, 0.98, 0.99, 0.995]
    filled = np.array(share)[np.array(share) > 0]
    return {
        "tiles": len(share),
        "components": int(number),
        "size_quantile": q,
        "size_px": np.quantile(sizes, q),
        "elongation_q10_50_90": np.quantile(stretch, [0.1, 0.5, 0.9]),
        "tile_share_q10_50_90": np.quantile(filled, [0.1, 0.5, 0.9]),
    }


def dumps(table: dict[str, Any]) -> str:
    """JSON with four significant digits, one short list a line."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple | np.ndarray):
            return [plain(v) for v in value]
        if isinstance(value, float | np.floating):
            return float(f"{value:.4g}")
        return value

    def lines(value: Any, indent: str) -> str:
        if isinstance(value, dict):
            inner = f",\n{indent} ".join(
                f"{json.dumps(k)}: {lines(v, indent + ' ')}" for k, v in value.items()
            )
            return f"{{\n{indent} {inner}\n{indent}}}"
        return json.dumps(value)

    return lines(plain(table), "") + "\n"


if __name__ == "__main__":
    main()
