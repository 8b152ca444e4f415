import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spkssl.losses.gmm1d import Mixture
from spkssl.losses.noise_model import (
    EMPTY,
    clean_posterior,
    effective_sample_size,
    fit_clean,
    push,
    start_queue,
    vote,
)

D = torch.float64


def mixture(weights, means, stds):
    return Mixture(*(torch.tensor(part, dtype=D) for part in (weights, means, stds)))


def losses(seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.exp(np.concatenate([rng.normal(-3, 1.5, 7000), rng.normal(1.5, 0.7, 3000)])))


@pytest.mark.parametrize(("x", "p"), [(-1.0, 0.5), (0.0, 0.0179862), (-2.0, 1 / (1 + math.exp(-4)))])
def test_posterior_of_equal_widths_is_a_logistic(x, p):
    m = mixture((0.5, 0.5), (-3.0, 1.0), (1.0, 1.0))
    assert float(clean_posterior(torch.tensor(x), m)) == pytest.approx(p, abs=1e-7)


@pytest.mark.parametrize("stds", [(1.5, 0.7), (0.7, 1.5), (1.0, 1.0)])
def test_monotone_posterior_never_rises_and_differs_only_beyond_the_turning_point(stds):
    m = mixture((0.7, 0.3), (-3.0, 1.5), stds)
    x = torch.linspace(-30, 30, 601, dtype=D)
    plain, held = clean_posterior(x, m), clean_posterior(x, m, monotone=True)
    assert (held.diff() <= 1e-12).all()
    between = (x >= -3) & (x <= 1.5)
    assert torch.equal(plain[between], held[between])
    assert (stds == (1.0, 1.0)) == bool((plain.diff() <= 1e-12).all())


def test_posterior_is_the_share_of_the_first_component():
    m = mixture((0.7, 0.3), (-3.0, 1.5), (1.5, 0.7))
    x = torch.linspace(-6, 4, 21, dtype=D)
    assert torch.allclose(clean_posterior(x, m), m.log_joint(x).softmax(-1)[:, 0])


def test_fit_recovers_the_mixture_of_the_log_losses():
    fit = fit_clean(losses())
    assert torch.allclose(fit.mixture.means, torch.tensor([-3.0, 1.5], dtype=D), atol=0.1)
    assert torch.allclose(fit.mixture.weights, torch.tensor([0.7, 0.3], dtype=D), atol=0.01)
    assert fit.trusted and fit.probability[:7000].mean() > 0.9 > 0.15 > fit.probability[7000:].mean()


def test_permuted_losses_get_permuted_probabilities():
    x = losses()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    assert torch.equal(fit_clean(x[order]).probability, fit_clean(x).probability[order])


def test_a_factor_on_all_losses_changes_nothing():
    x = losses()  # + 1 on the log losses
    assert torch.allclose(fit_clean(x).probability, fit_clean(math.e * x).probability, atol=1e-6)


def test_one_huge_or_infinite_loss_hardly_moves_the_others():
    x = losses()
    for outlier in (1e9, float("inf")):
        moved = fit_clean(torch.cat([x, torch.tensor([outlier], dtype=D)])).probability[:-1]
        assert float((moved - fit_clean(x).probability).abs().max()) < 0.01


def test_zero_losses_stay_at_the_floor():
    fit = fit_clean(torch.cat([losses(), torch.zeros(50, dtype=D)]))
    assert fit.probability.isfinite().all() and fit.probability[-1] > 0.5


def test_fit_without_two_modes_is_not_trusted():
    assert not fit_clean(torch.ones(1000)).trusted
    assert not fit_clean(losses(), min_sample_share=0.99).trusted
    assert not fit_clean(losses(), min_separation=50.0).trusted


def test_effective_sample_size_counts_equal_weights():
    assert float(effective_sample_size(torch.ones(7))) == 7
    assert float(effective_sample_size(torch.tensor([1.0, 1.0, 0.0, 0.0]))) == 2
    assert float(effective_sample_size(0.3 * torch.ones(7))) == pytest.approx(7)
    assert float(effective_sample_size(torch.zeros(4))) == 0


def after(initial, predictions, length=5):
    queue = start_queue(torch.tensor([initial]), length)
    for label in predictions:
        queue = push(queue, torch.tensor([label]))
    return queue


@pytest.mark.parametrize(
    ("predictions", "winner"), [((7, 7, 7), 7), ((7, 8, 9), 3), ((7, 7, 9), 9), ((), 3), ((8,), 3)]
)
def test_vote_of_the_queue(predictions, winner):
    assert int(vote(after(3, predictions))) == winner


@pytest.mark.parametrize(("predictions", "winner"), [((7, 7, 7), 7), ((7, 8, 9), 3), ((7, 7, 9), 3), ((), 3)])
def test_vote_that_takes_the_oldest_of_a_tie(predictions, winner):
    assert int(vote(after(3, predictions), tie="oldest")) == winner


def test_sixth_entry_drops_the_oldest():
    assert after(3, (7, 8, 9)).tolist() == [[3, 3, 7, 8, 9]]
    assert after(3, (7, 8, 9, 1)).tolist() == [[3, 7, 8, 9, 1]]


def test_new_queue_has_half_its_places_filled_at_the_new_end():
    assert start_queue(torch.tensor([4, 2]), 5).tolist() == [[EMPTY] * 3 + [4, 4], [EMPTY] * 3 + [2, 2]]


@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=8), st.integers(0, 5))
def test_vote_agrees_with_counting(rows, empty):
    queue = torch.tensor(rows)
    queue[:, :empty] = EMPTY
    for row, winner in zip(queue.tolist(), vote(queue).tolist(), strict=True):
        counts = Counter(label for label in row if label != EMPTY).most_common()
        tie = len(counts) > 1 and counts[0][1] == counts[1][1]
        assert winner == (row[-1] if tie else counts[0][0])
