"""A page that shows a training while it runs, made of the progress files alone.

``progress.html`` stands beside the ``fold_<k>.progress.json`` files and is rewritten with them: an
open browser loads it again by itself. No script, no library, a few kilobytes; the report has the
same curves for a finished run.
"""

from __future__ import annotations

import contextlib
import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from l4s_ensemble.errors import RunError
from l4s_ensemble.run.files import read_json, write_text

FILE = "progress.html"

PANELS = (
    ("loss", "loss of the training tiles", "Should fall, then lie flat; folds alike."),
    ("inner_f1", "F1 of the inner block", "Training tiles that choose the checkpoint."),
    ("lr", "learning rate", "The schedule is fixed before training."),
    ("seconds", "seconds per epoch", "A step up: the machine had other work."),
    ("patches_per_s", "patches per second", "Higher is faster."),
)
"""Key of an epoch, title with unit, how to read it; a panel without values is left out."""

COLOURS = ("#4477aa", "#dd7a4f", "#228855", "#c9a227", "#5fb7d8", "#a6446f", "#7a6a4f", "#8d84c6")
DASHES = ("", "6 3", "2 3", "8 3 2 3")

RELOAD_S = 10

_WIDTH, _HEIGHT = 460, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 10, 34

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1f23; --muted: #596068; --rule: #e2ded6;
  --paper: #fbfaf7; --card: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9e6df; --muted: #a4a9ae; --rule: #31373c;
  --paper: #131619; --card: #1a1e22; } }
body { margin: 0 auto; max-width: 1000px; padding: 20px 16px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; margin: 0; } h2 { font-size: 0.95rem; margin: 0; }
p { margin: 2px 0 8px; color: var(--muted); font-size: 0.88rem; }
main { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px),
  1fr)); margin-top: 14px; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 12px 14px; }
svg { width: 100%; height: auto; display: block; } text { fill: var(--muted); font-size: 11px; }
.grid { stroke: var(--rule); } .key span { margin-right: 14px; white-space: nowrap; }
.key svg { display: inline-block; width: 26px; height: 8px; margin-right: 5px; }
"""


def write_progress(folder: Path) -> Path:
    """Rewrite the page of a folder's progress files.

    Returns
    -------
    Path
        ``progress.html``; a browser finds the old page or the new one.
    """
    found = []
    for note in sorted(folder.glob("fold_*.progress.json")):
        # A page to look at must not stop a training: what cannot be read is not shown.
        with contextlib.suppress(RunError):
            found.append(read_json(note))
    path = folder / FILE
    write_text(path, progress_html(found))
    return path


def progress_html(folds: Sequence[Mapping[str, Any]]) -> str:
    """Draw the curves of some folds.

    Parameters
    ----------
    folds : sequence of mapping
        As in the progress files: ``fold, epochs_planned, finished, networks``.
    """
    folds = [one for f in sorted(folds, key=lambda f: f["fold"]) for one in _networks(f)]
    running = not all(f.get("finished") for f in folds)
    reload = f'<meta http-equiv="refresh" content="{RELOAD_S}">' if running else ""
    panels = [
        f"<section><h2>{html.escape(title)}</h2><p>{html.escape(read)}</p>"
        f"{_panel(folds, key, title)}</section>"
        for key, title, read in PANELS
        if any(_points(f, key) for f in folds)
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{reload}<title>U-Net training</title><style>{_STYLE}</style></head><body>"
        f"<h1>U-Net training</h1><p>{html.escape(_told(folds))}</p>"
        f'<p class="key">{"".join(_key(f, i) for i, f in enumerate(folds))}</p>'
        f"<main>{''.join(panels)}</main></body></html>\n"
    )


def _networks(fold: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each network of a fold, with what it shares with the others."""
    shared = {k: fold.get(k) for k in ("fold", "epochs_planned", "finished")}
    own = fold.get("networks") or [{"epochs": fold.get("epochs", [])}]
    return [{**shared, **n} for n in own]


