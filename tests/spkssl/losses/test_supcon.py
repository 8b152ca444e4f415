import math

import pytest
import torch
from torch.autograd import gradcheck

from spkssl.losses.aam import aam_losses
from spkssl.losses.nt_xent import nt_xent
from spkssl.losses.supcon import class_attention, own_class_probability, supcon_loss

D = torch.float64
MODES = ["none", "num", "both", "am"]
DISTINCT = torch.tensor([0, 1])


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def directions(*degrees):
    angle = torch.tensor(degrees, dtype=D).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], -1)


def four_embeddings():
    return directions((0, 30), (90, 120))  # (utterance, view, 2)


def slow_supcon(z, label, tau, margin, mode, attention=None):
    rows = [(z[b, v] / z[b, v].norm(), int(label[b]), (b, v)) for b in range(len(z)) for v in range(z.shape[1])]
    losses = []
    for i, (zi, yi, at) in enumerate(rows):

        def pair(j, moved):
            c = max(-1.0, min(1.0, float(zi @ rows[j][0])))
            weight = 1.0 if attention is None else min(float(attention[at]), float(attention[rows[j][2]]))
            if moved and mode == "am":
                c -= margin
            elif moved and mode != "none":
                theta = math.acos(c)
                far = c - margin * math.sin(math.pi - margin)
                c = math.cos(theta + margin) if theta + margin < math.pi else far
            return weight * c / tau

        others = [j for j in range(len(rows)) if j != i]
        positives = [j for j in others if rows[j][1] == yi]
        norm = math.log(sum(math.exp(pair(j, mode in ("both", "am") and j in positives)) for j in others))
        if positives:
            losses.append(-sum(pair(j, True) - norm for j in positives) / len(positives))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(
    ("mode", "margin", "per_anchor", "mean"),
    [
        ("none", 0.2, (0.516254, 0.748632), 0.632443),
        ("num", 0.2, (0.632852, 0.865229), 0.749040),
        ("both", 0.2, (0.564919, 0.811767), 0.688343),
        ("am", 0.1, (0.557790, 0.802574), 0.680182),
    ],
)
def test_four_embeddings_of_two_speakers(mode, margin, per_anchor, mean):
    result = supcon_loss(four_embeddings(), DISTINCT, 1.0, margin, mode)
    outer, inner = per_anchor
    assert torch.allclose(result.anchors, torch.tensor([[outer, inner], [inner, outer]], dtype=D), atol=1e-6)
    assert float(result.loss) == pytest.approx(mean, abs=1e-6)


