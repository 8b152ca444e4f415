import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spkssl import config, dist
from spkssl.contract import Batch, Facts, Progress
from spkssl.losses.dimension import frobenius, off_diagonal
from spkssl.losses.koleo import koleo
from spkssl.methods.sdpn import Config, Sdpn
from spkssl.nn.embedder import make_embedder
from spkssl.nn.heads import ProjectionConfig, ProjectionOutput
from spkssl.nn.schedules import cosine, learning_rate
from spkssl.stages.settings import Settings
from spkssl.stages.system import build_system
from spkssl.training.optim import clip_gradients, make_optimizer, set_lr

CONF = Path(__file__).parents[3] / "egs"
T = Progress(0, 10, 10)
E2 = torch.eye(2)
FACTS = Facts(num_utts=8, seed=0)
SMALL = {"head": ProjectionConfig(hidden=12, out=6), "num_prototypes": 8}


class Identity(nn.Module):
    """The crops are the embeddings."""

    embed_dim = 2

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.gain * x


class NoHead(nn.Module):
    def forward(self, x):
        return ProjectionOutput(F.normalize(x, dim=-1), x)


class Linear(nn.Module):
    embed_dim = 5

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(7, self.embed_dim)

    def forward(self, x):
        return self.layer(x)


def bare(**settings):
    """Sdpn whose loss is that of the crops themselves, with prototypes e1 and e2."""
    method = Sdpn(Config(head=ProjectionConfig(out=2), num_prototypes=2, **settings), lambda c=None: Identity(), FACTS)
    method.pair.student.head, method.pair.teacher.head = NoHead(), NoHead()
    with torch.no_grad():
        method.prototypes.weight.copy_(E2)
    return method


def small(**settings):
    torch.manual_seed(0)
    return Sdpn(Config(**SMALL, **settings), lambda c=None: Linear(), FACTS)


def draw(rows=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    views = {name: torch.randn(rows, n, 7, generator=generator) for name, n in (("global", 1), ("local", 4))}
    return Batch(views, torch.arange(rows), None)


def same(vectors):
    """Every crop of an utterance is its vector."""
    views = {"global": vectors[:, None], "local": vectors[:, None].expand(-1, 4, -1)}
    return Batch(views, torch.arange(len(vectors)), None)


def learn(method, steps=3, lr=0.1):
    optimizer = torch.optim.SGD([p for group in method.param_groups() for p in group["params"]], lr=lr)
    for i in range(steps):
        t = Progress(i, 10, 10)
        method(draw(seed=i), t).loss.backward()
        method.after_backward(t)
        optimizer.step()
        method.after_step(t)
        optimizer.zero_grad(set_to_none=True)


@pytest.mark.parametrize(
    ("rows", "distil", "uneven"),
    [
        ([[1, 0], [0, 1]], 4.5398e-5, 0.0),
        ([[1, 0], [0.6, 0.8]], 0.063821, 0.007116),
        ([[1, 0], [1, 0]], 5.0000454, 0.692648),  # 4.5e-5 without Sinkhorn
    ],
    ids=["on the prototypes", "one between them", "collapsed"],
)
def test_cross_entropy_and_mean_entropy_of_known_vectors(rows, distil, uneven):
    step = bare(koleo=0.0)(same(torch.tensor(rows, dtype=torch.float32)), T)
    assert step.scalars["distil"].item() == pytest.approx(distil, rel=1e-3, abs=1e-6)
    assert step.scalars["me_max"].item() == pytest.approx(uneven, rel=1e-3, abs=1e-6)
    assert step.loss.item() == pytest.approx(distil + uneven, rel=1e-3, abs=2e-6)
    assert step.scalars["entropy"].item() == pytest.approx(1 - uneven / math.log(2), rel=1e-3)


def test_a_collapse_costs_nothing_without_sinkhorn():
    step = bare(sinkhorn_rounds=0)(same(E2[:1].expand(2, 2)), T)
    assert step.scalars["distil"].item() == pytest.approx(4.5398e-5, rel=1e-2)


def test_the_temperature_is_that_of_the_student_and_sharpened_of_the_teacher():
    step = bare(temperature=0.2, sharpening=0.5)(same(E2), T)
    q, p = torch.tensor([10.0, 0.0]).softmax(0), torch.tensor([5.0, 0.0]).softmax(0)  # 1 / (tau T), 1 / tau
    assert step.scalars["distil"].item() == pytest.approx(-(q * p.log()).sum().item(), rel=1e-4)


def test_distinct_counts_the_prototypes_the_teacher_is_nearest_to():
    rows = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.1, 0.9], [0.8, 0.2]])
    assert bare()(same(rows), T).scalars["distinct"] == 2
    assert bare()(same(rows[:2]), T).scalars["distinct"] == 1  # Sinkhorn's targets would be 2


@pytest.mark.parametrize(("over", "times"), [("sum", 4), ("mean", 1)])
def test_koleo_is_of_the_students_embeddings_crop_by_crop(over, times):
    rows = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    step = bare(koleo_over=over)(same(rows), T)
    assert step.scalars["koleo"].item() == pytest.approx(times * -0.041143, rel=1e-4)  # -ln |n_j - n_near|, by hand


