"""Logits of tiles: windows, blending, a whole split, the stage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from unet_world import NEEDS, SIZE, config_of, context, cpu, made_up, prepare, put_stage

from l4s_ensemble.errors import ConfigError
from l4s_ensemble.run.scores import ScoreFile, open_scores
from l4s_ensemble.scenes.surroundings import SURROUNDINGS_FILE, measure_surroundings
from l4s_ensemble.unet import infer
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import Normalisation, TileSet, load
from l4s_ensemble.unet.model import FoldModel, UNetModel
from l4s_ensemble.unet.networks.network import build
from l4s_ensemble.unet.scoring import memory
from l4s_ensemble.unet.scoring.blend import among, blend, plan, weights, with_neighbours
from l4s_ensemble.unet.scoring.split import score_split

HALO = 6


def surrounded(ds: xr.Dataset, positions: object = None) -> TileSet:
    return load(ds, positions, surroundings=measure_surroundings(ds))  # type: ignore[arg-type]


def network(seed: int = 0, fold: int = 0, level: str = "keep") -> FoldModel:
    """A network that nobody trained: its logits differ from pixel to pixel all the same."""
    unet = config_of(level=level).unet
    normalisation = Normalisation.fit(load(made_up()), np.arange(16), unet)
    arguments = {"name": "unet", "bands": 4, "width": 4, "depth": 2, "norm": "batch"}
    made = build(**arguments, seed=seed)  # type: ignore[arg-type]
    with torch.no_grad():
        for value in made.parameters():
            noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed))
            value.add_(0.3 * noise)
    return FoldModel(made.eval(), arguments, normalisation, fold)


def predictor(halo: int = HALO, *, tta: bool = False, seed: int = 0) -> Predictor:
    return Predictor(network(seed), cpu(), tta=tta, halo_px=halo)


def grid(rows: int, cols: int) -> np.ndarray:
    """Neighbours of the tiles of a full grid, (tile, 3, 3)."""
    number = np.pad(np.arange(rows * cols).reshape(rows, cols), 1, constant_values=-1)
    parts = [number[r : r + rows, c : c + cols].ravel() for r in range(3) for c in range(3)]
    return np.stack(parts, axis=1).reshape(-1, 3, 3)


@pytest.mark.parametrize("halo", [1, 5, 16])
def test_weights_add_to_one_over_a_seam_and_end_at_zero(halo: int) -> None:
    w = weights(SIZE, halo).numpy()
    middle = w[SIZE // 2 + halo] / np.sqrt(w.max())
    np.testing.assert_allclose(middle[: 2 * halo] + middle[-2 * halo :], 1, atol=1e-6)
    np.testing.assert_allclose(w, w.T)
    np.testing.assert_allclose(w, w[::-1, ::-1])
    assert middle[0] == pytest.approx(np.sin(np.pi / 8 / halo) ** 2, rel=1e-3)
    assert middle[halo] > 0.5
    assert w.max() == pytest.approx(1, abs=2e-3)


def test_windows_of_one_picture_give_the_picture(rng: np.random.Generator) -> None:
    """Whatever is missing: where windows agree there is nothing to blend."""
    around = grid(3, 4)
    around[rng.random(around.shape) < 0.2] = -1
    around[:, 1, 1] = np.arange(12)
    field = rng.standard_normal((2, 3 * SIZE + 2 * HALO, 4 * SIZE + 2 * HALO)).astype(np.float32)
    edge = SIZE + 2 * HALO
    windows = np.stack([
        field[:, r * SIZE : r * SIZE + edge, c * SIZE : c * SIZE + edge]
        for r in range(3) for c in range(4)
    ])  # fmt: skip
    wanted = torch.tensor([7, 0, 5, 5])
    found = blend(torch.from_numpy(windows), torch.from_numpy(around), wanted, HALO)
    inner = windows[wanted.numpy()][..., HALO:-HALO, HALO:-HALO]
    np.testing.assert_allclose(found, inner, atol=1e-5)


def test_a_seam_is_the_weighted_mean_of_both_windows() -> None:
    windows = torch.stack([torch.full((SIZE + 2 * HALO,) * 2, float(v)) for v in (1, 5)])
    around = torch.from_numpy(grid(1, 2))
    found = blend(windows, around, torch.tensor([0, 1]), HALO).numpy()
    row = found[:, SIZE // 2].ravel()  # both tiles, side by side
    u = np.arange(-HALO, HALO) + 0.5  # distance from the seam
    share = np.sin(np.pi / 2 * (u + HALO) / (2 * HALO)) ** 2  # of the window on the right
    np.testing.assert_allclose(row[SIZE - HALO : SIZE + HALO], 1 + 4 * share, atol=1e-5)
    assert (row[: SIZE - HALO] == 1).all()
    assert (row[SIZE + HALO :] == 5).all()
    assert (np.abs(np.diff(row)) < 0.6).all()


def test_a_window_that_does_not_show_the_tile_says_nothing_about_it() -> None:
    """A tile set aside sees its neighbour; the neighbour's window shows a mirror in its place."""
    windows = torch.stack([torch.full((SIZE + 2 * HALO,) * 2, float(v)) for v in (1, 5)])
    around = torch.from_numpy(grid(1, 2))
    around[1, 1, 0] = -1
    found = blend(windows, around, torch.tensor([0, 1]), HALO)
    np.testing.assert_allclose(found[0], 1, rtol=1e-6)
    np.testing.assert_allclose(found[1], 5, rtol=1e-6)


