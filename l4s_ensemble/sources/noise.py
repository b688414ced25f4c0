"""Seeded random fields with a given spectrum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.sources.compiled import compiled

Floats = NDArray[np.float32]


def fractal(
    shape: tuple[int, int],
    slope: float,
    rng: np.random.Generator,
    *,
    longest: float = 1e9,
    shortest: float = 0.0,
) -> Floats:
    """Gaussian field with amplitude falling as frequency to the power `-slope`.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    slope : float
        1 is a flat-ish cloud, 2 a mountain; the field does not repeat over the edges.
    longest, shortest : float
        Wavelengths in cells beyond which the spectrum is flat, and below which it is cut.

    Returns
    -------
    ndarray of float32, mean 0 and standard deviation 1.
    """
    from scipy import fft

    padded = tuple(fft.next_fast_len(n + max(8, n // 8), real=True) for n in shape)
    spectrum = fft.rfft2(rng.standard_normal(padded, dtype=np.float32))
    f = np.hypot(fft.fftfreq(padded[0])[:, None], fft.rfftfreq(padded[1])[None]).astype(np.float32)
    gain = np.maximum(f, max(1.0 / longest, 0.5 / max(padded))) ** np.float32(-slope)
    if shortest > 0:
        gain *= np.exp(-((f * np.float32(shortest)) ** 2))
    gain[0, 0] = 0.0
    field = fft.irfft2(spectrum * gain, s=padded)[: shape[0], : shape[1]]
    field -= field.mean()
    out: Floats = (field / max(float(field.std()), 1e-9)).astype(np.float32)
    return out


def sigmoid(x: Floats) -> Floats:
    """Logistic function, float32."""
    out: Floats = (1.0 / (1.0 + np.exp(-np.clip(x, -30.0, 30.0)))).astype(np.float32)
    return out


@compiled
def enlarge(field: Floats, shape: tuple[int, int], scale: float) -> Floats:
    """Bilinear interpolation onto finer cells that share the outer edge of `field`.

    `scale` is the size of a fine cell in coarse cells; beyond the outermost centres the nearest
    value holds.
    """
    ny, nx = field.shape
    out = np.empty(shape, np.float32)
    for i in range(shape[0]):
        fy = min(max((i + 0.5) * scale - 0.5, 0.0), ny - 1.0)
        y = min(int(fy), ny - 2)
        ty = np.float32(fy - y)
        for j in range(shape[1]):
            fx = min(max((j + 0.5) * scale - 0.5, 0.0), nx - 1.0)
            x = min(int(fx), nx - 2)
            tx = np.float32(fx - x)
            top = field[y, x] + tx * (field[y, x + 1] - field[y, x])
            low = field[y + 1, x] + tx * (field[y + 1, x + 1] - field[y + 1, x])
            out[i, j] = top + ty * (low - top)
    return out