def test_first_anchor_by_hand():
    cos30 = math.cos(math.pi / 6)
    expected = math.log(math.exp(cos30) + 1 + math.exp(-0.5)) - cos30
    assert float(supcon_loss(four_embeddings(), DISTINCT, 1.0).anchors[0, 0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("mode", "margin", "mean"),
    [("none", 0.2, 0.002677), ("num", 0.2, 1.668355), ("both", 0.2, 0.013998), ("am", 0.1, 0.011076)],
)
def test_low_temperature(mode, margin, mean):
    assert float(supcon_loss(four_embeddings(), DISTINCT, 0.07, margin, mode).loss) == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize(("mode", "mean"), [("none", 1.209793), ("num", 1.372233), ("both", 1.223617)])
def test_one_speaker_in_the_whole_batch(mode, mean):
    result = supcon_loss(four_embeddings(), torch.tensor([0, 0]), 1.0, 0.2, mode)
    assert float(result.loss) == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("views", [1, 2, 3])
def test_agrees_with_a_double_loop(mode, views):
    z, label = draw(6, views, 3), torch.tensor([0, 1, 0, 2, 1, 3])
    expected = slow_supcon(z, label, 0.5, 0.2, mode)
    assert float(supcon_loss(z, label, 0.5, 0.2, mode).loss) == pytest.approx(expected, rel=1e-9)


def test_attention_agrees_with_a_double_loop():
    z, label, attention = draw(4, 2, 3), torch.tensor([0, 1, 0, 2]), draw(4, 2, seed=1).sigmoid()
    for mode in MODES:
        expected = slow_supcon(z, label, 0.5, 0.2, mode, attention)
        assert float(supcon_loss(z, label, 0.5, 0.2, mode, attention).loss) == pytest.approx(expected, rel=1e-9)


def test_attention_of_one_changes_nothing():
    z, label = draw(4, 2, 3), torch.tensor([0, 1, 0, 2])
    ones = torch.ones(4, 2, dtype=D)
    assert torch.allclose(supcon_loss(z, label).loss, supcon_loss(z, label, attention=ones).loss)


@pytest.mark.parametrize("mode", MODES)
def test_order_of_utterances_and_views_and_lengths_do_not_matter(mode):
    z, label = draw(5, 3, 4), torch.tensor([0, 1, 0, 2, 1])
    plain = supcon_loss(z, label, 0.2, 0.1, mode).loss
    order = torch.tensor([3, 1, 4, 0, 2])
    assert torch.allclose(plain, supcon_loss(z[order], label[order], 0.2, 0.1, mode).loss)
    assert torch.allclose(plain, supcon_loss(z.flip(1), label, 0.2, 0.1, mode).loss)
    assert torch.allclose(plain, supcon_loss(z * draw(5, 3, 1).abs(), label, 0.2, 0.1, mode).loss)


def test_exchanging_views_between_speakers_matters():
    z = four_embeddings()
    mixed = z.transpose(0, 1)
    assert not torch.allclose(supcon_loss(z, DISTINCT, 1.0).loss, supcon_loss(mixed, DISTINCT, 1.0).loss)


def test_without_labels_and_with_two_views_it_is_nt_xent():
    z = draw(5, 2, 3)
    assert torch.allclose(supcon_loss(z, None, 0.2).loss, nt_xent(z[:, 0], z[:, 1], 0.2))


@pytest.mark.parametrize("tau", [0.07, 1.0])
def test_collapse_gives_ln_of_the_candidates(tau):
    same = torch.ones(4, 2, 3, dtype=D)
    for label in (torch.zeros(4).long(), torch.arange(4)):
        assert float(supcon_loss(same, label, tau).loss) == pytest.approx(math.log(7), rel=1e-9)


def test_floor_of_the_numerator_margin():
    z = torch.ones(1, 2, 3, dtype=D)
    z = torch.cat([z, -z])  # two speakers, opposite: negatives contribute e^(-2/tau)
    loss = float(supcon_loss(z, DISTINCT, 0.07, 0.2, "num").loss)
    # the floor on the sine leaves 7e-5 / tau at exact coincidence
    assert loss == pytest.approx((1 - math.cos(0.2)) / 0.07, abs=1.1e-3)
    assert (1 - math.cos(0.2)) / 0.07 == pytest.approx(0.284762, abs=2e-6)


@pytest.mark.parametrize("mode", MODES)
def test_lone_speakers_are_left_out_of_the_mean(mode):
    z = draw(4, 1, 3)
    result = supcon_loss(z, torch.tensor([0, 0, 1, 2]), 0.1, 0.1, mode)
    assert torch.allclose(result.loss, result.anchors[:2].mean()) and (result.anchors[2:] == 0).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "z",
    [torch.zeros(3, 1, 2), torch.ones(1, 1, 2), torch.ones(3, 2, 2), torch.zeros(3, 2, 2), torch.eye(2).unsqueeze(1)],
    ids=["alone and zero", "one embedding", "duplicates", "all zero", "two lone speakers"],
)
def test_degenerate_batches_give_finite_loss_and_gradient(z, mode):
    z = z.clone().requires_grad_()
    result = supcon_loss(z, torch.arange(len(z)), 0.07, 0.2, mode)
    result.loss.backward()
    assert result.loss.isfinite() and result.anchors.isfinite().all() and z.grad.isfinite().all()


