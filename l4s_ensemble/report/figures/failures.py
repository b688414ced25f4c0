"""Figures of where a model fails: by ground, by size of the landslide, by its boundary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from l4s_ensemble.report.figures.base import SMALL_MARGIN, Plot, axis, marked, one

_LINES = (("f1", "F1", "@stack", "solid"), ("precision", "precision", "@pixel", "dash"),
          ("recall", "recall", "@unet", "dot"))  # fmt: skip


def failures(kinds: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw scores by kind of ground over the share of landslide pixels."""
    plots = []
    for k in kinds:
        told = [f"{a:,} of {b:,}" for a, b in zip(k["landslide"], k["pixels"], strict=True)]
        data: list[dict[str, Any]] = [
            {
                "type": "bar", "x": k["bin"], "y": k["share"], "customdata": told,
                "marker": {"color": "@slide-soft"},
                "hovertemplate": "%{x}: %{y:.1%} of all landslide pixels<br>%{customdata} pixels "
                "are landslide<extra></extra>",
            }
        ]  # fmt: skip
        data += [
            marked(k["bin"], k[key], colour, dash, f"{label} %{{y:.3f}}<extra>%{{x}}</extra>")
            for key, label, colour, dash in _LINES
        ]
        made = one(
            data, axis(k["axis"], type="category"), axis("score, share", range=[0, 1.02]), 280,
            margin=SMALL_MARGIN, bargap=0.12,
        )["plots"][0]  # fmt: skip
        made["label"] = k["label"]
        plots.append(made)
    return {"plots": plots, "wide": True, "few": True, "legend": [
        {"label": "F1", "colour": "stack"}, {"label": "precision (dashed)", "colour": "pixel"},
        {"label": "recall (dotted)", "colour": "unet"},
        {"label": "share of landslide pixels", "colour": "slide-soft"},
    ]}  # fmt: skip


def failure_sizes(d: Mapping[str, Any]) -> Plot:
    """Draw what is found of true landslides by size, and what is true of those called."""
    plots = []
    for key, label, score in (
        ("true", "true landslides: how much is found", "pixels found"),
        ("called", "called landslides: how much is true", "pixels true"),
    ):
        rows = d[key]
        if not rows["bin"]:
            continue
        data: list[dict[str, Any]] = [
            {
                "type": "bar", "x": rows["bin"], "y": rows["score"], "name": score,
                "customdata": [
                    f"{n:,} landslides, {p:,} pixels"
                    for n, p in zip(rows["slides"], rows["pixels"], strict=True)
                ],
                "marker": {"color": "@pixel", "opacity": 0.45},
                "hovertemplate": f"%{{x}} ha: %{{y:.1%}} of {score}<br>%{{customdata}}"
                "<extra></extra>",
            },
            marked(rows["bin"], rows["touched"], "@stack", "solid",
                    "%{y:.1%} touched<extra>%{x} ha</extra>"),
            marked(rows["bin"], rows["half"], "@unet", "dot",
                    "%{y:.1%} by half or more<extra>%{x} ha</extra>"),
        ]  # fmt: skip
        made = one(
            data, axis("size of the landslide (hectares)", type="category"),
            axis("share", range=[0, 1.02]), 300, margin=SMALL_MARGIN, bargap=0.25,
        )["plots"][0]  # fmt: skip
        made["label"] = label
        plots.append(made)
    return {"plots": plots, "wide": True, "legend": [
        {"label": "of pixels", "colour": "pixel"},
        {"label": "of landslides: touched", "colour": "stack"},
        {"label": "of landslides: by half or more (dotted)", "colour": "unet"},
    ]}  # fmt: skip


def failure_f1(d: Mapping[str, Any]) -> Plot:
    """Draw F1 by size of the landslide, and by distance to the rim."""
    plots = []
    for key, label, x_title, unit in (
        ("size", "by size of the landslide", "size of the landslide (hectares)", " ha"),
        ("rim", "by distance to the rim", "distance to the rim, on either side (px)", " px"),
    ):
        rows = d[key]
        if not rows["bin"]:
            continue
        data = [
            marked(rows["bin"], rows[name], colour, dash, f"{label_} %{{y:.3f}}<extra>%{{x}}{unit}"
                   "</extra>")
            for name, label_, colour, dash in _LINES
        ]  # fmt: skip
        made = one(
            data, axis(x_title, type="category"), axis("score", range=[0, 1.02]), 320,
            margin=SMALL_MARGIN,
        )["plots"][0]  # fmt: skip
        made["label"] = label
        plots.append(made)
    return {"plots": plots, "wide": True, "legend": [
        {"label": "F1", "colour": "stack"}, {"label": "precision (dashed)", "colour": "pixel"},
        {"label": "recall (dotted)", "colour": "unet"},
    ]}  # fmt: skip
