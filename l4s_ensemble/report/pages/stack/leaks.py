"""What the leak check of the stack looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.table import table


def tables(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Table of what was looked at; none where nothing was."""
    details = (summary.get("leaks") or {}).get("details") or []
    if not details:
        return {}
    return {
        "leaks": table(
            "What was looked at before the fit",
            [("check", "check", "text"), ("fold", "fold", "count"), ("passed", "holds", "text"),
             ("said", "found", "text")],
            details,
            note="A leak would have stopped the fit. What does not hold is no leak by itself.",
            folded=True,
        )
    }  # fmt: skip


def sentence(summary: Mapping[str, Any]) -> str:
    """Say how much was looked at and what held."""
    told = summary.get("leaks")
    if not told:
        return ""
    if told["passed"] == told["checked"]:
        return f"All of {words.plural(told['checked'], 'thing')} that were checked hold."
    return f"{told['passed']} of {words.plural(told['checked'], 'thing')} that were checked hold."
