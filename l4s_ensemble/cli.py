"""Commands: parse, call, print. No logic.

Results go to standard output, progress and messages to standard error. Exit code 0: done, 1: the
data or the run is at fault, 2: the command or its settings are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l4s_ensemble import console
from l4s_ensemble.cli_data import data_app
from l4s_ensemble.cli_options import (
    AdaptOption,
    ConfigOption,
    DataOption,
    DeviceOption,
    JobsOption,
    JsonOption,
    QuietOption,
    RunOption,
    SetOption,
    SplitOption,
    start,
)
from l4s_ensemble.errors import L4SError

if TYPE_CHECKING:
    from l4s_ensemble.pipeline import Run

app = typer.Typer(
    help="Find landslides in Sentinel-2 patches, say how sure the answer is, and why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
fit_app = typer.Typer(help="Fit one part, and all that it needs.", no_args_is_help=True)
app.add_typer(data_app, name="data")
tune_app = typer.Typer(help="Search for better settings of one part.", no_args_is_help=True)
app.add_typer(fit_app, name="fit")
app.add_typer(tune_app, name="tune")

RUN = Path("runs/default")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="The run folder to make.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Seed of the made-up data and of the models.")] = 0,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Make a small made-up dataset, run everything on it, and write the reports."""
    from l4s_ensemble.pipeline import default_jobs, open_run
    from l4s_ensemble.sources.synth import make_dataset

    start(quiet)
    source = out / "made-up-patches"
    if not source.is_dir():
        make_dataset(source, seed=seed, jobs=jobs or default_jobs())
    run = open_run(
        out,
        source="demo",
        overrides=[f"seed={seed}"],
        data=source,
        jobs=jobs,
        device=_device(device),
    )
    run.fit()
    run.predict("valid")
    scores = run.evaluate("valid")
    console.scores(scores, run.folder)
    _report(run, None)