def _told(folds: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for f in folds:
        done, planned = len(f.get("epochs", [])), f.get("epochs_planned")
        state = "finished" if f.get("finished") else f"epoch {done} of {planned or '?'}"
        left = _left(f)
        parts.append(f"{_name(f)}: {state}" + (f", about {left} left" if left else ""))
    return "; ".join(parts) + "." if parts else "Nothing has been trained yet."


def _left(fold: Mapping[str, Any]) -> str:
    """Time that the epochs to come will take if they are like those done."""
    epochs, planned = fold.get("epochs", []), fold.get("epochs_planned")
    if fold.get("finished") or not epochs or not planned:
        return ""
    each = sum(e["seconds"] for e in epochs) / len(epochs)
    seconds = each * max(0, planned - len(epochs))
    if not seconds:
        return ""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _name(fold: Mapping[str, Any]) -> str:
    number = fold.get("number") or 0
    return f"fold {fold['fold']}" + (f", network {number}" if number else "")


def _look(i: int) -> str:
    dash = DASHES[i // len(COLOURS) % len(DASHES)]
    return f'stroke="{COLOURS[i % len(COLOURS)]}" stroke-dasharray="{dash}"'


def _key(fold: Mapping[str, Any], i: int) -> str:
    line = f'<path d="M0 4H26" fill="none" stroke-width="3" {_look(i)}/>'
    return (
        f'<span><svg viewBox="0 0 26 8" aria-hidden="true">{line}</svg>'
        f"{html.escape(_name(fold))}</span>"
    )


def _points(fold: Mapping[str, Any], key: str) -> list[tuple[int, float]]:
    """Number of the epoch, from 1, and its value, where there is one."""
    pairs = [(n, e.get(key)) for n, e in enumerate(fold.get("epochs", []), start=1)]
    return [(n, float(v)) for n, v in pairs if v is not None and math.isfinite(v)]


def _panel(folds: Sequence[Mapping[str, Any]], key: str, title: str) -> str:
    lines = [_points(f, key) for f in folds]
    values = [v for line in lines for _, v in line]
    last = max(
        [n for line in lines for n, _ in line] + [f.get("epochs_planned") or 1 for f in folds]
    )
    ticks = _ticks(max(values))
    top = ticks[-1]
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def x(n: float) -> float:
        return float(_LEFT + (right - _LEFT) * (n - 1) / max(1, last - 1))

    def y(v: float) -> float:
        return float(bottom - (bottom - _TOP) * max(0.0, v) / top)

    parts = [
        f'<path class="grid" d="M{_LEFT} {y(t):.1f}H{right}"/>'
        f'<text x="{_LEFT - 6}" y="{y(t) + 4:.1f}" text-anchor="end">{t:g}</text>'
        for t in ticks
    ]
    parts += [
        f'<text x="{x(n):.1f}" y="{bottom + 16}" text-anchor="middle">{n}</text>'
        for n in sorted({1, (last + 1) // 2, last})
    ]
    parts.append(
        f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 4}" text-anchor="middle">epoch</text>'
    )
    for i, line in enumerate(lines):
        path = " ".join(f"{x(n):.1f},{y(v):.1f}" for n, v in line)
        if len(line) > 1:
            parts.append(f'<polyline points="{path}" fill="none" stroke-width="2" {_look(i)}/>')
        if line:
            n, v = line[-1]
            colour = COLOURS[i % len(COLOURS)]
            parts.append(f'<circle cx="{x(n):.1f}" cy="{y(v):.1f}" r="3.5" fill="{colour}"/>')
    told = html.escape(f"{title} by epoch, {len([p for p in lines if p])} lines")
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{told}">'
        f"{''.join(parts)}</svg>"
    )


def _ticks(most: float) -> list[float]:
    """Round numbers from 0 to at least `most`, three to six of them."""
    if not most > 0:
        return [0.0, 1.0]
    step = 10 ** math.floor(math.log10(most / 2))
    while most / step > 5:
        step *= 2.5 if f"{step:e}"[0] == "2" else 2
    return [float(f"{i * step:.6g}") for i in range(math.ceil(most / step - 1e-9) + 1)]
