"""The benchmark of the features, and the plain code that it holds them against."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features.build import compute
from l4s_ensemble.features.registry import GROUPS, select
from l4s_ensemble.sources.scene import make_scene

OF_THE_SUN = [
    "sun_cosine", "sunward_horizon_30_deg", "bright_without_sun", "b8_without_sun",
    "b11_without_sun",
]  # fmt: skip
"""The sun is estimated on the whole patch, whose edges each side continues in its own way."""


@pytest.fixture
def benchmark(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    return importlib.import_module("benchmarks.features")


def test_the_plain_code_makes_the_same_features(benchmark):
    counts, _ = make_scene(1, 1, [5]).tile(0, 0)
    image = counts.astype(np.float32)
    plan = benchmark.wanted_plan(L4S, [g for g in GROUPS if g not in ("morphology", "object")])
    plain = importlib.import_module("benchmarks.plain_features")
    known = plain.PlainPatch(image, L4S.band_names).known
    same = plan.only([n for n in plan.names if known(n) and n not in OF_THE_SUN])
    assert len(same.names) > 0.8 * len(plan.names)
    assert benchmark.disagree(image, L4S, same, 0) == []
    sun = plan.only([n for n in plan.names if known(n) and n in OF_THE_SUN])
    assert sun.names and benchmark.disagree(image, L4S, sun, 0, tolerance=0.05) == []


def test_the_plain_code_knows_the_default_set(benchmark):
    """Else the ratio of the benchmark would not be one of the same features."""
    plan = benchmark.wanted_plan(L4S, ())
    plain = importlib.import_module("benchmarks.plain_features")
    known = plain.PlainPatch(np.zeros((14, 8, 8), np.float32), L4S.band_names).known
    assert [n for n in plan.names if not known(n)] == []
    groups = {f.group for f in plan.features}
    assert groups <= set(GROUPS) - {"morphology", "object"}


def test_a_name_that_the_plain_code_does_not_know_is_refused(benchmark):
    plain = importlib.import_module("benchmarks.plain_features")
    patch = plain.PlainPatch(np.zeros((14, 8, 8), np.float32), L4S.band_names)
    assert not patch.known("ndvi_tophat_9")
    with pytest.raises(KeyError, match="ndvi_tophat_9"):
        patch.feature("ndvi_tophat_9")


def test_bytes_moved_are_at_least_those_of_input_and_output(benchmark):
    image = np.full((14, 32, 32), 900, np.float32)
    plan = select(L4S, FeaturesConfig()).only(["ndvi", "ndvi_mean_9"])
    made = compute(image, L4S, plan)
    moved = benchmark.moved_bytes(image, L4S, plan)
    assert moved >= 2 * image[0].nbytes + 2 * made.nbytes
    more = benchmark.moved_bytes(image, L4S, select(L4S, FeaturesConfig()))
    assert more > 5 * moved


def test_the_benchmark_ends_with_one_line_of_json(benchmark, tiny_root, monkeypatch, capsys):
    peaks = iter((300 << 20, 310 << 20))
    monkeypatch.setattr(benchmark, "peak_bytes", lambda folder, patches: next(peaks))
    monkeypatch.setattr(benchmark, "scaling", lambda source, patches, rounds: 1.9)
    words = ["features", "--data", str(tiny_root), "--patches", "8", "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", words)
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    told = json.loads(lines[-1])
    assert told["patches_per_s_core"] > 0 and told["ratio_vs_plain"] > 0
    assert told["scaling_2_cores"] == 1.9 and told["peak_mib"] == [300, 310]
    assert told["plain_features"] == told["features"] and told["plain_disagree"] == []
    assert sum(line.startswith(("indices", "all together")) for line in lines) == 2


def test_one_process_samples_and_tells_its_peak(benchmark, tiny_dataset, tmp_path, capsys):
    from l4s_ensemble.features.build import FEATURES_FILE
    from l4s_ensemble.run.files import write_json

    plan = select(L4S, FeaturesConfig()).only(["ndvi"])
    write_json(tmp_path / FEATURES_FILE, plan.as_dict())
    store = Path(tiny_dataset.encoding["source"])
    (tmp_path / benchmark.STORE).symlink_to(store, target_is_directory=True)
    benchmark.print_peak(tmp_path, 3)
    assert int(capsys.readouterr().out.split()[-1]) > 10 << 20
