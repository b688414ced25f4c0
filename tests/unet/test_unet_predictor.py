"""Logits of tiles: in any company, turned, by several networks, in batches that fit the memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from unet_world import SIZE, cpu, synthetic, tiny

from l4s_ensemble.unet import predictor
from l4s_ensemble.unet.inputs.normalisation import Normalisation
from l4s_ensemble.unet.inputs.tileset import TileSet, load
from l4s_ensemble.unet.networks.network import build
from l4s_ensemble.unet.predictor import Predictor


@pytest.fixture(scope="module")
def tiles() -> TileSet:
    return load(synthetic())


def make(*seeds: int, symmetries: bool) -> Predictor:
    """Networks that nobody trained: their logits differ from pixel to pixel all the same."""
    normalisation, networks = Normalisation.fit(load(synthetic()), tiny()), []
    for seed in seeds:
        network = build(tiny(), normalisation.channels, seed=seed)
        with torch.no_grad():
            for value in network.parameters():
                noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed))
                value.add_(0.3 * noise)
        networks.append(network)
    return Predictor(networks, normalisation, cpu(), symmetries=symmetries)


def test_logits_are_those_of_the_network_in_any_company(tiles: TileSet) -> None:
    predict = make(0, symmetries=False)
    logit = predict(tiles.at([3, 5]))
    with torch.inference_mode():
        x = predict.normalisation.inputs(tiles, torch.tensor([3, 5]))
        torch.testing.assert_close(logit, predict.networks[0](x)[:, 0], atol=1e-5, rtol=1e-5)
    assert logit.dtype == torch.float32
    torch.testing.assert_close(predict(tiles)[[3, 5]], logit, atol=1e-5, rtol=1e-5)
    assert predict(tiles.at([])).shape == (0, SIZE, SIZE)


def test_averaged_logits_turn_with_the_tile(tiles: TileSet) -> None:
    ds = synthetic()
    ds["image"] = ds["image"].dims, np.rot90(ds["image"].values, 1, (-2, -1)).copy()
    predict, plain = make(0, symmetries=True), make(0, symmetries=False)
    a, b = predict(tiles), predict(load(ds))
    np.testing.assert_allclose(np.rot90(a, 1, (-2, -1)), b, atol=1e-4)
    assert not np.allclose(plain(tiles), a, atol=1e-4)


def test_networks_of_other_seeds_count_alike(tiles: TileSet) -> None:
    each = [make(seed, symmetries=True)(tiles.at([5])) for seed in (0, 1)]
    both = make(0, 1, symmetries=True)(tiles.at([5]))
    torch.testing.assert_close(both, torch.stack(each).mean(0), atol=1e-5, rtol=1e-5)


def test_too_large_a_batch_is_halved(tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    predict, sizes = make(0, symmetries=False), []
    wanted, score = predict(tiles), predict.logits

    def narrow(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > most:
            raise torch.OutOfMemoryError("no more")
        return score(x)

    monkeypatch.setattr(predict, "logits", narrow)
    most = 3
    torch.testing.assert_close(predict(tiles), wanted, atol=1e-5, rtol=1e-5)
    assert sizes[:4] == [16, 8, 4, 2] and set(sizes[4:]) == {2}
    assert predict.batch == 2
    most = 0
    with pytest.raises(torch.OutOfMemoryError):
        predict(tiles)


def test_batches_are_sized_by_memory() -> None:
    assert (predictor.fits_cpu(128), predictor.fits_cpu(4096)) == (8, 1)
    for n in (1, 2, 3, 5, 8):
        more = predictor.to_power_of_two(torch.arange(n))
        assert more[:n].tolist() == list(range(n)) and set(more[n:].tolist()) <= {n - 1}
        assert len(more) in {1, 2, 4, 8} and len(more) < 2 * n
