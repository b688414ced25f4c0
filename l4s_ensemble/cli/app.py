"""All commands, and how they end; those that fit and those about patches are in other modules."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l4s_ensemble.cli import console
from l4s_ensemble.cli.adapt import adapt, label
from l4s_ensemble.cli.data import data_app
from l4s_ensemble.cli.doctor import doctor
from l4s_ensemble.cli.fit import fit_all, fit_app, tune_app
from l4s_ensemble.cli.map import demo_scene, map_
from l4s_ensemble.cli.options import (
    RUN,
    AdaptOption,
    ConfigOption,
    DataOption,
    DeviceOption,
    FastOption,
    JobsOption,
    JsonOption,
    QuietOption,
    RunOption,
    SchedulerOption,
    SetOption,
    SplitOption,
    fitted_run,
    named_device,
    opened_run,
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
app.add_typer(data_app, name="data")
app.add_typer(fit_app, name="fit")
app.add_typer(tune_app, name="tune")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="The run folder to make.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Seed of the synthetic data and of the models.")] = 0,
    with_map: Annotated[
        bool, typer.Option("--map", help="Map a synthetic georeferenced scene, too (extra geo).")
    ] = False,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Make a small synthetic dataset, run everything on it, and write the reports."""
    from l4s_ensemble.pipeline import default_jobs, open_run
    from l4s_ensemble.sources.synth import make_dataset

    start(quiet)
    scene = demo_scene(out, seed) if with_map else None  # first: it needs another package
    source = out / "synthetic-patches"
    if not source.is_dir():
        make_dataset(source, seed=seed, jobs=jobs or default_jobs())
    run = open_run(
        out,
        source="demo",
        overrides=[f"seed={seed}"],
        data=source,
        jobs=jobs,
        device=named_device(device),
    )
    run.fit()
    run.predict("valid")
    scores = run.evaluate("valid")
    console.scores(scores, run.folder)
    _report(run, None)
    if scene is not None:
        tif, clouds = scene
        map_(tif, out / "map", mask=clouds, run=out, jobs=jobs, device=device, quiet=quiet)


@app.command()
def features(
    config: ConfigOption = None,
    data: DataOption = None,
    run: RunOption = RUN,
    set_: SetOption = None,
    full: Annotated[
        bool, typer.Option("--full", help="Write the whole arrays too, for a notebook: full.zarr.")
    ] = False,
    jobs: JobsOption = None,
    scheduler: SchedulerOption = None,
    quiet: QuietOption = False,
) -> None:
    """Compute the features and their statistics."""
    opened = opened_run(run, config, set_, data, jobs, "auto", quiet)
    opened.fit(until=("features",))
    console.features(opened.summary("features"))
    if full:
        from l4s_ensemble.features.full import write_full

        console.say(str(write_full(opened.folder, opened.jobs)))
    console.say(str(opened.folder / "features"))


app.command("fit-all")(fit_all)
app.command("label")(label)
app.command("adapt")(adapt)
app.command("map")(map_)
app.command("doctor")(doctor)


@app.command()
def predict(
    split: SplitOption = "valid",
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder that gets mask_N.h5 and submission.zip.")
    ] = None,
    adapt: AdaptOption = True,
    run: RunOption = RUN,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    fast: FastOption = False,
    force: Annotated[bool, typer.Option("--force", help="Replace other masks in --out.")] = False,
    scheduler: SchedulerOption = None,
    quiet: QuietOption = False,
) -> None:
    """Write masks, probabilities and a verified submission for a split."""
    from l4s_ensemble.predict.submission import copy_result

    opened = fitted_run(run, jobs, device, quiet)
    summary = opened.predict(split, data=data, adapt=adapt, fast=fast).attrs
    where = Path(summary["folder"])
    if out is not None:
        copy_result(where, out, force=force)
        where = out
    share = summary["predicted_share"]
    console.say(
        f"{summary['patches']} patches of {split}: {share:.2%} of the pixels predicted landslide "
        f"at probability {summary['threshold']:.3f}, in {summary['landslide_patches']} patches"
    )
    if fast:
        console.say(console.FAST)
    console.say(f"masks       {where / 'masks' if out is None else where}")
    console.say(f"submission  {where / summary['submission']['path']} (read back and verified)")
    console.applicability(split, summary["applicability"], Path(summary["folder"]))
    console.landslides(
        opened.summary(summary["landslides_stage"]), Path(summary["landslides_folder"])
    )


@app.command()
def evaluate(
    split: SplitOption = "valid",
    data: DataOption = None,
    adapt: AdaptOption = True,
    run: RunOption = RUN,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    fast: FastOption = False,
    as_json: JsonOption = False,
    scheduler: SchedulerOption = None,
    quiet: QuietOption = False,
) -> None:
    """Score a split whose masks are there, at the thresholds chosen out-of-fold."""
    opened = fitted_run(run, jobs, device, quiet)
    scores = opened.evaluate(split, data=data, adapt=adapt, fast=fast)
    if as_json:
        console.say(json.dumps(scores))
    else:
        console.scores(scores, opened.folder)
        if fast:
            console.say(console.FAST)


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
    """Write the HTML report of a run, of two runs compared, or the page of a map's folder."""
    from l4s_ensemble.maps.summary import SETTINGS
    from l4s_ensemble.pipeline import load_run

    start(quiet)
    if (run / SETTINGS).is_file():
        from l4s_ensemble.report.map_page import write_map_page

        console.say(f"page   {write_map_page(run)}")
        return
    if compare is not None:
        from l4s_ensemble.report.compare import render_comparison

        console.say(f"comparison {render_comparison(*compare, out)}")
        return
    _report(load_run(run), out)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    file: Annotated[Path, typer.Argument(help="The file to write: FILE.zip.")],
    quiet: QuietOption = False,
) -> None:
    """Write the fitted models into one file, which --run accepts on another machine."""
    from l4s_ensemble.run.export import export_run

    start(quiet)
    export_run(run, file)
    console.say(f"export      {file} ({file.stat().st_size / 1e6:.1f} MB)")


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

        known = explain(error)
        if known is None:
            raise
        _stop(f"error: {known}", known.exit_code)


def _stop(message: str, code: int) -> None:
    sys.stderr.write(message + "\n")
    sys.exit(code)


def _report(run: Run, out: Path | None) -> None:
    from l4s_ensemble.report.render import render_report

    index = render_report(run.folder, out or Path("reports") / run.folder.resolve().name)
    console.say(f"report {index}")
