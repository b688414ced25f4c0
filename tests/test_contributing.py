"""The worked examples of CONTRIBUTING.md, carried out on a copy of the package."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```python\n# ([^\s,]+)(?:, in (its imports|\w+))?\n(.*?)```", re.DOTALL)

CHECKS = """
import sys
from pathlib import Path

import numpy as np
import torch

import l4s_ensemble
from l4s_ensemble.config import FeaturesConfig, UNetConfig
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features.registry import compute_window, select
from l4s_ensemble.features.window import Alone
from l4s_ensemble.report.render import render_report
from l4s_ensemble.stack.classifier import Stack
from l4s_ensemble.unet.networks.network import build

run, out = map(Path, sys.argv[1:])
assert Path(l4s_ensemble.__file__).is_relative_to(Path.cwd())
rng = np.random.default_rng(0)

plan = select(L4S, FeaturesConfig()).only(["nbr", "haze"])
image = rng.uniform(500, 3000, (14, 16, 16)).astype(np.float32)
values = compute_window(Alone(image, L4S), L4S, plan)
at = {band: image[i] for i, band in enumerate(L4S.band_names)}
nbr = (at["B8"] - at["B12"]) / (at["B8"] + at["B12"])
np.testing.assert_allclose(values[0], nbr, atol=1e-5)
np.testing.assert_allclose(values[1], (at["B1"] - at["B2"]) / 1e4, atol=1e-5)
assert [f.group for f in plan.features] == ["indices", "haze"]

network = build(UNetConfig(network="linear"), L4S.band_names)
logit = network(torch.zeros(2, 14, 8, 8))
assert logit.shape == (2, 1, 8, 8)
logit.mean().backward()
assert network.weight.grad is not None

y = (rng.random((12, 16, 16)) < 0.2).astype(np.uint8)
logits = [4.0 * y - 2 + rng.normal(0, 2, y.shape) for _ in range(2)]
stack = Stack(learner="correlated").fit(*logits, y, groups=np.arange(12) % 3)
assert stack.learner_.kind == "correlated" and len(set(stack.of_fold_.values())) == 3

render_report(run, out)
assert "2 folds were made." in (out / "scenes.html").read_text()
"""


def carry_out(text: str, place: Path) -> list[str]:
    """Make every block of `text` part of the package below `place`; give the files touched."""
    touched = []
    for name, where, code in BLOCK.findall(text):
        path = place / name
        touched.append(name)
        if not where:
            assert not path.exists(), f"{name} is there already"
            path.write_text(code)
            continue
        old = path.read_text()
        pattern = rf"^{where}\b[^\n]* = [({{]$.*?^(?=[)}}])"
        if where == "its imports":
            pattern = r"^(?=from l4s_ensemble)"
        found = re.search(pattern, old, re.MULTILINE | re.DOTALL)
        assert found, f"{name} has no place {where}"
        path.write_text(old[: found.end()] + code + old[found.end() :])
    return touched


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, with the examples carried out."""
    place = tmp_path_factory.mktemp("contributing")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "l4s_ensemble", place / "l4s_ensemble", ignore=ignore)
    if (ROOT / "configs").is_dir():
        shutil.copytree(ROOT / "configs", place / "configs")
    return place


def test_the_examples_are_complete_and_touch_few_files(
    copied: Path, tiny_run: Path, tmp_path: Path
) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    touched = carry_out(text, copied)
    assert len(BLOCK.findall(text)) == text.count("```python") and len(set(touched)) == 6
    words = [sys.executable, "-c", CHECKS, str(tiny_run), str(tmp_path / "report")]
    done = subprocess.run(words, cwd=copied, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
