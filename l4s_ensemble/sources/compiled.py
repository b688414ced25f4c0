"""Compiling a loop without losing its types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile with numba at the first call, and keep the machine code on disk."""
    return cast(F, numba.njit(cache=True)(function))
