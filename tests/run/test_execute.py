"""Stages skip, resume, say what changed, and leave the old or the new, never half."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from l4s_ensemble.config import Config, load
from l4s_ensemble.errors import DataError, RunError
from l4s_ensemble.pipeline import load_run, open_run
from l4s_ensemble.run import fingerprint
from l4s_ensemble.run.execute import Executor, locked, read_manifest
from l4s_ensemble.run.files import atomic_path, read_json, write_json
from l4s_ensemble.run.settings import save_settings
from l4s_ensemble.run.stage import Stage

HERE = "tests_stages"
STAGES = """
import os, signal, sys, time
from l4s_ensemble.errors import DataError

def count(ctx):
    log = ctx.run / "calls.txt"
    with log.open("a") as f:
        f.write(ctx.out.name.split("-")[0] + "\\n")
    (ctx.out / "value.txt").write_text(str(ctx.config.unet.epochs))
    return {"epochs": ctx.config.unet.epochs, "upstream": [str(ctx.input(n)) for n in ctx.needs]}

def fail(ctx):
    (ctx.out / "half.txt").write_text("half")
    raise DataError("broken", where="image_3.h5", found=1, allowed=2, fix="mend it")

def crash(ctx):
    return 1 / 0

def die_once(ctx):
    marks = ctx.out / "marks.txt"
    seen = marks.read_text() if marks.is_file() else ""
    marks.write_text(seen + "x")
    if not seen:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"marks": marks.read_text(), "digest": "fixed"}

def full(ctx):
    def no_more(*_):
        raise OSError(28, "No space left on device")
    sys.modules["__main__"].write_json = no_more  # of the process that a stage runs in
    (ctx.out / "half.txt").write_text("x" * 3_000_000)
    kind = ctx.params["kind"]
    if kind == "system":
        no_more()
    if kind == "library":
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    if kind == "worker":
        from joblib import Parallel, delayed
        Parallel(2)(delayed(no_more)() for _ in range(2))
    if kind == "named":
        try:
            no_more()
        except OSError as error:
            raise DataError("this could not be written") from error
    return {}  # "report": the stage is whole, its report is not

def wait(ctx):
    try:
        while True:
            (ctx.run / "alive.txt").write_text(f"{os.getpid()} {time.monotonic()}")
            time.sleep(0.05)
    finally:
        (ctx.run / "tidied.txt").write_text("")
"""


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / f"{HERE}.py").write_text(STAGES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "run"


def stage(name: str, function: str = "count", **more: object) -> Stage:
    return Stage(name, f"{HERE}:{function}", **more)  # type: ignore[arg-type]


def execute(run: Path, *graph: Stage, config: Config | None = None, **more: object):
    return Executor(run, config or Config(), **more).execute(graph)  # type: ignore[arg-type]


def calls(run: Path) -> list[str]:
    log = run / "calls.txt"
    return log.read_text().split() if log.is_file() else []


def test_unchanged_stages_are_skipped_and_changes_reach_what_depends_on_them(stages, caplog):
    graph = [
        stage("a", sections=("pixel",)),
        stage("b", needs=("a",), sections=("unet.epochs",)),
        stage("c/deep", needs=("b",)),
        stage("d", needs=("a",)),
    ]
    first = execute(stages, *graph)
    assert list(first.values()) == [True] * 4
    assert (stages / "c/deep/summary.json").is_file()
    assert execute(stages, *graph) == dict.fromkeys(first, False)

    changed = load("default", ["unet.epochs=3"])
    with caplog.at_level(logging.INFO, "l4s_ensemble"):
        again = execute(stages, *graph, config=changed)
    assert again == {"a": False, "b": True, "c/deep": True, "d": False}
    assert "sections.unet.epochs" in caplog.text
    assert read_json(stages / "b/summary.json")["epochs"] == 3
    assert not list((stages / ".work").iterdir())


def test_an_error_of_a_stage_comes_back_as_itself_and_the_old_result_stays(stages):
    execute(stages, stage("a"))
    before = (stages / "a/value.txt").read_text()
    with pytest.raises(DataError) as caught:
        execute(stages, stage("a", "fail"))
    assert caught.value.where == "image_3.h5" and caught.value.fix == "mend it"
    assert (stages / "a/value.txt").read_text() == before
    assert not (stages / "a/half.txt").exists()


def test_a_crash_is_a_run_error_with_the_traceback_in_the_log(stages, capfd):
    with pytest.raises(RunError, match="ended before it was done"):
        execute(stages, stage("a", "crash"))
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert not (stages / "a").exists()


@pytest.mark.parametrize("kind", ["system", "library", "worker", "named", "report"])
def test_a_full_disk_is_said_once_and_in_full(stages, capfd, kind):
    execute(stages, stage("a"))
    with pytest.raises(RunError, match="the disk is full") as caught:
        execute(stages, stage("b", "full", needs=("a",), params={"kind": kind}))
    assert caught.value.where == stages and "same command goes on" in str(caught.value)
    assert "MB free" in str(caught.value.found) and "has written 3 MB" in str(caught.value.found)
    assert re.search(r"about \d+ MB", str(caught.value.fix))
    assert "Traceback" not in capfd.readouterr().err
    assert execute(stages, stage("a")) == {"a": False}


def test_the_package_works_where_the_system_is_windows(tmp_path):
    """Without the modules that only Unix has, and with the lock that Windows has."""
    code = """
