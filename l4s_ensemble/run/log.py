"""Logging to standard error; results go to standard output."""

from __future__ import annotations

import logging
import sys
import warnings


def start_logging(level: int = logging.INFO) -> None:
    """Send this package's log to standard error, one plain line each, with the time."""
    logger = logging.getLogger("l4s_ensemble")
    logger.setLevel(level)
    logger.propagate = False
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
    # Zarr warns of its own string type at every store; the ids and names read back unchanged.
    warnings.filterwarnings("ignore", message=".*does not have a Zarr V3 specification.*")


class _Formatter(logging.Formatter):
    """Names the level only where it is more than information."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.levelno > logging.INFO:
            time, _, rest = text.partition(" ")
            return f"{time} {record.levelname.lower()}: {rest}"
        return text
