import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spkssl.contract import Batch, Facts, Progress, samples_of
from spkssl.data.views import crop_starts, groups_of
from spkssl.methods.simclr import Config, Simclr

T = Progress(0, 10, 10)
FACTS = Facts(num_utts=8, seed=0)


class Identity(nn.Module):
    """The crops are the embeddings."""

    embed_dim = 6

    def forward(self, x):
        return x


class Linear(nn.Module):
    embed_dim = 5

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(7, 9), nn.Tanh(), nn.Linear(9, self.embed_dim))

    def forward(self, x):
        return self.layers(x)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make(encoder=Identity, **settings):
    torch.manual_seed(0)
    return Simclr(Config(**settings), encoder, FACTS).double()


def loss_of(method, views):
    return method(Batch({method.views[0].name: views}, torch.arange(len(views)), None), T)


def pairs(*rows):
    """Two equal crops of each row."""
    return torch.stack([torch.stack(rows)] * 2, dim=1).double()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({"loss": "nt_xent_scaled"}, 9.0796e-5), ({}, 9.0796e-5), ({"temperature": 0.07}, 1.24975e-6)],
    ids=["w = 10", "T = 0.1", "T = 0.07"],
)
def test_orthonormal_perfect_pairs(settings, expected):
    eye = torch.eye(6)
    assert loss_of(make(**settings), pairs(eye[0], eye[1])).loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("count", [4, 128])
@pytest.mark.parametrize("loss", ["nt_xent", "nt_xent_scaled"])
def test_collapsed_embeddings_cost_the_log_of_the_others(count, loss):
    views = pairs(*[torch.ones(6)] * count)
    assert loss_of(make(loss=loss), views).loss.item() == pytest.approx(math.log(2 * count - 1))


@pytest.mark.parametrize("loss", ["nt_xent", "nt_xent_scaled"])
def test_scale_of_embeddings_and_order_of_crops_do_not_matter(loss):
    views, method = draw(4, 2, 6), make(loss=loss)
    expected = loss_of(method, views).loss.item()
    assert loss_of(method, 3.0 * views).loss.item() == pytest.approx(expected)
    assert loss_of(method, views.flip(1)).loss.item() == pytest.approx(expected)


def test_scale_is_learned_and_the_bias_gets_no_gradient():
    method = make(loss="nt_xent_scaled")
    loss_of(method, draw(4, 2, 6)).loss.backward()
    assert abs(float(method.similarity.scale.grad)) > 1e-3
    assert float(method.similarity.bias.grad) == pytest.approx(0, abs=1e-12)


def test_angular_prototypical_lets_the_first_crop_find_the_second():
    views, method = draw(4, 2, 6), make(loss="angular_prototypical")
    expected = 0.0
    for b in range(4):
        scores = [10.0 * float(F.cosine_similarity(views[b, 0], views[c, 1], dim=0)) - 5.0 for c in range(4)]
        expected -= scores[b] - math.log(sum(math.exp(score) for score in scores))
    assert loss_of(method, views).loss.item() == pytest.approx(expected / 4)


def test_without_a_discriminator_nothing_but_encoder_and_projector_is_there():
    assert make().state_dict().keys() == set()
    assert make().views[0].count == 2


@pytest.mark.parametrize("pass_per_crop", [False, True])
def test_adversarial_gradients_are_those_of_two_optimisers(pass_per_crop):
    method = make(Linear, loss="nt_xent_scaled", aat_weight=3.0, aat_hidden=4, pass_per_crop=pass_per_crop)
    views = draw(6, 3, 7)
    encoder, judge = copy.deepcopy(method.encoder), copy.deepcopy(method.discriminator)
    loss_of(method, views).loss.backward()

    anchor, same, different = (encoder(crop) for crop in views.unbind(1))
    both = torch.cat([torch.cat([anchor, same], 1), torch.cat([anchor, different], 1)])  # (2B, 2D)
    shared = torch.tensor([1] * 6 + [0] * 6)
    F.cross_entropy(judge.layers(both.detach()), shared).backward()  # the discriminator's own step
    of_judge = [p.grad.clone() for p in judge.parameters()]
    reversed_ = both * 1.0
    reversed_.register_hook(lambda grad: -grad)
    rows = F.normalize(torch.cat([anchor, different]), dim=1)
    logits = (10 * rows @ rows.T - 5).masked_fill(torch.eye(12, dtype=torch.bool), -torch.inf)
    contrast = F.cross_entropy(logits, torch.arange(12).roll(6))
    (contrast + 3 * F.cross_entropy(judge.layers(reversed_), shared)).backward()

    for ours, reference in zip(method.discriminator.parameters(), of_judge, strict=True):
        torch.testing.assert_close(ours.grad, reference)
    for ours, reference in zip(method.encoder.parameters(), encoder.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, reference.grad)
        assert reference.grad.abs().max() > 1e-4


def test_the_discriminator_is_not_clipped_with_the_encoder():
    method = make(Linear, aat_weight=1.0, aat_hidden=4)
    encoder, judge = method.param_groups()
    assert judge["clip"] is False
    assert {id(p) for p in judge["params"]} == {id(p) for p in method.discriminator.parameters()}
    assert {id(p) for p in encoder["params"]} == {id(p) for p in method.encoder.parameters()}


def test_what_the_triple_shares():
    (view,) = make(aat_weight=3.0).views
    assert [view.crop_of(i) for i in range(3)] == [0, 1, 1]
    assert [view.profile_of(i) for i in range(3)] == [0, 0, 1]


@pytest.mark.parametrize("aat_weight", [0.0, 3.0])
def test_segments_never_share_a_sample_and_come_in_either_order(aat_weight):
    method = make(aat_weight=aat_weight, frames=180)
    group = groups_of(method.views)[method.views[0].name]
    rows = np.arange(1000)
    lengths = np.random.default_rng(0).integers(400, 2000, 1000)
    first, second = crop_starts(group, lengths, rows, np.zeros(1000, np.int64), 0, 0, "repeat").T
    assert (np.abs(first - second) * 160 >= samples_of(180)).all()
    assert (np.maximum(first, second) + 180 <= lengths).all()
    assert 0.45 < np.mean(first > second) < 0.55