@pytest.mark.parametrize("block", [1, 3, 7, 100])
def test_a_plan_scores_every_window_once(block: int, rng: np.random.Generator) -> None:
    around = grid(5, 6)
    asked = rng.permutation(30)[:17]
    parts = [asked[i : i + block] for i in range(0, 17, block)]
    there: set[int] = set()
    scored: list[int] = []
    for step, part in zip(plan(around, parts, HALO), parts, strict=True):
        np.testing.assert_array_equal(step.tiles, part)
        np.testing.assert_array_equal(step.read, with_neighbours(around, step.score))
        scored += step.score.tolist()
        there.update(step.score.tolist())
        assert set(with_neighbours(around, part).tolist()) == set(step.need.tolist()) <= there
        there -= set(step.drop)
    assert sorted(scored) == with_neighbours(around, asked).tolist()
    assert not there
    plain = list(plan(around, parts, 0))
    assert sorted(t for s in plain for t in s.score.tolist()) == sorted(asked.tolist())
    assert all(s.read is s.score for s in plain)


def test_numbers_among_some_tiles() -> None:
    around, some = grid(3, 3), np.array([0, 3, 4, 8])
    near = among(around, some)
    np.testing.assert_array_equal(near[2], [[0, -1, -1], [1, 2, -1], [-1, -1, 3]])
    assert among(around, np.empty(0, np.int64)).shape == (0, 3, 3)


def test_without_a_halo_the_network_sees_the_tile_alone() -> None:
    ds = made_up()
    model, tiles = network(), surrounded(ds)
    logit = Predictor(model, cpu(), tta=False)(tiles, [3, 5])
    lone = load(ds, [3, 5])
    with torch.inference_mode():
        wanted = model.network(model.normalisation.apply(lone.units(torch.arange(2))))[:, 0]
    np.testing.assert_allclose(logit, wanted, atol=1e-5)
    assert logit.dtype == np.float32


@pytest.mark.parametrize("tta", [False, True])
def test_a_tile_does_not_depend_on_what_is_asked_with_it(tta: bool) -> None:
    predict, tiles = predictor(tta=tta), surrounded(made_up())
    whole = predict(tiles, range(16))
    np.testing.assert_allclose(predict(tiles, [9, 2, 9]), whole[[9, 2, 9]], atol=1e-5)
    lone = predict(load(made_up()), [9])
    assert np.abs(lone[0] - whole[9]).max() > 1e-3
    assert predict(tiles, []).shape == (0, SIZE, SIZE)