@app.command()
def features(
    config: ConfigOption = None,
    data: DataOption = None,
    run: RunOption = RUN,
    set_: SetOption = None,
    full: Annotated[
        bool,
        typer.Option("--full", help="Write the whole arrays too, for a notebook: full.zarr."),
    ] = False,
    jobs: JobsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Compute the features and their statistics."""
    opened = _open(run, config, set_, data, jobs, "auto", quiet)
    opened.fit(until=("features",))
    console.features(opened.summary("features"))
    if full:
        from l4s_ensemble.features.full import write_full

        console.say(str(write_full(opened.folder, opened.jobs)))
    console.say(str(opened.folder / "features"))


@app.command("fit-all")
def fit_all(
    config: ConfigOption = None,
    data: DataOption = None,
    run: RunOption = RUN,
    set_: SetOption = None,
    adapt: AdaptOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Fit the pixel classifier, the U-Net and the stack. What is unchanged is skipped."""
    _fit(run, config, set_, data, jobs, device, quiet, "stack", adapt)


@fit_app.command("pixel")
def fit_pixel(
    config: ConfigOption = None,
    data: DataOption = None,
    run: RunOption = RUN,
    set_: SetOption = None,
    jobs: JobsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Fit the LightGBM pixel classifier of every fold."""
    _fit(run, config, set_, data, jobs, "auto", quiet, "pixel")


@fit_app.command("unet")
def fit_unet(
    config: ConfigOption = None,
    data: DataOption = None,
    run: RunOption = RUN,
    set_: SetOption = None,
    adapt: AdaptOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Train the U-Net of every fold."""
    _fit(run, config, set_, data, jobs, device, quiet, "unet", adapt)


@fit_app.command("stack")
def fit_stack(
    config: ConfigOption = None,
    data: DataOption = None,
    run: RunOption = RUN,
    set_: SetOption = None,
    adapt: AdaptOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Fit the meta-learner and choose the threshold."""
    _fit(run, config, set_, data, jobs, device, quiet, "stack", adapt)


@tune_app.command("pixel")
def tune_pixel(
    config: ConfigOption = None,
    data: DataOption = None,
    run: RunOption = RUN,
    set_: SetOption = None,
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Finished trials in all; a search goes on.")
    ] = 40,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Begin no trial after S seconds.")
    ] = None,
    share: Annotated[
        float, typer.Option("--share", min=0.01, max=1, help="Share of the tiles that is used.")
    ] = 0.25,
    prune: Annotated[
        bool, typer.Option("--prune", help="Give up trials that fall behind.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Preset to write; default: tune/pixel.yaml.")
    ] = None,
    jobs: JobsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Search for settings of the pixel classifier. The same command goes on where it was."""
    from l4s_ensemble.pixel.search import require_optuna

    require_optuna()
    opened = _open(run, config, set_, data, jobs, "auto", quiet)
    opened.fit(until=("features",))
    from l4s_ensemble.pixel.tune import table, tune

    told = tune(
        opened.folder, opened.config, trials=trials, timeout_s=timeout, share=share, prune=prune,
        out=out, jobs=opened.jobs,
    )  # fmt: skip
    console.table(*table(told))
    console.say(told["note"])
    console.say(f"preset {told['preset']}")


@app.command()
def predict(
    split: SplitOption = "valid",
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder that gets mask_N.h5 and submission.zip.")
    ] = None,
    run: RunOption = RUN,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace other masks in --out.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Write masks, probabilities and a verified submission for a split."""
    from l4s_ensemble.predict.submission import copy_result

    opened = _fitted(run, jobs, device, quiet)
    summary = opened.predict(split, data=data).attrs
    where = Path(summary["folder"])
    if out is not None:
        copy_result(where, out, force=force)
        where = out
    share = summary["predicted_share"]
    console.say(
        f"{summary['patches']} patches of {split}: {share:.2%} of the pixels called landslide at "
        f"probability {summary['threshold']:.3f}, in {summary['landslide_patches']} patches"
    )
    console.say(f"masks       {where / 'masks' if out is None else where}")
    console.say(f"submission  {where / summary['submission']['path']} (read back and verified)")
    console.slides(opened.summary(summary["slides_stage"]), Path(summary["slides_folder"]))


@app.command()
def evaluate(
    split: SplitOption = "valid",
    data: DataOption = None,
    run: RunOption = RUN,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Score a split whose masks are there, at the thresholds chosen out-of-fold."""
    opened = _fitted(run, jobs, device, quiet)
    scores = opened.evaluate(split, data=data)
    if as_json:
        console.say(json.dumps(scores))
    else:
        console.scores(scores, opened.folder)


@app.command()
def compete(
    data: DataOption = None,
    config: ConfigOption = None,
    run: RunOption = Path("runs/competition"),
    set_: SetOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fit the competition preset on the release, score valid and test, say where we stand.

    Without --config the settings are those of the preset `competition`.
    """
    from l4s_ensemble.compete import PRESET
    from l4s_ensemble.compete import compete as run_all

    told = run_all(_open(run, config or PRESET, set_, data, jobs, device, quiet))
    if as_json:
        console.say(json.dumps(told))
    else:
        console.competition(told)


@app.command()
def report(
    run: RunOption = RUN,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder to write; default: reports/<run>, or reports/compare-<A>-<B>."
        ),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--compare",
            metavar="RUN_A RUN_B",
            help="Hold two runs against each other instead: settings, data, paired scores, tiles.",
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Write the HTML report of a run, or of two runs compared. It retrains nothing."""
    from l4s_ensemble.pipeline import load_run

    start(quiet)
    if compare is not None:
        from l4s_ensemble.report.compare.render import render_comparison

        console.say(f"comparison {render_comparison(*compare, out)}")
        return
    _report(load_run(run), out)


@app.command("config")
def show_config(config: ConfigOption = None, set_: SetOption = None) -> None:
    """Print all settings of a preset or file, defaults included, as YAML."""
    import yaml

    from l4s_ensemble import config as configuration

    chosen = configuration.load(config or configuration.DEFAULT_PRESET, set_ or ())
    console.say(yaml.safe_dump(chosen.model_dump(mode="json"), sort_keys=False).rstrip())
    console.say(f"# presets: {', '.join(configuration.presets())}")


def main() -> None:
    """Entry point: turn this package's errors into a message and an exit code."""
    try:
        app(standalone_mode=True)
    except L4SError as error:
        _stop(f"error: {error}", error.exit_code)
    except KeyboardInterrupt:
        _stop("interrupted; the same command resumes", 130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        from l4s_ensemble.run.files import explain

        told = explain(error)
        if told is None:
            raise
        _stop(f"error: {told}", told.exit_code)


def _stop(message: str, code: int) -> None:
    sys.stderr.write(message + "\n")
    sys.exit(code)


def _fit(
    run: Path,
    config: str | None,
    overrides: list[str] | None,
    data: Path | None,
    jobs: int | None,
    device: str,
    quiet: bool,
    until: str,
    adapt: str | None = None,
) -> None:
    opened = _open(run, config, overrides, data, jobs, device, quiet)
    ran = opened.fit(until=(until,), adapt=adapt)
    if until == "stack":
        summary = opened.summary("stack")
        console.ledger("out-of-fold on the training tiles", summary)
    else:
        oof = opened.summary(until)["oof"]
        split = opened.summary(until).get("adapted_to")
        console.say(
            f"{until}{f', adapted to {split}' if split else ''}: F1 {oof['f1']:.3f} "
            f"[{oof['f1_low']:.3f}, {oof['f1_high']:.3f}] out-of-fold"
        )
    done = ", ".join(name for name, did in ran.items() if did) or "nothing: all was up to date"
    console.say(f"run    {opened.folder}\nfitted {done}")


def _open(
    run: Path,
    config: str | None,
    overrides: list[str] | None,
    data: Path | None,
    jobs: int | None,
    device: str,
    quiet: bool,
) -> Run:
    from l4s_ensemble.pipeline import open_run

    start(quiet)
    return open_run(
        run, source=config, overrides=overrides or (), data=data, jobs=jobs, device=_device(device)
    )


def _fitted(run: Path, jobs: int | None, device: str, quiet: bool) -> Run:
    from l4s_ensemble.pipeline import load_run

    start(quiet)
    return load_run(run, jobs=jobs, device=_device(device))


def _device(name: str) -> str:
    from l4s_ensemble.errors import ConfigError

    if name not in {"auto", "cpu", "cuda"}:
        raise ConfigError("no such device", found=name, allowed="auto, cpu, cuda")
    return name


def _report(run: Run, out: Path | None) -> None:
    from l4s_ensemble.report.render import render_report

    index = render_report(run.folder, out or Path("reports") / run.folder.resolve().name)
    console.say(f"report {index}")
