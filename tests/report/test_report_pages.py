from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l4s_ensemble.config import build
from l4s_ensemble.errors import RunError
from l4s_ensemble.report import html, pages, registry
from l4s_ensemble.report.registry import kind_of
from l4s_ensemble.report.render import render_report
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.summarise import summarise
from l4s_ensemble.report.table import write
from l4s_ensemble.run.files import read_json, write_json

PAGES = ("index", "data", "features", "pixel", "unet", "stack", "prediction-valid", "card")
TILES = ("tiles-train", "tiles-valid", "tiles-test", "prediction-test")
"""Pages of the tile browser have no numbers of their own, that of a split without masks few."""
FEW = build({"report": {"gallery_tiles": 2}})
"""Settings for reports whose pictures do not matter: drawing them takes most of the time."""
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Links, ids, texts; and whether tags are closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.raw = path.read_text(encoding="utf-8")
        self.feed(self.raw)
        assert self._open == [], f"{path.name}: not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.links += [str(v) for k, v in attrs if k in {"src", "href"}]
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "img":
            self.images.append(found)
        if tag not in VOID and tag not in {"path"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "path":
            return
        assert self._open.pop() == tag, f"{tag} closes another tag"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "script":
            self.text += data + " "

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", self.text)


def page(report: Path, name: str) -> Page:
    return Page(report / f"{name}.html")


def test_every_stage_has_a_page_and_a_twin(tiny_report: Path) -> None:
    assert {p.stem for p in tiny_report.glob("*.html")} == {*PAGES, *TILES}
    assert {p.stem for p in tiny_report.glob("*.json")} == {*PAGES, *TILES}


@pytest.mark.parametrize("name", PAGES + TILES)
def test_nothing_comes_from_a_network(tiny_report: Path, name: str) -> None:
    found = page(tiny_report, name)
    assert not [v for v in found.links if re.match(r"(?i)(https?:)?//", v)]
    assert "fetch(" not in found.raw
    assert "@import" not in (tiny_report / "assets" / "report.css").read_text()


@pytest.mark.parametrize("name", PAGES + TILES)
def test_links_and_pictures_are_there(tiny_report: Path, name: str) -> None:
    found = page(tiny_report, name)
    for link in found.links:
        if link.startswith("data:"):
            continue
        path, _, anchor = link.partition("#")
        assert not path or (tiny_report / path).is_file(), link
        if path.startswith("tiles-") and anchor:  # a view, not a place on the page
            patch = int(anchor.removeprefix("tile="))
            shown = read_json(tiny_report / f"{path[:-5]}.json")["blocks"]["browser"]["tiles"][
                "patch"
            ]
            assert patch in shown
            continue
        assert not anchor or anchor in (page(tiny_report, path[:-5]).ids if path else found.ids)
    assert all(i.get("alt") for i in found.images if i.get("src"))
    assert len(found.ids) == len(set(found.ids))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_what_its_twin_holds(tiny_report: Path, name: str) -> None:
    found, twin = page(tiny_report, name), read_json(tiny_report / f"{name}.json")
    flat = found.words
    clean = lambda text: re.sub(r"\s+", " ", text)  # noqa: E731
    assert clean(twin["lead"]) in flat
    assert clean(twin["question"]) in flat and twin["stats"]
    for stat in twin["stats"]:
        assert clean(write(stat["value"], stat["kind"])) in flat and clean(stat["note"]) in flat
    for check in twin["checks"]:
        assert clean(f"{check['number']}. {check['title']}") in flat
        assert clean(check["explanation"]) in flat
    for table in twin["tables"].values():
        for row in table["rows"]:
            for column in table["columns"]:
                assert clean(write(row[column["key"]], column["kind"])) in flat, column
    for figure in twin["figures"].values():
        assert clean(figure["title"]) in flat
        assert clean(figure["read"]) in flat
    assert "l4s-ensemble" in flat  # the command to make it again


def test_headline_is_that_of_the_scores(tiny_run: Path, tiny_report: Path) -> None:
    scores = read_json(tiny_run / "predict/valid/scores/summary.json")
    row = next(r for r in scores["comparison"] if r["model"] == "stack")
    head = read_json(tiny_report / "index.json")["headline"]
    assert (head["f1"], head["precision"], head["threshold"]) == (
        row["f1"],
        row["precision"],
        row["threshold"],
    )
    assert f"F1 {row['f1']:.3f}" in head["sentence"]
    assert head["not_comparable"]


def test_gallery_is_bounded_and_worst_first(tiny_report: Path) -> None:
    shown = read_json(tiny_report / "pixel.json")["blocks"]["gallery"]
    assert len(shown["tiles"]) == 4  # as the settings of the run say
    wrong = [t["fp"] + t["fn"] for t in shown["tiles"] if t["why"] == "most wrong"]
    assert wrong == sorted(wrong, reverse=True)
    assert any(t["why"] == "best" for t in shown["tiles"])


def test_error_pictures_show_the_counts(tiny_run: Path, tiny_report: Path) -> None:
    from l4s_ensemble.report.pictures import draw as pictures

    tile = read_json(tiny_report / "stack.json")["blocks"]["gallery"]["tiles"][0]
    drawn = np.asarray(Image.open(tiny_report / tile["pictures"]["errors"]).convert("RGB"))
    for colour, key in (
        (pictures.FALSE_ALARM, "fp"),
        (pictures.MISSED, "fn"),
        (pictures.FOUND, "tp"),
    ):
        near = np.abs(drawn.astype(int) - colour).max(axis=-1) <= 8
        assert near.sum() == tile[key]


def test_missing_stages_are_left_out_and_named(run_copy: Path, tmp_path: Path) -> None:
    run, out = run_copy, tmp_path / "out"
    render_report(run, out, FEW)
    own = out / "notes.txt"
    own.write_text("mine")
    for name in ("unet", "stack", "predict"):
        shutil.rmtree(run / name)
    render_report(run, out, FEW)
    # Nothing of the older report in the same folder is left; what is not ours stays.
    assert {p.stem for p in out.glob("*.html")} == {
        "index",
        "data",
        "features",
        "pixel",
        "tiles-train",
        "card",
    }
    assert [p.name for p in (out / "assets/browser").iterdir()] == ["tiles-train"]
    assert not list((out / "assets/tiles").glob("*-valid-*"))
    assert own.read_text() == "mine"
    flat = page(out, "index").words
    for words in ("U-Net was not run: l4s-ensemble fit unet", "l4s-ensemble predict --split valid"):
        assert words in flat
    assert read_json(out / "index.json")["headline"]["model"] == "pixel classifier"


def test_without_masks_the_largest_areas_are_shown(run_copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(run_copy / "predict/valid/scores")
    out = render_report(run_copy, tmp_path / "out", FEW).parent
    twin = read_json(out / "prediction-valid.json")
    assert "No score: no masks." in page(out, "prediction-valid").words
    assert "predicted" in twin["tables"] and "comparison" not in twin["tables"]
    area = [t["predicted"] for t in twin["blocks"]["gallery"]["tiles"]]
    assert len(area) == 2 and "missed" not in twin["blocks"]
    assert area == sorted(area, reverse=True)
    assert "l4s-ensemble evaluate --split valid" in page(out, "index").words


def test_text_is_escaped(run_copy: Path, tmp_path: Path) -> None:
    evil = "<script>alert(1)<!-- &"
    config = build({"name": evil, "report": {"title": "<b>title</b>", "gallery_tiles": 2}})
    path = run_copy / "features/summary.json"
    summary = read_json(path)
    summary["features"][0]["name"] = "</script><img src=x onerror=alert(1)>"
    summary["left_out"][0]["reason"] = evil
    write_json(path, summary)
    out = render_report(run_copy, tmp_path / "out", config).parent
    for name in PAGES:
        found = page(out, name)  # parses, so nothing broke out
        assert "<script>alert" not in found.raw
        assert "<img src=x" not in found.raw
    assert evil in page(out, "index").words
    assert any(evil in s for s in read_json(out / "features.json")["blocks"]["left_out"]["lines"])


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("pixel/summary.json", "{"),
        ("stack/summary.json", "[]"),
        ("unet/summary.json", '{"network": "unet"}'),
        ("features/sample.npz", "no zip"),
        ("pixel/tiles.npz", ""),
        ("predict/valid/result/summary.json", '{"patches": "many"}'),
        ("scenes/patches.csv", "patch\n1\n"),
    ],
)  # fmt: skip
def test_damage_is_named(run_copy: Path, tmp_path: Path, file: str, damage: str) -> None:
    (run_copy / file).write_text(damage)
    with pytest.raises(RunError) as told:
        render_report(run_copy, tmp_path / "out")
    assert str(run_copy / file) in str(told.value)
    assert not (tmp_path / "out" / "index.html").exists()


