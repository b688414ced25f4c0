"""Seeded random fields with a given spectrum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def fractal(
    shape: tuple[int, int],
    slope: float,
    rng: np.random.Generator,
    *,
    longest: float = 1e9,
    shortest: float = 0.0,
) -> Floats:
    """Gaussian field whose amplitude falls as frequency to the power `-slope`.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    slope : float
        1 is a cloud, 2 a mountain; the field does not repeat over the edges.
    longest, shortest : float
        Wavelengths in pixels beyond which the spectrum is flat, and below which it is cut.

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
    return np.asarray(field / max(float(field.std()), 1e-9), np.float32)