def test_a_whole_set_scores_each_window_once(monkeypatch: pytest.MonkeyPatch) -> None:
    predict, seen = predictor(), []
    score = predict.logits

    def count(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return score(x)

    monkeypatch.setattr(predict, "logits", count)
    predict(surrounded(made_up()), range(16))
    assert sum(seen) == 16
    seen.clear()
    predict(surrounded(made_up()), [0])
    assert sum(seen) == 4  # its own, and those of the three neighbours of a corner


def test_seams_are_softer_with_a_halo() -> None:
    """A smooth scene has no edges but those of tiles."""
    y, x = np.mgrid[: 4 * SIZE, : 4 * SIZE]
    ground = 500 + 200 * np.sin(x / 30) + 200 * np.cos(y / 25)
    ds = made_up()
    tile = ground.reshape(4, SIZE, 4, SIZE).transpose(0, 2, 1, 3).reshape(16, 1, SIZE, SIZE)
    ds["image"].values[:] = tile.round()
    tiles = surrounded(ds)

    def seam(halo: int) -> float:
        logit = predictor(halo)(tiles, range(16)).reshape(4, 4, SIZE, SIZE)
        step = np.abs(logit[:, :-1, :, -1] - logit[:, 1:, :, 0])
        return float(step.mean() / np.abs(np.diff(logit, axis=-1)).mean())

    assert seam(HALO) < 0.5 * seam(0)


def test_out_of_reach_is_out_of_mind() -> None:
    """What a tile's neighbours and theirs hold may tell; what lies further does not."""
    ds, other = made_up(), made_up()
    other["image"].values[3, :3] = 30000  # in the corner: beside tile 2, three from tile 0
    predict = predictor()
    a, b = (predict(surrounded(d), range(16)) for d in (ds, other))
    np.testing.assert_array_equal(a[[0, 4, 8, 12, 13, 14, 15]], b[[0, 4, 8, 12, 13, 14, 15]])
    assert (np.abs(a[[2, 6, 7]] - b[[2, 6, 7]]).max((1, 2)) > 1e-3).all()


def test_networks_of_other_seeds_count_alike() -> None:
    tiles = surrounded(made_up())
    models = [network(0), network(1)]
    both = Predictor(models, cpu(), tta=True, halo_px=HALO)(tiles, [5])
    each = [Predictor(m, cpu(), tta=True, halo_px=HALO)(tiles, [5]) for m in models]
    np.testing.assert_allclose(both, np.mean(each, axis=0), atol=1e-5)
    with pytest.raises(ValueError, match="at least one network"):
        Predictor([], cpu(), tta=False)
    unlike = replace(models[1], normalisation=replace(models[1].normalisation, tiles=3))
    with pytest.raises(ValueError, match="the same inputs"):
        Predictor([models[0], unlike], cpu(), tta=False)


def test_a_halo_larger_than_a_tile_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unet\.halo_px"):
        predictor(SIZE + 1)(surrounded(made_up()), [0])


def test_too_large_a_batch_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles, predict, sizes = surrounded(made_up()), predictor(), []
    wanted, score = predict(tiles, range(16)), predict.logits

    def narrow(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > most:
            raise torch.OutOfMemoryError("no more")
        return score(x)

    monkeypatch.setattr(predict, "logits", narrow)
    most = 3
    np.testing.assert_allclose(predict(tiles, range(16)), wanted, atol=1e-5)
    assert sizes[:4] == [16, 8, 4, 2]
    assert set(sizes[4:]) == {2}
    assert predict.batch == 2
    most = 0
    with pytest.raises(torch.OutOfMemoryError):
        predict(tiles, range(16))


def test_batches_are_sized_by_memory() -> None:
    assert [memory.within(m) for m in (0.1, 1, 7.9, 8, 1e12)] == [1, 1, 4, 8, memory.CUDA_MOST]
    assert memory.fits_cpu(128) == 8
    assert memory.fits_cpu(4096) == 1
    for n in (1, 2, 3, 5, 8):
        more = memory.to_power_of_two(torch.arange(n))
        assert more[:n].tolist() == list(range(n))
        assert len(more) in {1, 2, 4, 8}
        assert len(more) < 2 * n
        assert set(more[n:].tolist()) <= {n - 1}


def scored_blocks(
    ds: xr.Dataset, asked: object, block: int, *, level: str = "keep", **changes: object
) -> np.ndarray:
    """Logits (tile, fold, y, x) of a whole split in the order of `asked`."""
    around = replace(measure_surroundings(ds), **changes)  # type: ignore[arg-type]
    folds = [Predictor(network(s, level=level), cpu(), tta=False, halo_px=HALO) for s in (0, 1)]
    at = np.asarray(asked, np.int64)
    out: np.ndarray = np.full((16, 2, SIZE, SIZE), np.nan, np.float32)
    for positions, logit in score_split(ds, at, folds, around, block):
        assert len(positions) <= block
        assert np.isnan(out[positions]).all()
        out[positions] = logit.numpy()
    return out[at]


@pytest.mark.parametrize("block", [1, 3, 100])
@pytest.mark.parametrize("level", ["keep", "scene"])
def test_blocks_of_a_split_give_what_the_whole_set_gives(block: int, level: str) -> None:
    ds = made_up()
    ds["image"].values[:8, :2] //= 2  # the scene's middle is not that of a few tiles
    found = scored_blocks(ds, [4, 15, 0, 9, 8], block, level=level)
    tiles = surrounded(ds)
    for fold in (0, 1):
        predict = Predictor(network(fold, level=level), cpu(), tta=False, halo_px=HALO)
        np.testing.assert_allclose(found[:, fold], predict(tiles, [4, 15, 0, 9, 8]), atol=1e-4)


def test_tiles_set_aside_change_nothing_for_the_others() -> None:
    aside = np.zeros(16, bool)
    aside[[6, 10]] = True
    ds, other = made_up(), made_up()
    other["image"].values[6] = 60000
    a, b = (scored_blocks(d, range(16), 5, aside=aside) for d in (ds, other))
    np.testing.assert_array_equal(a[~aside], b[~aside])
    assert (np.abs(a[aside] - b[aside]).max((1, 2, 3)) > 1e-3).all()
    # They are scored in the company of all, those not asked for included.
    np.testing.assert_allclose(a[6, 0], predictor()(surrounded(ds), [6])[0], atol=1e-5)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a U-Net of two folds that nobody trained. Copy it."""
    run = prepare(tmp_path_factory.mktemp("ready"), config_of())
    out = put_stage(run, "unet")
    folds = tuple((network(10 * k, k), replace(network(10 * k + 1, k), number=1)) for k in (0, 1))
    model = UNetModel(out, surrounded(made_up()).sensor, folds, 3)
    for members in folds:
        for m in members:
            m.save(out / f"fold_{m.fold}{f'_seed_{m.number}' if m.number else ''}.safetensors")
    model.save()
    return run


@pytest.fixture
def predicted(ready: Path, tmp_path: Path) -> Callable[..., tuple[Path, dict[str, object]]]:
    """Run the stage on a copy of the run."""

    def predict(**unet: object) -> tuple[Path, dict[str, object]]:
        run = tmp_path / "run"
        if not run.exists():
            shutil.copytree(ready, run)
        holdout = context(
            run, "predict/holdout/unet", config_of(**unet), (*NEEDS, "unet"),
            {"data": "data/train", "holdout": True},
        )  # fmt: skip
        summary = infer.stage(holdout)
        return holdout.out, summary

    return predict


def test_the_stage_scores_a_holdout_among_its_neighbours(
    predicted: Callable[..., tuple[Path, dict[str, object]]],
) -> None:
    out, summary = predicted(halo_px=HALO, tta=True)
    scores = open_scores(out / "logit.zarr")
    assert scores["logit"].dims == ("fold_model", "patch", "y", "x")
    assert scores["logit"].dtype == np.float32
    assert scores["patch"].values.tolist() == [16]
    models = UNetModel.load(out.parents[2] / "unet").folds
    for k, members in enumerate(models):
        wanted = Predictor(members, cpu(), tta=True, halo_px=HALO)(surrounded(made_up()), [15])
        np.testing.assert_allclose(scores["logit"][k].values, wanted, rtol=1e-3, atol=1e-3)
    asked = {"patches": 1, "fold_models": 2, "seeds": 2, "tta": True, "halo_px": HALO,
             "with_neighbours": 1}  # fmt: skip
    assert asked.items() <= summary.items()


def test_a_killed_prediction_goes_on_with_what_is_missing(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(ready, run)
    ds = made_up(seed=5).isel(patch=np.random.default_rng(0).permutation(16))
    ds.to_zarr(put_stage(run, "data/valid") / "patches.zarr", consolidated=False)
    ctx = context(
        run, "predict/valid/unet", config_of(halo_px=HALO), ("data/valid", "unet"),
        {"data": "data/valid"},
    )  # fmt: skip
    infer.stage(ctx)
    whole = open_scores(ctx.out / "logit.zarr")["logit"].values
    file = ScoreFile(ctx.out / "logit.zarr", ds["patch"], (SIZE, SIZE), models=2, dtype="float16")
    file.write(slice(4, 12), np.full((2, 8, SIZE, SIZE), np.nan))
    asked: list[int] = []
    score = score_split

    def noted(store: xr.Dataset, at: np.ndarray, *rest: object) -> object:
        asked.extend(at.tolist())
        return score(store, at, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(infer, "score_split", noted)
    summary = infer.stage(ctx)
    assert asked == list(range(4, 12))
    assert summary["patches"] == 16
    np.testing.assert_allclose(open_scores(ctx.out / "logit.zarr")["logit"], whole, atol=2e-3)
    asked.clear()
    infer.stage(ctx)
    assert not asked


def test_tiles_of_no_known_place_are_mirrored(ready: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(ready, run)
    ds = made_up(1, 3, seed=5)
    for name in ("scene", "row", "col"):
        ds[name].values[:] = -1
    ds.to_zarr(put_stage(run, "data/test") / "patches.zarr", consolidated=False)
    ctx = context(
        run, "predict/test/unet", config_of(halo_px=HALO), ("data/test", "unet"),
        {"data": "data/test"},
    )  # fmt: skip
    assert infer.stage(ctx)["with_neighbours"] == 0
    found = open_scores(ctx.out / "logit.zarr")["logit"].values
    members = UNetModel.load(run / "unet").folds[0]
    wanted = Predictor(members, cpu(), tta=False, halo_px=HALO)(load(ds), range(3))
    np.testing.assert_allclose(found[0], wanted, rtol=1e-3, atol=1e-3)


def test_surroundings_of_the_fit_are_used(
    ready: Path, predicted: Callable[..., tuple[Path, dict[str, object]]]
) -> None:
    """The file says that windows do not cross: then they do not."""
    out, _ = predicted(halo_px=HALO)
    crossed = open_scores(out / "logit.zarr")["logit"].values
    shutil.rmtree(out / "logit.zarr")
    path = out.parents[2] / "unet" / SURROUNDINGS_FILE
    replace(measure_surroundings(made_up()), cross=False).save(path)
    _, summary = predicted(halo_px=HALO)
    assert summary["with_neighbours"] == 0
    alone = open_scores(out / "logit.zarr")["logit"].values
    assert np.abs(alone - crossed).max() > 1e-2


def test_half_precision_on_disk_reads_as_float32(tmp_path: Path, rng: np.random.Generator) -> None:
    logit = rng.normal(0, 5, (6, 4, 4)).astype(np.float32)
    logit[0, 0, 0] = 1e9  # finite on disk too
    file = infer.score_file(tmp_path / "a.zarr", range(6), (4, 4), seed=3, fold=[0] * 6)
    file.write(slice(0, 4), logit[:4])
    assert file.missing() == [slice(4, 6)]
    file.write(slice(4, 6), logit[4:])
    scores = open_scores(tmp_path / "a.zarr")
    assert scores["logit"].dtype == np.float32
    assert scores["logit"][1].values.dtype == np.float32
    assert scores.attrs["seed"] == 3
    np.testing.assert_allclose(scores["logit"][1:].values, logit[1:], rtol=5e-4)
    assert float(scores["logit"][0, 0, 0]) == np.finfo(np.float16).max
    whole = ScoreFile(tmp_path / "a.zarr", range(6), (4, 4))
    assert len(whole.missing()) == 2  # another type: another file
