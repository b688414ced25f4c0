"""Make the arrays of this folder: small surfaces, and what ``gdaldem`` makes of them.

Run ``python tests/features/gdal/make.py`` where ``gdaldem`` is installed. See README.md.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

EDGE_PX = 40
PIXEL_M = 10
SIGMA_PX = 1.5
AZIMUTH_DEG, ALTITUDE_DEG = 315, 45
PRODUCTS = {
    "slope_horn_deg": ["slope"],
    "slope_zt_deg": ["slope", "-alg", "ZevenbergenThorne"],
    "aspect_horn_deg": ["aspect"],
    "aspect_zt_deg": ["aspect", "-alg", "ZevenbergenThorne"],
    "tpi_m": ["TPI"],
    "tri_riley_m": ["TRI", "-alg", "Riley"],
    "roughness_m": ["roughness"],
    "hillshade": ["hillshade", "-az", str(AZIMUTH_DEG), "-alt", str(ALTITUDE_DEG)],
}


def surfaces() -> dict[str, np.ndarray]:
    """Elevations in metres: a smooth hill, a rough one, and the rough one in whole metres."""
    row, column = np.mgrid[:EDGE_PX, :EDGE_PX].astype(float)
    east, north = PIXEL_M * (column - 17), PIXEL_M * (22 - row)
    hill = 800 + 120 * np.exp(-((east / 150) ** 2 + (north / 110) ** 2)) + 0.15 * east
    rng = np.random.default_rng(4)
    rough = 1500 + 0.4 * north - 0.2 * east
    for sigma, metres in ((1, 3), (3, 12), (8, 40)):
        noise = gaussian_filter(rng.normal(size=row.shape), sigma)
        rough += metres * noise / noise.std()
    return {"hill": hill, "rough": rough, "metres": np.rint(rough)}


def gdaldem(elevation_m: np.ndarray, words: list[str], folder: Path) -> np.ndarray:
    """Run ``gdaldem`` on an elevation through ENVI files, which are plain arrays."""
    dem, out = folder / "dem.img", folder / "out.img"
    elevation_m.astype("<f4").tofile(dem)
    rows, columns = elevation_m.shape
    dem.with_suffix(".hdr").write_text(
        f"ENVI\nsamples = {columns}\nlines = {rows}\nbands = 1\nheader offset = 0\n"
        "file type = ENVI Standard\ndata type = 4\ninterleave = bsq\nbyte order = 0\n"
        f"map info = {{UTM, 1, 1, 500000, 3000000, {PIXEL_M}, {PIXEL_M}, 45, North, WGS-84}}\n"
    )
    command = ["gdaldem", words[0], str(dem), str(out), *words[1:], "-of", "ENVI", "-q"]
    subprocess.run(command, check=True)
    kind = np.uint8 if words[0] == "hillshade" else np.dtype("<f4")
    return np.fromfile(out, kind).reshape(rows, columns)


def main() -> None:
    """Write one file per surface."""
    for name, elevation_m in surfaces().items():
        raw = elevation_m.astype(np.float32)
        smooth = gaussian_filter(raw.astype(float), SIGMA_PX, truncate=4)
        arrays = {"dem_m": raw}
        for product, words in PRODUCTS.items():
            with tempfile.TemporaryDirectory() as folder:
                arrays[product] = gdaldem(smooth, words, Path(folder))
        np.savez_compressed(Path(__file__).parent / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main()
