"""The table of stages: names that are safe wherever they go."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from l4s_ensemble.config import Config
from l4s_ensemble.data.patches import write_patch
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.stages import predict_stages

NAMES = ("tiles #1 50%", "tiles #1 60%", "a&b=c?d;e", "Möränen", "Moränen", "'q\"<b>", "..x", "-",
         "#", "%2e%2e", "x" * 200, "x" * 201, "two\nlines")  # fmt: skip


def test_the_prediction_of_any_folder_has_a_name_for_links_and_files(tmp_path: Path, rng) -> None:
    found = set()
    for name in NAMES:
        image = tmp_path / name / "img/image_1.h5"
        write_patch(image, rng.random((128, 128, 14)), L4S)
        stages = predict_stages(Config(), tmp_path / name, "valid", own=False)
        label = stages[0].name.removeprefix("predict/").removesuffix("/data")
        assert quote(label) == label and "." not in label and len(label) < 80
        assert label.startswith("valid-")
        found.add(label)
    assert len(found) == len(NAMES)
