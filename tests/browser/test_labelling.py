"""The labelling page: a person's clicks and keys become the labels that are read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from l4s_ensemble.adapt.choose import candidates, choose
from l4s_ensemble.adapt.labels import Labels, check_labels, digests_of, read_labels
from l4s_ensemble.adapt.summary import AdaptationSummary
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.data.store import open_store
from l4s_ensemble.errors import DataError
from l4s_ensemble.predict.result import open_masks
from l4s_ensemble.report.labelling import write_labelling_page
from l4s_ensemble.run.files import read_json

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Page

RESULT = "predict/valid/result"
ADAPT = """
from l4s_ensemble.adapt import adaptation
from l4s_ensemble.cli import main
adaptation.STEPS = 4
main()
"""


@pytest.fixture(scope="module")
def labelling(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of all four valid tiles."""
    data, result = tiny_run / "data/valid", tiny_run / RESULT
    chosen = choose(candidates(data, result), 4)
    path = tmp_path_factory.mktemp("labelling") / "label.html"
    ids = [c.patch for c in chosen]
    return write_labelling_page(
        path,
        open_store(data).sel(patch=ids),
        open_masks(result, ids),
        chosen,
        run="</script>tiny",
        place="valid",
        models=digests_of(tiny_run),
    )


@pytest.fixture
def opened(page: Page, labelling: Path) -> Iterator[Page]:
    page.goto(labelling.as_uri())
    page.set_viewport_size({"width": 1400, "height": 950})
    yield page


def tile_of(page: Page) -> int:
    return int((page.locator("#name").text_content() or "").split()[1].rstrip(","))


def saved(page: Page, path: Path, press: bool = False) -> Labels:
    with page.expect_download() as waiting:
        page.keyboard.press("s") if press else page.locator("#save").click()
    waiting.value.save_as(path)
    return read_labels(path, L4S)


def test_what_is_clicked_and_painted_is_what_is_read(
    opened: Page, tiny_run: Path, tmp_path: Path
) -> None:
    assert opened.locator("#save").is_disabled()
    first = tile_of(opened)
    opened.locator("#empty").click()
    assert opened.evaluate("document.activeElement.id") == "stage"  # Enter finishes the tile
    opened.locator("input[value=brush]").check()
    opened.locator("#width").fill("5")
    box = opened.locator("#stage").bounding_box()
    assert box is not None
    cell = box["width"] / 128
    opened.mouse.move(box["x"] + 20.5 * cell, box["y"] + 30.5 * cell)
    opened.mouse.down()
    opened.mouse.move(box["x"] + 40.5 * cell, box["y"] + 30.5 * cell, steps=4)
    opened.mouse.up()
    opened.locator("#done").click()
    assert tile_of(opened) != first
    found = saved(opened, tmp_path / "labels.json")
    told = found.saved
    assert found.patch.tolist() == [first] and told is not None and told.split == "valid"
    y, x = np.ogrid[:128, :128]
    along = np.clip(x, 20, 40)
    stroke = (x - along) ** 2 + (y - 30) ** 2 <= 2.5**2
    np.testing.assert_array_equal(found.mask[0], stroke)
    assert told.run == "</script>tiny" and told.models == digests_of(tiny_run)
    assert told.tiles[0].content and "mapped" in (found.reasons[first] or "")
    check_labels(found, open_store(tiny_run / "data/valid"), "valid", digests_of(tiny_run))
    with pytest.raises(DataError, match="other images"):
        check_labels(found, open_store(tiny_run / "data/train"), "train", {})


def test_the_map_is_the_start_and_undo_gives_it_back(
    opened: Page, tiny_run: Path, tmp_path: Path
) -> None:
    first = tile_of(opened)
    before = open_masks(tiny_run / RESULT, [first])[0]
    box = opened.locator("#stage").bounding_box()
    assert box is not None
    opened.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    status = opened.locator("#status").text_content()
    assert f"{int(before.sum()):,} pixels" not in (status or "")
    opened.keyboard.press("z")
    opened.keyboard.press("y")
    opened.locator("#undo").click()
    opened.locator("#done").click()
    found = saved(opened, tmp_path / "labels.json")
    np.testing.assert_array_equal(found.mask[0], before)