def test_opposite_duplicates_give_finite_gradients():
    z = torch.stack([torch.ones(2, 3), -torch.ones(2, 3)], 1).requires_grad_()
    for mode in MODES:
        z.grad = None
        supcon_loss(z, torch.tensor([0, 0]), 0.07, 0.2, mode).loss.backward()
        assert z.grad.isfinite().all()


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="none, num, both or am"):
        supcon_loss(draw(2, 2, 3), None, margin_mode="all")


def test_joint_loss_in_192_dimensions():
    z = torch.zeros(2, 2, 192, dtype=D)
    z[..., :2] = four_embeddings()
    weight = torch.zeros(2793, 192, dtype=D)
    weight[:2, :2] = directions(60, 60)
    weight[2:, 2] = 1
    sup = supcon_loss(z, DISTINCT, 1.0).loss
    aam = aam_losses(z[:, 0], weight, DISTINCT, 0.3, 32.0).mean()
    assert float(sup) == pytest.approx(0.632443, abs=1e-6)
    assert float(aam) == pytest.approx(7.436699, abs=1e-6)
    assert float(sup + aam) == pytest.approx(8.069142, abs=1e-6)


def test_gathering_over_two_ranks_gives_the_gradient_of_one_process():
    z, label = four_embeddings().requires_grad_(), DISTINCT
    whole = torch.autograd.grad(supcon_loss(z, label, 1.0).loss, z)[0]
    # Each rank computes the loss of all rows; a gather's backward sums over ranks, DDP then averages.
    owed = []
    for _ in range(2):
        gathered = torch.cat([z[:1].detach(), z[1:].detach()]).requires_grad_()
        owed.append(torch.autograd.grad(supcon_loss(gathered, label, 1.0).loss, gathered)[0])
    assert torch.allclose(sum(owed) / 2, whole)


def test_class_attention_small_case():
    logits = torch.tensor([[2.0, 0, 0], [0, 1, 0], [0, 1, 0.5]], dtype=D)
    a = own_class_probability(logits, torch.tensor([0, 1, 1]))
    assert torch.allclose(a, torch.tensor([0.786986, 0.576117, 0.506480], dtype=D), atol=1e-6)
    assert float(torch.minimum(a[0], a[1])) == pytest.approx(0.576117, abs=1e-6)


def test_class_attention_is_the_probability_under_a_cosine_classifier():
    z, weight, label = draw(3, 2, 4), draw(5, 4, seed=1), torch.tensor([4, 0, 2])
    got = class_attention(z, weight, label, scale=10.0)
    for b in range(3):
        for v in range(2):
            s = torch.stack([10 * torch.cosine_similarity(z[b, v], w, dim=0) for w in weight])
            assert torch.allclose(got[b, v], s.softmax(0)[label[b]])


def test_unscaled_attention_is_nearly_constant_for_many_classes():
    weight = torch.nn.functional.normalize(-torch.ones(2793, 4, dtype=D), dim=-1)
    weight[0] = -weight[0]
    best = class_attention(torch.ones(1, 1, 4, dtype=D), weight, torch.tensor([0]))
    assert float(best) == pytest.approx(0.00264, abs=1e-5)


def test_supcon_passes_gradcheck():
    z, label, attention = draw(3, 2, 3), torch.tensor([0, 1, 0]), draw(3, 2, seed=1).sigmoid().requires_grad_()
    z.requires_grad_()
    for mode in MODES:
        assert gradcheck(lambda x, mode=mode: supcon_loss(x, label, 0.5, 0.2, mode).loss, (z,))
    assert gradcheck(lambda x, a: supcon_loss(x, label, 0.5, attention=a).loss, (z, attention))
    weight = draw(4, 3, seed=2).requires_grad_()
    assert gradcheck(lambda x, w: class_attention(x, w, label, 5.0), (z, weight))
