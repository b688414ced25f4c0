"""Loops over tasks: the same results in this process, in several, and on a dask cluster."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from l4s_ensemble.errors import ConfigError, DataError
from l4s_ensemble.run import tasks
from l4s_ensemble.run.files import digest_of
from l4s_ensemble.run.tasks import SCHEDULER, cluster_threads, in_processes

distributed = pytest.importorskip("distributed", reason="the extra [dask] is not installed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a cluster of two workers, each a process with one thread."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as workers:
        yield workers.scheduler_address


@pytest.fixture
def scheduler(cluster: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv(SCHEDULER, cluster)
    yield cluster
    tasks._client(cluster).close()
    tasks._client.cache_clear()


def square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def inner(number: int) -> tuple[list[int], int | None]:
    return [value for value, _ in in_processes(square, [(number,), (2,)], 4)], cluster_threads()


def die_once(number: int, note: Path) -> int:
    """End this worker at the first look at task 3."""
    if number == 3 and not note.exists():
        note.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def refuse(number: int) -> int:
    raise DataError("not this one", where=f"task {number}", fix="another one")


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_order(jobs):
    found = [value for value, _ in in_processes(square, [(i,) for i in range(7)], jobs)]
    assert found == [i**2 for i in range(7)]


def test_a_cluster_does_the_work_and_its_workers_ask_no_other(scheduler):
    assert cluster_threads() == 2
    found = list(in_processes(square, [(i,) for i in range(7)], 1))
    assert [value for value, _ in found] == [i**2 for i in range(7)]
    assert os.getpid() not in {pid for _, pid in found}
    assert list(in_processes(inner, [(3,)], 1)) == [([9, 4], None)]


def test_an_open_client_is_used_without_an_address(cluster):
    with distributed.Client(cluster):
        ((_, pid),) = in_processes(square, [(2,)], 1)
    assert pid != os.getpid()
    assert cluster_threads() is None


def test_a_worker_that_dies_costs_its_task_only(scheduler, tmp_path):
    work = [(i, tmp_path / "died") for i in range(6)]
    assert list(in_processes(die_once, work, 1)) == [i**2 for i in range(6)]
    assert (tmp_path / "died").exists()


def test_errors_for_the_user_come_back_whole(scheduler):
    with pytest.raises(DataError, match="not this one") as caught:
        list(in_processes(refuse, [(5,)], 1))
    assert (caught.value.where, caught.value.fix) == ("task 5", "another one")


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setenv(SCHEDULER, "tcp://127.0.0.1:9")
    monkeypatch.setattr("l4s_ensemble.run.tasks.CONNECT_S", 0.5)
    with pytest.raises(ConfigError, match=r"no dask scheduler answers[\s\S]*127\.0\.0\.1:9"):
        list(in_processes(square, [(1,)], 1))


@pytest.mark.slow
def test_fit_all_on_a_cluster_gives_the_models_of_one_machine(tiny_run, cluster, tmp_path):
    shutil.copytree(tiny_run.parent / "data", tmp_path / "data")
    command = [sys.executable, "-m", "l4s_ensemble", "fit-all", "--data", "data", "--jobs", "1",
               "--config", str(tiny_run / "config.json"), "--device", "cpu"]  # fmt: skip
    for name, more in (("here", []), ("there", ["--scheduler", cluster])):
        words = [*command, "--run", name, *more]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    for pattern in ("pixel/fold_*/*", "unet/fold_*/*.safetensors", "stack/model.json"):
        here, there = (sorted((tmp_path / n).glob(pattern)) for n in ("here", "there"))
        assert here
        assert digest_of(*here) == digest_of(*there), pattern