def test_no_run_no_report(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run folder"):
        render_report(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(RunError, match="no finished stage"):
        render_report(tmp_path, tmp_path / "out")


def test_a_holdout_has_its_place(run_copy: Path, tmp_path: Path) -> None:
    shutil.move(run_copy / "predict/valid", run_copy / "predict/holdout")
    shutil.rmtree(run_copy / "data/valid")
    out = render_report(run_copy, tmp_path / "out", FEW).parent
    head = read_json(out / "index.json")["headline"]
    assert head["kind"] == "holdout" and head["split"] == "holdout"
    assert "held out" in head["not_comparable"]
    assert (out / "prediction-holdout.html").is_file()


@pytest.mark.parametrize("kept", [("data",), ("data", "scenes", "features"), ("scenes", "pixel")])
def test_any_part_of_a_run_makes_a_report(
    tiny_run: Path, tmp_path: Path, kept: tuple[str, ...]
) -> None:
    run = tmp_path / "run"
    for name in kept:
        shutil.copytree(tiny_run / name, run / name)
    out = render_report(run, tmp_path / "out", FEW).parent
    assert {p.stem for p in out.glob("*.html")} - {"tiles-train"} == {"index", *kept} - {"scenes"}
    if "pixel" not in kept:
        assert "Nothing has been scored yet" in page(out, "index").words


def test_the_overview_counts_the_folds_that_were_made(run_copy: Path) -> None:
    config = build({**read_json(run_copy / "config.json"), "scenes": {"folds": 7}})
    page = summarise(RunSource(run_copy, config))[0]
    shown = {v["label"]: v["value"] for v in page["blocks"]["made"]["values"]}
    made = {int(r["fold"]) for r in read_json(run_copy / "pixel/summary.json")["folds"]}
    assert shown["folds"] == len(made) == 2


def test_scores_that_used_a_splits_images_are_told_apart(run_copy: Path, tmp_path: Path) -> None:
    for stage in ("predict/valid/scores", "stack"):
        told = read_json(run_copy / stage / "summary.json")
        for row in told["comparison"]:
            row["adapted_to"] = None if row["model"] == "pixel" else "valid"
        write_json(run_copy / stage / "summary.json", told)
    out = render_report(run_copy, tmp_path / "out", FEW).parent
    head = read_json(out / "index.json")["headline"]
    assert head["model"] == "stack, adapted to valid"
    assert "whose images, and no mask, the U-Net was adapted to" in head["sentence"]
    rows = read_json(out / "prediction-valid.json")["tables"]["comparison"]["rows"]
    names = [r["model"] for r in rows]
    assert "pixel classifier" in names and "U-Net, adapted to valid" in names


def test_a_command_for_tiles_of_another_folder_names_the_folder(run_copy: Path) -> None:
    """`--split valid-far-1a2b3c` is a folder's name in the run, and no split."""
    (run_copy / "predict" / "valid").rename(run_copy / "predict" / "valid-far-1a2b3c")
    data = run_copy / "predict" / "valid-far-1a2b3c" / "data"
    shutil.copytree(run_copy / "data" / "valid", data)
    summary = read_json(data / "summary.json")
    write_json(data / "summary.json", {**summary, "root": "/far away/patches"})
    name = "prediction-valid-far-1a2b3c"
    told = kind_of(name).commands(RunSource(run_copy), name)
    assert len(told) == 1
    assert "--split valid --data '/far away/patches' --run" in told[0]


EXTRA = """
from l4s_ensemble.report.page import PageKind, section

PAGE = PageKind(
    order=15, name="extra", title="Extra", question="What else?",
    stages=lambda source: {"extra": []},
    make=lambda source, page: {
        "lead": "A page.", "blocks": {"hello": {"kind": "hello", "words": "some words"}},
        "sections": [section("one", "One", "", "hello")],
    },
    commands=lambda source, page: [],
)
"""


def test_a_page_with_a_block_of_its_own_is_one_module_and_one_template(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, templates = tmp_path / "more", tmp_path / "templates"
    folder.mkdir()
    (folder / "extra.py").write_text(EXTRA)
    shutil.copytree(html.TEMPLATES, templates)
    (templates / "blocks/hello.jinja").write_text("<p>{{ block.value.words }}</p>")
    monkeypatch.setattr(pages, "__path__", [*pages.__path__, str(folder)])
    monkeypatch.setattr(html, "TEMPLATES", templates)
    found = registry.find()
    assert list(found)[:4] == ["index", "data", "extra", "features"]
    monkeypatch.setitem(registry.PAGES, "extra", found["extra"])
    shutil.copytree(tiny_run / "features", tmp_path / "run/features")
    out = render_report(tmp_path / "run", tmp_path / "out", FEW).parent
    assert "some words" in page(out, "extra").words
    assert 'href="extra.html"' in (out / "index.html").read_text()
