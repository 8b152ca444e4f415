import pytest
import torch

from spkssl.losses.spread import spread


def test_collapsed_and_spread_embeddings():
    collapsed = spread(torch.ones(8, 4) * torch.arange(1, 9).unsqueeze(1))
    assert float(collapsed["embed_std"]) == pytest.approx(0, abs=1e-4)
    assert float(collapsed["embed_cos"]) == pytest.approx(1, abs=1e-6)
    wide = spread(torch.randn(4000, 32, generator=torch.Generator().manual_seed(0)))
    assert float(wide["embed_std"]) == pytest.approx(1, abs=0.02)
    assert float(wide["embed_cos"]) == pytest.approx(0, abs=0.01)


def test_mean_cosine_agrees_with_a_double_loop():
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    pairs = [torch.cosine_similarity(x[i], x[j], dim=0) for i in range(5) for j in range(5) if i != j]
    assert float(spread(x)["embed_cos"]) == pytest.approx(float(torch.stack(pairs).mean()), abs=1e-6)


def test_one_row_has_no_spread():
    assert spread(torch.ones(1, 4)) == {}
