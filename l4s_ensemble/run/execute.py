"""Run stages in order: skip what is unchanged, resume what was killed, publish what is whole.

Each stage runs in a process of its own, so that LightGBM and torch (each brings an OpenMP) never
meet, memory is given back, and a crash takes nothing else down.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from l4s_ensemble import errors
from l4s_ensemble.config import Config
from l4s_ensemble.errors import L4SError, RunError
from l4s_ensemble.run import fingerprint, settings
from l4s_ensemble.run.child import DISK_FULL, GRACE_S
from l4s_ensemble.run.code import code_of
from l4s_ensemble.run.files import bytes_below, make_folder, module_of_system, read_json, write_json
from l4s_ensemble.run.stage import Stage

fcntl, msvcrt = module_of_system("fcntl"), module_of_system("msvcrt")

log = logging.getLogger("l4s_ensemble")

PACKAGES = ("l4s_ensemble", "numpy", "scipy", "scikit-learn", "lightgbm", "torch", "xarray", "zarr")
WORK = settings.WORK


@dataclass(frozen=True)
class Executor:
    """Runs stages in a run folder.

    Attributes
    ----------
    run : Path
        The run folder; made if it is not there.
    config : Config
    jobs : int
        Processes or threads a stage may use.
    device : str
        ``auto``, ``cpu`` or ``cuda``, for the stages that use torch.
    """

    run: Path
    config: Config
    jobs: int = 1
    device: str = "auto"

    def execute(self, stages: Sequence[Stage], *, save: bool = False) -> dict[str, bool]:
        """Bring the stages up to date, in the order given.

        Parameters
        ----------
        stages : sequence of Stage
        save : bool
            Whether the settings become those of the run, once all stages are up to date. Until
            then they stand aside, where the next command that fits finds them.

        Returns
        -------
        dict
            Stage name to whether it ran (False: unchanged, skipped).

        Raises
        ------
        L4SError
            What a stage raised; folders of finished stages stay as they are.
        """
        make_folder(self.run)
        with locked(self.run):
            if save:
                settings.save_settings(self.run / WORK, self.config)
            ran = {stage.name: self._bring_up_to_date(stage) for stage in stages}
            if save:
                (self.run / WORK / settings.SAVED).replace(self.run / settings.SAVED)
            return ran

    def _bring_up_to_date(self, stage: Stage) -> bool:
        inputs = {name: read_manifest(self.run / name)["digest"] for name in stage.needs}
        wanted = fingerprint.ingredients(stage, self.config, inputs, code_of(stage.target))
        key = fingerprint.digest(wanted)
        final = self.run / stage.name
        work = self.run / WORK / f"{stage.name.replace('/', '__')}-{key}"
        old = read_manifest(final) if (final / "manifest.json").is_file() else None
        if old is not None and old["fingerprint"] == key:
            log.info("%s: unchanged, skipped", stage.name)
            return False
        if (work / "manifest.json").is_file():  # whole, but killed before it was moved into place
            self._publish(stage, work)
            return True
        if old is not None:
            reason = ", ".join(fingerprint.changes(old["ingredients"], wanted)[:6])
            log.info("%s: running again, changed: %s", stage.name, reason)
        elif work.is_dir():
            log.info("%s: resuming what was interrupted", stage.name)
        else:
            log.info("%s: running", stage.name)
        work.mkdir(parents=True, exist_ok=True)
        started = datetime.now(UTC)
        clock = time.monotonic()
        usage = self._run_child(stage, work)
        manifest = {
            "stage": stage.name,
            "fingerprint": key,
            "digest": usage.pop("digest", None) or key,
            "ingredients": wanted,
            "seed": self.config.seed,
            "config": self.config.model_dump(mode="json"),
            "versions": versions(),
            "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "git": git_state(),
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 3),
            "jobs": self.jobs,
            **usage,
        }
        write_json(work / "manifest.json", manifest)
        self._publish(stage, work)
        log.info("%s: done in %.1f s", stage.name, manifest["seconds"])
        return True

    def _run_child(self, stage: Stage, work: Path) -> dict[str, Any]:
        """Run the stage's function in a fresh interpreter; return what it reports of itself."""
        report = work / ".child.json"
        report.unlink(missing_ok=True)
        spec = {
            "stage": asdict(stage),
            "run": str(self.run.resolve()),
            "out": str(work.resolve()),
            "config": self.config.model_dump(mode="json"),
            "jobs": self.jobs,
            "device": self.device,
            "log_level": log.getEffectiveLevel(),
            "report": str(report.resolve()),
        }
        returncode = _in_process(json.dumps(spec))
        answer = read_json(report) if report.is_file() else {}
        report.unlink(missing_ok=True)
        if returncode == 0 and "summary" in answer:
            write_json(work / "summary.json", answer.pop("summary"))
            return dict(answer)
        if returncode == DISK_FULL:
            raise self._disk_is_full(stage, work)
        if "error" in answer:
            raise _rebuild(answer["error"])
        reason = f"signal {-returncode}" if returncode < 0 else returncode
        raise RunError(
            f"stage {stage.name} ended before it was done",
            where=work,
            found=reason,
            fix="the log above says more; the same command resumes (signal 9 is often a lack of "
            "memory: lower --jobs)",
        )

    def _disk_is_full(self, stage: Stage, work: Path) -> RunError:
        """Make the error of a full disk: where it is, and about how much space a stage needs.

        No stage writes more than its inputs hold. The first one writes a quarter of its float64
        files, which are not in the run folder.
        """
        written = bytes_below(work)
        needed = sum(bytes_below(self.run / name) for name in stage.needs)
        more = f" about {max(needed - written, 0) / 1e6:.0f} MB" if needed else ""
        return RunError(
            "the disk is full",
            where=self.run,
            found=f"{shutil.disk_usage(self.run).free / 1e6:.0f} MB free; stage {stage.name} has "
            f"written {written / 1e6:.0f} MB so far",
            fix=f"make room,{more or ' up to the size of the data folder'}; what was whole before "
            "is still whole, and the same command goes on",
        )

    def _publish(self, stage: Stage, work: Path) -> None:
        """Move a whole stage into place. A kill in between is mended by the next run."""
        final = self.run / stage.name
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():
            old = self.run / WORK / f"old-{stage.name.replace('/', '__')}-{os.getpid()}"
            shutil.rmtree(old, ignore_errors=True)
            final.rename(old)
        work.rename(final)
        prefix = stage.name.replace("/", "__")
        for stale in (self.run / WORK).iterdir():
            if stale.name.startswith((f"{prefix}-", f"old-{prefix}-")):
                shutil.rmtree(stale, ignore_errors=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a finished stage.

    Raises
    ------
    RunError
        If the stage has not been run, or its manifest is damaged.
    """
    if not (folder / "manifest.json").is_file():
        raise RunError(
            "a stage that is needed has not been run",
            where=folder,
            fix="run `l4s-ensemble fit-all` with this run folder first",
        )
    manifest = read_json(folder / "manifest.json")
    if not isinstance(manifest, dict) or not {"fingerprint", "digest", "ingredients"} <= set(
        manifest
    ):
        raise RunError(
            "a manifest is damaged",
            where=folder / "manifest.json",
            fix="delete that stage's folder and run the command again",
        )
    return manifest


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state() -> str | None:
    """Commit of the checkout that this package runs from, with ``+`` if it was edited."""
    found = ""
    # It may be installed somewhere below another project's checkout, which does not know this file.
    for words in (
        ["ls-files", "--error-unmatch", Path(__file__).name],
        ["describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"],
    ):
        command = ["git", "-C", str(Path(__file__).parent), *words]
        try:
            found = subprocess.run(
                command, capture_output=True, text=True, timeout=10, check=True
            ).stdout
        except (OSError, subprocess.SubprocessError):
            return None
    return found.strip()


def _in_process(order: str) -> int:
    """Run a stage's process and return its exit status; negative is a signal.

    Its standard input stays open as long as this process lives: when it closes, the child knows
    that nobody waits for it any more, however this process ended.
    """
    words = [sys.executable, "-m", "l4s_ensemble.run.child"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, text=True) as child:
        if child.stdin is None:
            raise RuntimeError("a pipe was asked for")
        try:
            child.stdin.write(order + "\n")
            child.stdin.flush()
        except BrokenPipeError:
            pass  # it ended before it read its order: the status says so
        try:
            return child.wait()
        except KeyboardInterrupt:
            # The terminal has reached the child too.
            try:
                child.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                child.kill()
            raise


def _rebuild(answer: dict[str, Any]) -> L4SError:
    """Rebuild the error that the child process raised."""
    kind = getattr(errors, answer.pop("kind"), L4SError)
    error: L4SError = kind(**answer)
    return error


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the run folder against a second process."""
    with (run / ".lock").open("w") as handle:
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            raise RunError(
                "another process is working in this run folder",
                where=run,
                fix="wait for it to end, or name another folder with --run",
            ) from None
        yield
