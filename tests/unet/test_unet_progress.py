"""The page that shows a training while it runs."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from l4s_ensemble.run.files import write_json
from l4s_ensemble.unet.training.progress import _ticks, progress_html, write_progress


def epochs(n: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"epoch": e, "loss": 1 / (e + 1), "lr": 1e-3, "seconds": 4.0, "patches_per_s": 50.0,
         "inner_f1": None, **more}
        for e in range(n)
    ]  # fmt: skip


def fold(k: int, n: int, *, finished: bool, **more: Any) -> dict[str, Any]:
    return {
        "fold": k, "epochs_planned": 6, "finished": finished,
        "networks": [{"number": 0, "finished": finished, "epochs": epochs(n, **more)}],
    }  # fmt: skip


class Strict(HTMLParser):
    """Every element that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in {"meta"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_running_training_is_told_and_reloads() -> None:
    text = progress_html([fold(1, 3, finished=False), fold(0, 6, finished=True)])
    told = Strict()
    told.feed(text)
    assert not told.open
    assert told.seen.count("section") == 4  # no inner block: no panel of it
    assert "fold 0: finished; fold 1: epoch 3 of 6, about 12 s left." in text
    assert 'http-equiv="refresh"' in text and "script" not in told.seen
    lines = re.findall(r'<polyline points="([^"]+)"', text)
    assert [len(line.split()) for line in lines] == [6, 3] * 4


def test_a_finished_training_stays_as_it_is() -> None:
    text = progress_html([fold(0, 6, finished=True, inner_f1=0.5)])
    assert "refresh" not in text and "F1 of the inner block" in text


def test_several_networks_have_a_line_each() -> None:
    one = fold(0, 2, finished=False)
    one["networks"].append({"number": 1, "finished": False, "epochs": epochs(1)})
    text = progress_html([one])
    assert "fold 0, network 1: epoch 1 of 6" in text
    assert text.count('<svg viewBox="0 0 26 8"') == 2


def test_before_the_first_epoch_and_with_a_loss_that_is_no_number() -> None:
    assert "epoch 0 of 6" in progress_html([fold(0, 0, finished=False)])
    assert "Nothing has been trained" in progress_html([])
    broken = fold(0, 3, finished=False)
    broken["networks"][0]["epochs"][1]["loss"] = float("nan")
    assert "nan" not in progress_html([broken])


def test_what_cannot_be_read_does_not_stop_a_training(tmp_path: Path) -> None:
    write_json(tmp_path / "fold_0.progress.json", fold(0, 2, finished=False))
    (tmp_path / "fold_1.progress.json").write_text("{half")
    text = write_progress(tmp_path).read_text(encoding="utf-8")
    assert "fold 0: epoch 2 of 6" in text and "fold 1" not in text


@pytest.mark.parametrize("most", [1e-9, 0.0021, 0.6, 1.0, 1.14, 3.0, 9.9, 70.0, 12345.0])
def test_ticks_are_few_and_round_and_reach_the_top(most: float) -> None:
    ticks = _ticks(most)
    assert ticks[0] == 0 and ticks[-1] >= most * (1 - 1e-9) and 3 <= len(ticks) <= 6
    assert ticks[1] == float(f"{ticks[1]:.2g}")
    assert _ticks(0.0) == [0.0, 1.0]
