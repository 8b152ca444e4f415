import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spkssl.contract import Batch, Facts, Progress
from spkssl.losses.balance import min_norm_weight
from spkssl.methods.aamsupcon import AamSupCon, Config

START = Progress(0, 10, 10)
DISTINCT = torch.tensor([0, 1])


class Identity(nn.Module):
    """The crops are the embeddings."""

    def __init__(self, dim):
        super().__init__()
        self.embed_dim = dim

    def forward(self, x):
        return x


def make(dim=2, classes=2, centroids=None, **settings):
    torch.manual_seed(0)
    facts = Facts(num_utts=8, seed=0, num_classes=classes, centroids=centroids)
    return AamSupCon(Config(**settings), lambda: Identity(dim), facts).double()


def directions(*degrees):
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], -1)


def four_embeddings():
    """Two utterances at 0 and 90 degrees, their second views 30 degrees further: (B, V, D)."""
    return directions((0, 30), (90, 120))


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def step(method, z, label, t=START):
    """A step on embeddings (B, V, D)."""
    views = {view.name: z[:, v : v + 1] for v, view in enumerate(method.views)}
    return method(Batch(views, torch.arange(len(z)), label), t)


@pytest.mark.parametrize(
    ("settings", "label", "expected"),
    [
        ({}, (0, 1), 0.632443),
        ({"margin_mode": "num", "contrast_margin": 0.2}, (0, 1), 0.749040),
        ({"margin_mode": "both", "contrast_margin": 0.2}, (0, 1), 0.688343),
        ({"margin_mode": "am", "contrast_margin": 0.1}, (0, 1), 0.680182),
        ({"temperature": 0.07}, (0, 1), 0.002677),
        ({"temperature": 0.07, "margin_mode": "num", "contrast_margin": 0.2}, (0, 1), 1.668355),
        ({"temperature": 0.07, "margin_mode": "both", "contrast_margin": 0.2}, (0, 1), 0.013998),
        ({"temperature": 0.07, "margin_mode": "am", "contrast_margin": 0.1}, (0, 1), 0.011076),
        ({}, (0, 0), 1.209793),
        ({"margin_mode": "num", "contrast_margin": 0.2}, (0, 0), 1.372233),
        ({"margin_mode": "both", "contrast_margin": 0.2}, (0, 0), 1.223617),
    ],
)
def test_contrastive_term_of_four_embeddings(settings, label, expected):
    found = step(make(**{"temperature": 1.0, **settings}), four_embeddings(), torch.tensor(label))
    assert float(found.scalars["supcon"]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("scale", "margin", "expected"), [(32, 0.2, 0.446283), (30, 0.2, 0.459379), (32, 0, 0.001660)])
def test_classifier_of_one_embedding_with_cosines_5_3_and_minus_1(scale, margin, expected):
    method = make(4, 3, scale=float(scale), margin=float(margin))
    z = torch.eye(4, dtype=torch.float64)[:1].repeat(2, 1)[None]  # (1, 2, 4)
    with torch.no_grad():
        for row, cosine in enumerate((0.5, 0.3, -0.1)):
            method.classifier.weight[row] = torch.tensor([cosine, 0, 0, math.sqrt(1 - cosine**2)])
    assert float(step(method, z, torch.tensor([0])).scalars["aam"]) == pytest.approx(expected, abs=1e-6)


def joint(**settings):
    """192 dimensions, 2793 classes: the two present lie at 60 degrees, all others at right angles to everything."""
    method = make(192, 2793, **{"margin": 0.3, "scale": 32.0, "temperature": 1.0, **settings})
    with torch.no_grad():
        method.classifier.weight.zero_()
        method.classifier.weight[:2, :2] = directions(60, 60)
        method.classifier.weight[2:, 2] = 1
    z = torch.zeros(2, 2, 192, dtype=torch.float64)
    z[..., :2] = four_embeddings()
    return method, z


def test_joint_loss_is_the_sum_of_both():
    found = step(*joint(), DISTINCT)
    assert float(found.scalars["supcon"]) == pytest.approx(0.632443, abs=1e-6)
    assert float(found.scalars["aam"]) == pytest.approx(7.436699, abs=1e-6)
    assert found.loss.item() == pytest.approx(8.069142, abs=1e-6)


def test_weights_multiply_their_loss():
    method, z = joint(aam_weight=0.5, supcon_weight=2.0)
    assert step(method, z, DISTINCT).loss.item() == pytest.approx(0.5 * 7.436699 + 2 * 0.632443, abs=1e-5)


def test_views_given_in_another_layout_change_the_result():
    method, z = joint()
    mixed = z.clone()
    mixed[0, 1], mixed[1, 0] = z[1, 0], z[0, 1]
    assert abs(step(method, mixed, DISTINCT).loss.item() - 8.069142) > 0.1


def test_only_the_first_view_is_classified_unless_all_are_asked_for():
    z, label = draw(3, 3, 4), torch.tensor([0, 1, 1])
    changed = torch.cat([z[:, :1], draw(3, 2, 4, seed=1)], dim=1)
    first, all_views = make(4, views=3), make(4, views=3, aam_on="all")
    assert float(step(first, z, label).scalars["aam"]) == float(step(first, changed, label).scalars["aam"])
    assert float(step(all_views, z, label).scalars["aam"]) != float(step(all_views, changed, label).scalars["aam"])


def test_views_share_their_crop_and_only_the_last_is_clean():
    for count in (2, 5):
        views = make(views=count).views
        assert [view.augment for view in views] == [True] * (count - 1) + [False]
        assert {view.group for view in views} == {"crop"} and len({view.name for view in views}) == count
    assert [view.augment for view in make(views=1).views] == [True]


