"""Labels of tiles: every form that is read, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from l4s_ensemble.adapt.labels import FORMAT, check_labels, decode, encode, read_labels
from l4s_ensemble.data.patches import write_mask
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.errors import DataError

EDGE = L4S.patch_pixels


def masks(rng: np.random.Generator) -> dict[int, np.ndarray]:
    return {n: (rng.random((EDGE, EDGE)) < 0.2).astype(np.uint8) for n in (7, 12, 3)}


def saved(made: dict[int, np.ndarray], **more: object) -> str:
    tiles = [{"patch": n, "runs": encode(m)} for n, m in made.items()]
    return json.dumps({"format": FORMAT, "size": [EDGE, EDGE], "tiles": tiles, **more})


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_runs_give_the_mask_back(mask: np.ndarray) -> None:
    runs = encode(mask)
    np.testing.assert_array_equal(decode(runs, mask.shape), mask)
    assert sum(runs) == mask.size and all(n > 0 for n in runs[1:])
    with pytest.raises(ValueError, match="pixels"):
        decode([*runs, 1], mask.shape)


@pytest.mark.parametrize("form", ["json", "h5", "png"])
def test_every_form_gives_the_same_masks(
    rng: np.random.Generator, tmp_path: Path, form: str
) -> None:
    made, path = masks(rng), tmp_path / "labels"
    if form == "json":
        path.write_text(saved(made, split="valid"))
    else:
        path.mkdir()
    for n, mask in made.items():
        if form == "h5":
            write_mask(path / f"mask_{n}.h5", mask)
        elif form == "png":
            Image.fromarray(200 * mask).save(path / f"mask_{n}.png")
    found = read_labels(path, L4S)
    assert found.patch.tolist() == [3, 7, 12]
    assert (found.saved is not None and found.saved.split == "valid") is (form == "json")
    np.testing.assert_array_equal(found.mask, [made[n] for n in (3, 7, 12)])


def test_what_is_no_label_is_refused_by_name(rng: np.random.Generator, tmp_path: Path) -> None:
    made, path = masks(rng), tmp_path / "labels.json"
    text = saved(made)
    for wrong, says in (
        ("{", "labels.json"),
        ('{"format": "another"}', "format"),
        (text.replace('"size": [128', '"size": [127'), "pixels"),
        (text.replace('"patch": 12', '"patch": 7'), "twice"),
        (saved({}), "no labelled tile"),
        (
            json.dumps(
                {**json.loads(saved({})), "size": [2, 2], "tiles": [{"patch": 1, "runs": [4]}]}
            ),
            "another size",
        ),
    ):
        path.write_text(wrong)
        with pytest.raises(Exception, match=says) as error:
            read_labels(path, L4S)
        assert error.type.__name__ in {"DataError", "RunError"}
    with pytest.raises(DataError, match=r"(?s)polygons.*a\.gpkg.*--scene"):
        read_labels(tmp_path / "a.gpkg", L4S)
    with pytest.raises(DataError, match="no such labels"):
        read_labels(tmp_path / "nowhere", L4S)
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "mask_1.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"(?s)cannot be read.*mask_1\.png"):
        read_labels(folder, L4S)
    (folder / "mask_1.png").rename(folder / "mask_a.png")
    with pytest.raises(DataError, match=r"(?s)name.*mask_a\.png"):
        read_labels(folder, L4S)


def test_labels_are_of_the_very_tiles_that_were_shown(
    rng: np.random.Generator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "labels.json"
    value = json.loads(saved(masks(rng), split="valid", run="first", models={"stack": "1"}))
    for tile in value["tiles"]:
        tile["content"] = f"of {tile['patch']}"
    path.write_text(json.dumps(value))
    labels, ids = read_labels(path, L4S), np.arange(1, 13)
    hashes = np.array([f"of {n}" for n in ids])
    tiles = xr.Dataset(coords={"patch": ids, "content_hash": ("patch", hashes)})
    check_labels(labels, tiles, "valid", {"stack": "1"})
    assert not caplog.records
    check_labels(labels, tiles, "valid", {"stack": "2"})
    assert "run first" in caplog.text
    with pytest.raises(DataError, match=r"(?s)not there.*\b12\b.*9 from 1 to 9"):
        check_labels(labels, tiles.isel(patch=slice(9)), "valid", {})
    hashes[6] = "another"
    with pytest.raises(DataError, match=r"(?s)another content.*\b7 of valid.*--data"):
        check_labels(labels, tiles, "test", {})