def test_keys_alone_label_a_tile_and_progress_is_kept(
    opened: Page, labelling: Path, tmp_path: Path
) -> None:
    first = tile_of(opened)
    opened.locator("#stage").focus()
    for key in ("n", "w", "ArrowRight", "Shift+ArrowDown", "Space"):
        opened.keyboard.press(key)
    status = opened.locator("#status").text_content() or ""
    assert "row 72, column 65: landslide" in status
    opened.keyboard.press("Enter")
    opened.goto("about:blank")
    opened.goto(labelling.as_uri())
    assert "1 of 4 tiles done" in (opened.locator("#progress").text_content() or "")
    found = saved(opened, tmp_path / "labels.json", press=True)
    assert found.patch.tolist() == [first] and found.mask[0, 72, 65] == 1
    assert 20 < found.mask.sum() < 2000  # one segment


def test_a_large_segment_is_larger_and_what_a_click_would_change_is_outlined(
    opened: Page, tmp_path: Path
) -> None:
    opened.keyboard.press("n")
    box = opened.locator("#stage").bounding_box()
    assert box is not None
    pixels = []
    for key in ("q", "w"):
        opened.keyboard.press(key)
        opened.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.6 * box["height"])
        assert drawn(opened, "pointer") > 0 and drawn(opened, "marks") == 0
        opened.mouse.down()
        opened.mouse.up()
        status = opened.locator("#status").text_content() or ""
        pixels.append(int(status.split()[0].replace(",", "")))
        opened.keyboard.press("z")
    assert 0 < pixels[0] < pixels[1]
    opened.mouse.move(2, 2)
    assert drawn(opened, "pointer") == 0


def drawn(page: Page, canvas: str) -> int:
    """Pixels of a canvas that are not transparent."""
    return int(
        page.evaluate(
            """id => { const c = document.getElementById(id);
        return c.getContext("2d").getImageData(0, 0, c.width, c.height).data
          .filter((v, i) => i % 4 === 3 && v).length; }""",
            canvas,
        )
    )


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1400)])
def test_axe_finds_nothing_and_nothing_runs_over_the_window(
    opened: Page, scheme: Literal["light", "dark"], width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not there")
    opened.emulate_media(color_scheme=scheme)
    opened.set_viewport_size({"width": width, "height": 900})
    opened.keyboard.press("?")
    opened.keyboard.press("Enter")
    found = axe.Axe().run(opened).response["violations"]
    assert not [(v["id"], [n["target"] for n in v["nodes"]]) for v in found]
    assert opened.evaluate("document.documentElement.scrollWidth") <= width


def test_a_browser_that_keeps_nothing_says_so(opened: Page, labelling: Path) -> None:
    opened.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('full'); }; }")
    opened.keyboard.press("n")
    assert "save before" in (opened.locator("#unkept").text_content() or "")


@pytest.mark.slow
def test_from_a_persons_clicks_to_an_adapted_run(
    opened: Page, tiny_run: Path, tmp_path: Path
) -> None:
    for _ in range(4):
        opened.locator("input[value=brush]").check()
        opened.locator("#stage").click(position={"x": 300, "y": 200})
        opened.locator("#done").click()
    found = saved(opened, tmp_path / "labels.json")
    shutil.copytree(tiny_run, tmp_path / "run")
    words = ("adapt", "--labels", "labels.json", "--run", "run", "--out", "new", "--anyway")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ADAPT, *words, "--jobs", "1"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "other models" not in done.stderr, done.stderr
    summary = AdaptationSummary.model_validate(read_json(tmp_path / "new/adapt/summary.json"))
    assert {t.patch: t.landslide_pixels for t in summary.tiles} == {
        int(p): int(m.sum()) for p, m in zip(found.patch, found.mask, strict=True)
    }
