"""One small tree of errors. A user's mistake ends in one of these, never in a traceback.

Every message says what is wrong, where, what was found, what is allowed, and what to do.
"""

from __future__ import annotations


class L4SError(Exception):
    """Base of every error that this package raises on purpose.

    Parameters
    ----------
    what : str
        One sentence: what is wrong.
    where : str, optional
        File, band, patch or setting.
    found, allowed : object, optional
        The value met and the values accepted.
    fix : str, optional
        What the user can do about it, as an instruction.

    Examples
    --------
    >>> print(DataError("wrong shape", where="image_3.h5", found=(64, 64, 14),
    ...                 allowed=(128, 128, 14), fix="export the patch again"))
    wrong shape
      where:   image_3.h5
      found:   (64, 64, 14)
      allowed: (128, 128, 14)
      fix:     export the patch again
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        found: object = None,
        allowed: object = None,
        fix: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.found = found
        self.allowed = allowed
        self.fix = fix
        lines = [what]
        for label, value in (
            ("where", where),
            ("found", found),
            ("allowed", allowed),
            ("fix", fix),
        ):
            if value is not None:
                lines.append(f"  {label + ':':<8} {value}")
        super().__init__("\n".join(lines))


class ConfigError(L4SError):
    """A setting, preset or command-line value is not usable (exit code 2)."""

    exit_code = 2


class DataError(L4SError):
    """Input patches are missing, damaged or not what the sensor describes."""


class RunError(L4SError):
    """A run folder lacks a stage, holds half of one, or does not fit the request."""


class ModelError(L4SError):
    """A saved model refuses the input: other features, bands, sensor or version."""


class LeakError(L4SError):
    """Training data overlap with held-out data: by patch id, by neighbourhood or by content."""
