import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from spkssl.losses.gmm1d import Mixture, clip_percentiles, fit_mixture

D = torch.float64


def two_normals(seed=0, counts=(7000, 3000), means=(-3.0, 1.5), stds=(1.5, 0.7)):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.concatenate([rng.normal(m, s, n) for n, m, s in zip(counts, means, stds, strict=True)]))


def mixture(weights, means, stds):
    return Mixture(*(torch.tensor(part, dtype=D) for part in (weights, means, stds)))


def test_fit_finds_the_parameters_it_was_drawn_from():
    fit = fit_mixture(two_normals())
    assert torch.allclose(fit.means, torch.tensor([-3.0, 1.5], dtype=D), atol=0.1)
    assert torch.allclose(fit.weights, torch.tensor([0.7, 0.3], dtype=D), atol=0.01)
    assert torch.allclose(fit.stds, torch.tensor([1.5, 0.7], dtype=D), atol=0.1)


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"counts": (300, 700), "means": (-1.0, 1.0), "stds": (0.5, 1.0)},
        {"counts": (200, 200), "means": (0.0, 5.0), "stds": (1.0, 1.0)},
    ],
)
def test_fit_agrees_with_scikit_learn(case):
    x = two_normals(1, **case)
    ours = fit_mixture(x, tol=1e-9, max_iter=5000)
    theirs = GaussianMixture(2, tol=1e-9, max_iter=5000, random_state=0).fit(x.numpy()[:, None])
    order = theirs.means_.ravel().argsort()
    assert np.allclose(ours.means, theirs.means_.ravel()[order], atol=2e-3)
    assert np.allclose(ours.weights, theirs.weights_[order], atol=2e-3)
    assert np.allclose(ours.stds, np.sqrt(theirs.covariances_.ravel()[order]), atol=2e-3)


def test_fit_does_not_depend_on_the_order_of_the_values():
    x = two_normals()
    shuffled = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    for ours, theirs in zip(fit_mixture(x), fit_mixture(shuffled), strict=True):
        assert torch.equal(ours, theirs)


def test_fit_moves_with_the_values():
    x = two_normals()
    here, there = fit_mixture(x), fit_mixture(x + 1000)
    assert torch.allclose(here.means + 1000, there.means, atol=1e-6)
    assert torch.allclose(here.stds, there.stds, atol=1e-6) and torch.allclose(here.weights, there.weights, atol=1e-6)


def test_fit_leaves_out_what_is_not_finite():
    x = two_normals()
    spoiled = torch.cat([x, torch.tensor([float("inf"), float("nan"), -float("inf")], dtype=D)])
    assert torch.equal(fit_mixture(x).means, fit_mixture(spoiled).means)


@pytest.mark.parametrize("x", [torch.ones(10), torch.tensor([1.0, 2.0]), torch.tensor([0.0] * 9 + [5.0])])
def test_degenerate_values_give_finite_parameters_at_the_floor(x):
    fit = fit_mixture(x, variance_floor=1e-4)
    assert all(part.isfinite().all() for part in fit)
    assert (fit.stds >= 0.01 - 1e-12).all() and math.isfinite(fit.separation())


def test_start_is_the_best_cut():
    x = torch.tensor([0.0, 0.1, 0.2, 5.0, 5.1], dtype=D)
    fit = fit_mixture(x, max_iter=0)
    assert torch.allclose(fit.means, torch.tensor([0.1, 5.05], dtype=D))
    assert torch.allclose(fit.weights, torch.tensor([0.6, 0.4], dtype=D))


def test_fewer_than_two_values_are_refused():
    with pytest.raises(ValueError, match="two finite values"):
        fit_mixture(torch.tensor([1.0, float("nan")]))


def test_log_joint_and_log_odds_agree_with_the_density():
    m = mixture((0.7, 0.3), (-3.0, 1.5), (1.5, 0.7))
    x = torch.linspace(-6, 4, 21, dtype=D)
    density = torch.stack(
        [
            w * torch.exp(-((x - mean) ** 2) / (2 * s * s)) / (s * math.sqrt(2 * math.pi))
            for w, mean, s in zip((0.7, 0.3), (-3.0, 1.5), (1.5, 0.7), strict=True)
        ],
        -1,
    )
    assert torch.allclose(m.log_joint(x), density.log())
    a, b, c = m.log_odds()
    assert torch.allclose(a * x**2 + b * x + c, (density[:, 0] / density[:, 1]).log())


def test_separation_is_in_pooled_stds():
    assert mixture((0.5, 0.5), (0.0, 4.0), (2.0, 2.0)).separation() == pytest.approx(2.0)
    assert mixture((0.2, 0.8), (0.0, 3.0), (1.0, 2.0)).separation() == pytest.approx(3 / math.sqrt(0.2 + 0.8 * 4))


@pytest.mark.parametrize(("low", "high"), [(0.1, 99.9), (5, 95), (0, 100)])
def test_percentiles_are_those_of_numpy(low, high):
    x = two_normals(2, counts=(60, 41))
    clipped, inside = clip_percentiles(x, low, high)
    lo, hi = np.percentile(x.numpy(), [low, high])
    assert np.allclose(clipped, x.numpy().clip(lo, hi))
    assert torch.equal(inside, (clipped - x).abs() < 1e-12)


def test_floor_beats_the_low_percentile():
    clipped, inside = clip_percentiles(torch.tensor([-30.0, -25.0, 0.0, 1.0]), 0, 100, floor=-20.0)
    assert clipped.tolist() == [-20, -20, 0, 1] and inside.tolist() == [False, False, True, True]


def test_infinite_values_are_clipped_like_large_ones():
    x = torch.arange(1000.0)
    x[-1] = float("inf")
    clipped, inside = clip_percentiles(x, 1, 99)
    assert clipped.isfinite().all() and not inside[-1]
