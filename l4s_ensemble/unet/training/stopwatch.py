"""Where the seconds of a training step go, on a CPU and on a GPU that works on its own time."""

from __future__ import annotations

import time

import torch


class Stopwatch:
    """Adds up the seconds between marks, by name.

    On CUDA the marks are events on the device's queue: none of them waits. `seconds` does.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._laps: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._sums: dict[str, float] = {}
        self._last: float | torch.cuda.Event = 0.0

    def start(self) -> None:
        """Begin a lap: time since the last mark belongs to nothing."""
        self._last = self._now()

    def mark(self, name: str) -> None:
        """Add the time since the last mark, or the start, to `name`."""
        now = self._now()
        if isinstance(now, float) and isinstance(self._last, float):
            self._add(name, now - self._last)
        elif not isinstance(now, float) and not isinstance(self._last, float):
            self._laps.append((name, self._last, now))
        self._last = now

    def seconds(self) -> dict[str, float]:
        """Give the sums so far and forget them; on CUDA, wait for the device first."""
        if self._laps:
            torch.cuda.synchronize()
        for name, before, after in self._laps:
            self._add(name, before.elapsed_time(after) / 1000)
        out, self._sums, self._laps = self._sums, {}, []
        return out

    def _add(self, name: str, seconds: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + seconds

    def _now(self) -> float | torch.cuda.Event:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event