def test_koleo_does_not_look_across_crops():
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [0.0, -1.0]]])  # (B, n, 2)
    views = {"global": vectors[:, :1], "local": vectors.repeat(1, 2, 1)}
    step = bare()(Batch(views, torch.arange(2), None), T)
    assert step.scalars["koleo"].item() == pytest.approx(-4 * math.log(2))  # neighbours are opposite


def test_the_loss_is_the_weighted_sum_of_its_parts():
    weights = {"me_max": 0.3, "koleo": 0.2, "dimension": "fro", "dimension_weight": 0.7}
    step = small(**weights)(draw(), T)
    s = step.scalars
    expected = s["distil"] + 0.3 * s["me_max"] + 0.2 * s["koleo"] + 0.7 * (s["dimension"] + s["dimension_teacher"])
    assert step.loss.item() == pytest.approx(expected.item())


@pytest.mark.parametrize(("variant", "formula"), [("fro", frobenius), ("off", off_diagonal)])
def test_dimension_regularisation_is_of_the_embedding_or_the_unnormalised_head(variant, formula):
    batch = draw()
    for on in ("embedding", "head"):
        method = small(dimension=variant, dimension_on=on)
        rows = batch.views["local"].transpose(0, 1).flatten(0, 1)
        expected = method.pair.student.encoder(rows)
        if on == "head":
            expected = method.pair.student.head(expected).raw
        assert method(batch, T).scalars["dimension"].item() == pytest.approx(formula(expected).item(), rel=1e-5)


def test_dimension_regularisation_is_off_by_default():
    assert "dimension" not in small()(draw(), T).scalars


def test_regularisers_reach_the_encoder_only_with_their_weights():
    def gradient(**settings):
        method = small(me_max=0.0, **settings)
        method(draw(), T).loss.backward()
        return method.pair.student.encoder.layer.weight.grad

    method, batch = small(), draw()
    rows = method.pair.student.encoder(batch.views["local"].transpose(0, 1))
    (expected,) = torch.autograd.grad(0.5 * koleo(rows).sum(), method.pair.student.encoder.layer.weight)
    torch.testing.assert_close(gradient(koleo=0.5) - gradient(koleo=0.0), expected, rtol=1e-4, atol=1e-6)


def test_the_teacher_sees_one_clean_crop_and_the_student_four_augmented_ones():
    long, short = small().views
    assert (long.name, long.count, long.frames, long.augment) == ("global", 1, 400, False)
    assert (short.name, short.count, short.frames, short.augment) == ("local", 4, 200, True)


def test_the_teacher_encodes_the_long_crop_and_the_student_all_short_ones():
    method, batch = small(), draw()
    seen = {}
    for name in ("student", "teacher"):
        encoder = getattr(method.pair, name).encoder
        encoder.register_forward_pre_hook(lambda module, args, name=name: seen.update({name: args[0]}))
    method(batch, T)
    assert torch.equal(seen["teacher"], batch.views["global"][:, 0])
    assert torch.equal(seen["student"], batch.views["local"].transpose(0, 1).flatten(0, 1))


def test_the_teacher_gets_no_gradient_and_prototypes_get_theirs_from_the_student_alone():
    gradients = []
    for tracked in (False, True):
        method = small()
        method.pair.teacher.requires_grad_(tracked)
        method(draw(), T).loss.backward()
        assert all(p.grad is None for p in method.pair.teacher.parameters())
        gradients.append(method.prototypes.weight.grad)
    assert torch.equal(*gradients)
    assert gradients[0].abs().max() > 0


def test_lengths_of_prototypes_do_not_matter():
    method, batch = small(), draw()
    before = method(batch, T).loss
    method.prototypes.weight.data.mul_(2)
    assert method(batch, T).loss.item() == pytest.approx(before.item(), rel=1e-5)