def test_balance_takes_the_weight_of_the_shortest_joint_gradient():
    z, label = draw(4, 2, 3).requires_grad_(), torch.tensor([0, 1, 1, 0])
    gradients = []
    for weights in ((1.0, 1e-12), (1e-12, 1.0)):  # one of the losses alone
        method = make(3, temperature=0.5, aam_weight=weights[0], supcon_weight=weights[1])
        gradients.append(torch.autograd.grad(step(method, z, label).loss, z)[0])
    alpha = float(min_norm_weight(*gradients))
    found = step(make(3, temperature=0.5, balance=True), z, label)
    assert float(found.scalars["aam_share"]) == pytest.approx(alpha, abs=1e-9) and 0 < alpha < 1
    expected = alpha * found.scalars["aam"] + (1 - alpha) * found.scalars["supcon"]
    assert found.loss.item() == pytest.approx(float(expected), rel=1e-9)
    joint_gradient = torch.autograd.grad(found.loss, z)[0]
    assert torch.allclose(joint_gradient, alpha * gradients[0] + (1 - alpha) * gradients[1])
    assert joint_gradient.norm() < min(g.norm() for g in gradients)


def test_attention_is_the_classifiers_probability_and_weakens_pairs():
    z, label = draw(4, 2, 3), torch.tensor([0, 1, 1, 0])
    method = make(3, temperature=0.5, attention=True, attention_scale=5.0)
    a = (5 * F.normalize(z, dim=-1) @ F.normalize(method.classifier.weight, dim=-1).T).softmax(-1)  # (B, V, K)
    a = a[torch.arange(4), :, label]  # (B, V)
    found = step(method, z, label)
    assert float(found.scalars["attention"]) == pytest.approx(a.mean().item())
    assert float(found.scalars["supcon"]) != float(step(make(3, temperature=0.5), z, label).scalars["supcon"])


@pytest.mark.parametrize("trained", [False, True])
def test_attention_takes_gradient_only_when_asked(trained):
    method = make(3, aam_weight=0.0, attention=True, attention_scale=5.0, attention_gradient=trained)
    step(method, draw(4, 2, 3), torch.tensor([0, 1, 1, 0])).loss.backward()
    assert bool(method.classifier.weight.grad.abs().max() > 0) == trained


@pytest.mark.parametrize("mode", ["none", "num", "both", "am"])
@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize(
    ("z", "label"),
    [
        (torch.ones(3, 1, 2), (0, 1, 2)),
        (torch.zeros(3, 1, 2), (0, 1, 2)),
        (torch.ones(1, 1, 2), (0,)),
        (torch.ones(4, 2, 2), (0, 0, 0, 0)),
        (torch.ones(4, 2, 2), (0, 1, 2, 0)),
        (torch.cat([torch.ones(2, 2, 2), -torch.ones(2, 2, 2)]), (0, 0, 1, 0)),
    ],
    ids=["lone speakers", "zeros", "one embedding", "one speaker", "duplicates", "opposites"],
)
def test_degenerate_batches_give_finite_loss_and_gradient(z, label, mode, balance):
    views = z.shape[1]
    method = make(views=views, classes=3, margin_mode=mode, balance=balance, attention=True, attention_gradient=True)
    z = z.double().requires_grad_()
    found = step(method, z, torch.tensor(label))
    found.loss.backward()
    assert found.loss.isfinite() and z.grad.isfinite().all() and method.classifier.weight.grad.isfinite().all()
    assert all(value.isfinite() for value in found.scalars.values())


def test_collapse_costs_ln_of_the_candidates_at_any_temperature():
    for tau in (0.07, 1.0):
        for label in (torch.zeros(4).long(), torch.arange(4)):
            method = make(classes=4, temperature=tau)
            found = step(method, torch.ones(4, 2, 2, dtype=torch.float64), label)
            assert float(found.scalars["supcon"]) == pytest.approx(math.log(7), rel=1e-9)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"margin_mode": "num", "attention": True, "attention_gradient": True},
        {"margin_mode": "both", "aam_on": "all"},
        {"hidden": 5, "out": 4},
    ],
)
def test_passes_gradcheck(settings):
    method = make(3, temperature=0.5, scale=4.0, **settings)
    label = torch.tensor([0, 1, 0])
    weight = method.classifier.weight
    assert torch.autograd.gradcheck(lambda z, w: step(method, z, label).loss, (draw(3, 2, 3).requires_grad_(), weight))


def test_margin_grows_over_the_ramp():
    method = make(3, margin_ramp=(0.0, 0.5))
    z, label = draw(4, 2, 3), torch.tensor([0, 1, 1, 0])
    losses = [float(step(method, z, label, Progress(s, 10, 10)).scalars["aam"]) for s in (0, 25, 50, 99)]
    assert losses[0] < losses[1] < losses[2] == losses[3]
    assert losses[0] == float(step(make(3, margin=0.0), z, label).scalars["aam"])


def test_class_weights_may_start_at_the_cluster_centres():
    centroids = draw(2, 3).float()
    weight = make(3, centroids=centroids.numpy(), from_centroids=True).classifier.weight
    assert torch.equal(weight, centroids.double())


@pytest.mark.parametrize(
    "settings",
    [
        {"views": 0},
        {"temperature": 0.0},
        {"aam_weight": 0.0, "supcon_weight": 0.0},
        {"balance": True, "aam_weight": 0.0},
    ],
)
def test_settings_that_make_no_loss_are_refused(settings):
    with pytest.raises(ValueError, match="must"):
        Config(**settings)