import importlib, pkgutil, sys, types
from pathlib import Path
sys.modules["fcntl"] = sys.modules["resource"] = None
import l4s_ensemble
for found in pkgutil.walk_packages(l4s_ensemble.__path__, "l4s_ensemble."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
held = []
def locking(number, mode, size):
    if held:
        raise OSError(13, "Permission denied")
    held.append(mode)
from l4s_ensemble.run import child, execute
execute.msvcrt = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
assert child.usage()["cpu_seconds"] > 0
with execute.locked(Path(sys.argv[1])):
    try:
        with execute.locked(Path(sys.argv[1])):
            raise SystemExit("locked twice")
    except execute.RunError as error:
        print(error.what)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "another process is working in this run folder", done.stderr


def test_a_killed_stage_resumes_in_what_it_had_written(stages):
    graph = [stage("a", "die_once"), stage("b", needs=("a",))]
    with pytest.raises(RunError, match="ended before"):
        execute(stages, *graph)
    assert not (stages / "a").exists() and calls(stages) == []
    execute(stages, *graph)
    assert read_json(stages / "a/summary.json")["marks"] == "xx"
    assert read_manifest(stages / "a")["digest"] == "fixed"


def test_a_whole_stage_killed_before_it_was_moved_is_taken_as_it_is(stages):
    graph = [stage("a")]
    executor = Executor(stages, Config())
    executor.execute(graph)
    key = read_manifest(stages / "a")["fingerprint"]
    (stages / "a").rename(stages / ".work" / f"a-{key}")
    assert executor.execute(graph) == {"a": True}
    assert calls(stages) == ["a"]  # it ran once only


def test_an_input_that_was_not_run_or_declared_is_named(stages):
    with pytest.raises(RunError, match="has not been run"):
        execute(stages, stage("b", needs=("a",)))


def test_an_interrupted_refit_leaves_settings_that_the_models_were_fitted_with(stages, monkeypatch):
    def table(config, root):
        return [
            stage("pixel", sections=("pixel",)),
            stage("unet", "die_once", sections=("unet",)),
            stage("stack", needs=("pixel", "unet")),
        ]

    monkeypatch.setattr("l4s_ensemble.pipeline.fit_stages", table)
    monkeypatch.setattr("l4s_ensemble.pipeline.Run._write_card", lambda _: None)
    monkeypatch.setattr(
        "l4s_ensemble.pipeline.predict_stages", lambda *_, **_options: [stage("a/scores")]
    )

    def fit(*overrides):
        return open_run(stages, overrides=overrides, data=stages.parent).fit()

    with pytest.raises(RunError, match="ended before"):  # the first fit, killed in the U-Net
        fit("pixel.trees=11")
    assert load_run(stages).config.pixel.trees == 11  # nothing else was fitted: report shows it
    assert fit() == {"pixel": False, "unet": True, "stack": True}  # without its settings again
    load_run(stages).evaluate()

    with pytest.raises(RunError, match="ended before"):  # a refit, killed before a model was new
        fit("unet.epochs=3")
    assert load_run(stages).config.unet.epochs == Config().unet.epochs
    load_run(stages).evaluate()
    assert fit()["unet"] and load_run(stages).config.unet.epochs == 3

    with pytest.raises(RunError, match="ended before"):  # a refit, killed with one new model
        fit("pixel.trees=22", "unet.epochs=4")
    assert load_run(stages).config.pixel.trees == 11
    with pytest.raises(RunError, match=r"pixel was fitted with other settings \(pixel\.trees\)"):
        load_run(stages).evaluate()
    fit()
    assert load_run(stages).config.pixel.trees == 22
    load_run(stages).evaluate()

    open_run(stages, overrides=["pixel.trees=33"]).fit(until=("pixel",))
    with pytest.raises(RunError, match="stack was fitted before pixel was fitted anew"):
        load_run(stages).evaluate()


def test_a_command_that_may_not_work_in_the_folder_changes_no_settings(stages):
    save_settings(stages, Config())
    before = (stages / "config.json").read_bytes()
    with locked(stages), pytest.raises(RunError, match="another process"):
        Executor(stages, load("default", ["seed=5"])).execute([stage("a")], save=True)
    assert (stages / "config.json").read_bytes() == before
    assert not (stages / ".work").exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_stage_does_not_outlive_the_command_that_waits_for_it(stages, how):
    """Else it would work on in a folder that the next command takes for its own."""
    code = (
        "import sys; from l4s_ensemble.config import Config; from pathlib import Path;"
        "from l4s_ensemble.run.execute import Executor; from l4s_ensemble.run.stage import Stage;"
        f"Executor(Path(sys.argv[1]), Config()).execute([Stage('w', '{HERE}:wait')])"
    )
    command = subprocess.Popen([sys.executable, "-c", code, str(stages)])
    alive, deadline = stages / "alive.txt", time.monotonic() + 60
    while not alive.is_file() or not alive.read_text():
        assert time.monotonic() < deadline and command.poll() is None
        time.sleep(0.05)
    pid = int(alive.read_text().split()[0])
    command.send_signal(how)
    command.wait()
    while (stages / "tidied.txt").is_file() is False and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (stages / "tidied.txt").is_file()  # it could still put its things in order
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the stage is still at work")


def test_a_damaged_manifest_is_named(stages):
    execute(stages, stage("a"))
    (stages / "a/manifest.json").write_text("{")
    with pytest.raises(RunError, match=r"manifest\.json"):
        execute(stages, stage("a"))
    (stages / "a/manifest.json").write_text("{}")
    with pytest.raises(RunError, match="delete that stage's folder"):
        execute(stages, stage("a"))


def test_manifest_says_what_it_took_to_make_it(stages):
    execute(stages, stage("a", sections=("unet",)), jobs=2)
    manifest = read_manifest(stages / "a")
    assert manifest["versions"]["numpy"] and manifest["jobs"] == 2
    assert manifest["seconds"] > 0 and manifest["peak_memory_mb"] > 10
    assert manifest["ingredients"]["sections"]["unet"]["width"] == Config().unet.width


def test_atomic_path_leaves_the_old_file_when_the_block_fails(tmp_path):
    target = tmp_path / "x.txt"
    target.write_text("old")
    with pytest.raises(ValueError), atomic_path(target) as partial:
        partial.write_text("new")
        raise ValueError
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_json_refuses_nan_and_takes_numpy(tmp_path):
    import numpy as np

    write_json(tmp_path / "a.json", {"a": np.float32(1.5), "b": np.arange(2)})
    assert read_json(tmp_path / "a.json") == {"a": 1.5, "b": [0, 1]}
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert read_json(tmp_path / "a.json") == {"a": 1.5, "b": [0, 1]}


def test_fingerprints_do_not_depend_on_key_order():
    assert fingerprint.digest({"a": 1, "b": 2}) == fingerprint.digest({"b": 2, "a": 1})
    assert fingerprint.changes({"a": {"x": 1}}, {"a": {"x": 2}, "b": 1}) == ["a.x", "b"]