def test_teacher_and_student_start_equal_and_the_teacher_follows_parameters_only():
    method = small(ema=(0.996, 1.0))
    for ours, theirs in zip(method.pair.student.parameters(), method.pair.teacher.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        ours.data.fill_(1.0)
        theirs.data.zero_()
    method.pair.student.head.trunk[1].running_mean.fill_(7.0)
    method.after_step(Progress(0, 10, 10))
    assert all(torch.allclose(p, torch.full_like(p, 0.004), atol=1e-7) for p in method.pair.teacher.parameters())
    assert not (method.pair.teacher.head.trunk[1].running_mean == 7.0).any()


def test_prototypes_learn_and_frozen_ones_do_not_move():
    learned, frozen = small(), small(prototypes="frozen")
    before = learned.prototypes.weight.clone()
    assert torch.equal(frozen.prototypes.weight, before)
    learn(learned)
    learn(frozen)
    assert not torch.equal(learned.prototypes.weight, before)
    assert torch.equal(frozen.prototypes.weight, before)
    assert frozen.prototypes.weight.grad is None


@pytest.mark.parametrize("prototypes", ["learned", "frozen"])
def test_prototypes_are_saved_and_resumed(prototypes):
    method = small(prototypes=prototypes)
    learn(method)
    torch.manual_seed(1)
    twin = Sdpn(Config(**SMALL, prototypes=prototypes), lambda c=None: Linear(), FACTS)
    assert not torch.equal(twin.prototypes.weight, method.prototypes.weight)
    twin.load_state_dict(method.state_dict(), strict=True)
    assert torch.equal(twin.prototypes.weight, method.prototypes.weight)


def test_prototypes_are_neither_decayed_nor_clipped():
    optim = published("voxceleb").pretrain.loop.optim
    method = small()
    optimizer = make_optimizer(method, optim)
    (group,) = [g for g in optimizer.param_groups if any(p is method.prototypes.weight for p in g["params"])]
    assert group["weight_decay"] == 0 and len(group["params"]) == 1
    decays = {p.ndim: g["weight_decay"] for g in optimizer.param_groups if g is not group for p in g["params"]}
    assert decays == {2: 5e-5, 1: 0.0}
    for parameter in method.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    clip_gradients(optimizer, optim)
    assert method.prototypes.weight.grad.min() == 100
    assert all(p.grad.norm() < 3.001 for p in method.pair.student.parameters())


@pytest.mark.parametrize(("how", "factor"), [("mean", 1.0), ("sum", 4.0)])
def test_gradient_of_the_prototypes_may_be_summed_over_ranks(how, factor, monkeypatch):
    method = small(prototype_gradient=how)
    method(draw(), T).loss.backward()
    before = {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}
    monkeypatch.setattr(dist, "world_size", lambda: 4)
    method.after_backward(T)
    for name, grad in before.items():
        times = factor if name == "prototypes.weight" else 1.0
        assert torch.equal(method.get_parameter(name).grad, times * grad)


def test_koleo_over_all_ranks_sees_the_gathered_rows(monkeypatch):
    rows = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    alone = bare()(same(rows[:2]), T).scalars["koleo"]
    monkeypatch.setattr(dist, "gather", lambda x: torch.cat([x, rows[2:, None].expand(-1, 4, -1)]))
    gathered = bare(koleo_gather=True)(same(rows[:2]), T).scalars["koleo"]
    assert alone.item() == pytest.approx(-4 * math.log(math.sqrt(0.8)), rel=1e-5)
    assert gathered.item() == pytest.approx(4 * -0.041143, rel=1e-4)


@pytest.mark.parametrize("deploy", ["teacher", "student"])
def test_what_is_deployed_is_a_choice(deploy):
    method = small(deploy=deploy)
    assert method.embedder() is getattr(method.pair, deploy).encoder


@pytest.mark.parametrize(
    "wrong",
    [{"local_count": 0}, {"num_prototypes": 1}, {"temperature": 0.0}, {"sharpening": -1.0}, {"koleo": -0.1}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_numbers_without_meaning_are_refused(wrong):
    with pytest.raises(ValueError):
        Config(**wrong)


def published(corpus):
    path = CONF / corpus / "conf" / "sdpn.yaml"
    return build_system(Settings(config.read_yaml(path), str(path)))


@pytest.mark.parametrize("corpus", ["voxceleb", "cnceleb"])
def test_published_networks_have_the_published_sizes(corpus):
    system = published(corpus)
    method = Sdpn(system.pretrain.method, lambda c=None: make_embedder(system.encoder, system.frontend_config), FACTS)

    def count(module):
        return sum(p.numel() for p in module.parameters())

    assert count(method.embedder()) == 22_733_952
    assert count(method.pair.student.head) == 5_779_712
    assert count(method.prototypes) == 262_144
    assert count(method) == 57_289_472
    assert method.prototypes.weight.abs().max() <= 1 / 16


def test_published_settings_are_the_defaults():
    assert published("voxceleb").pretrain.method == published("cnceleb").pretrain.method == Config()


@pytest.mark.parametrize(("step", "rate"), [(0, 0.0), (999, 0.6), (8000, 0.300005), (14999, 1.0008e-5)])
def test_published_learning_rate_of_all_groups(step, rate):
    loop = published("voxceleb").pretrain.loop
    t = Progress(step, 100, loop.epochs)
    assert learning_rate(loop.optim.schedule, loop.optim.base_lr(loop.batch_size), t) == pytest.approx(rate, rel=1e-4)
    optimizer = make_optimizer(small(), loop.optim)
    set_lr(optimizer, loop.optim, loop.batch_size, t)
    assert len({group["lr"] for group in optimizer.param_groups}) == 1


def test_published_momentum_of_the_teacher():
    ends = published("voxceleb").pretrain.method.ema
    assert [cosine(*ends, x) for x in (0.0, 0.5, 1.0)] == pytest.approx([0.996, 0.998, 1.0])


def test_mini_configuration_keeps_prototypes_within_four_batches():
    system = published("mini")
    method, loop = system.pretrain.method, system.pretrain.loop
    assert method.global_frames == 2 * method.local_frames and method.local_count == 4
    assert method.num_prototypes <= 4 * loop.batch_size
