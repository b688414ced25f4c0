"""Parameters of an estimator, as scikit-learn reads and clones them.

Importing scikit-learn takes longer than loading all models of a run, and these need no more of it.
"""

from __future__ import annotations

from inspect import signature
from typing import Any, Self


class Estimator:
    """Base of estimators that store the arguments of ``__init__`` under their names."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; `deep` is there for scikit-learn and changes nothing."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Set parameters.

        Raises
        ------
        ValueError
            If there is no parameter of a name.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"no parameter {name!r}; there are {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({given})"

    def _require_fitted(self, attribute: str) -> None:
        """Raise scikit-learn's ``NotFittedError`` where a learned attribute is missing."""
        if not hasattr(self, attribute):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit first")
