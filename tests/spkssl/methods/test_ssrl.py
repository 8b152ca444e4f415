import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spkssl import config, rng
from spkssl.contract import Batch, Facts, Progress
from spkssl.errors import InputError
from spkssl.methods.ssrl import Config, Ssrl
from spkssl.metrics.clusters import nmi
from spkssl.stages.system import System

D = torch.float64


class Linear(nn.Module):
    """An encoder of vectors that come as one frame each: (B, 1, F) -> (B, D)."""

    def __init__(self, dim: int, inputs: int | None = None, norm: bool = False) -> None:
        super().__init__()
        self.embed_dim = dim
        self.map = nn.Linear(inputs or dim, dim, bias=False)
        nn.init.eye_(self.map.weight)
        self.norm = nn.BatchNorm1d(dim) if norm else nn.Identity()

    def forward(self, x):
        return self.norm(self.map(x[:, 0]))


def ssrl(labels, centroids, dim=None, norm=False, **changes):
    labels, centroids = np.asarray(labels), None if centroids is None else np.asarray(centroids, np.float32)
    facts = Facts(len(labels), 0, int(labels.max()) + 1, labels, centroids, 1)
    rng.seed_torch(0, "ssrl")
    return Ssrl(Config(**changes), lambda: Linear(dim or centroids.shape[1], norm=norm), facts)


def batch(x, index=None, student=None):
    x = torch.as_tensor(np.asarray(x), dtype=torch.float32)
    views = {"student": x if student is None else student, "teacher": x}
    views = {name: view[:, None, None] for name, view in views.items()}  # (B, 1, 1, F)
    return Batch(views, torch.arange(len(x)) if index is None else torch.as_tensor(index), None)


def at(epoch, steps=1, epochs=105):
    return Progress(epoch * steps, steps, epochs)


def told(method, epoch, predictions, losses=None, index=None):
    """End an epoch in which the teacher said this."""
    predictions = torch.as_tensor(predictions)
    losses = torch.ones(len(predictions), dtype=D) if losses is None else torch.as_tensor(losses, dtype=D)
    index = torch.arange(len(predictions)) if index is None else torch.as_tensor(index)
    method.end_epoch({"prediction": predictions, "loss": losses, "index": index}, at(epoch))


@pytest.mark.parametrize(
    ("predictions", "tie", "label"),
    [((7, 7, 7), "newest", 7), ((7, 8, 9), "newest", 3), ((7, 7, 9), "newest", 9), ((7, 7, 9), "oldest", 3)],
)
def test_predictions_of_epochs_2_to_4_decide_the_label_of_epoch_5(predictions, tie, label):
    method = ssrl([3, *range(10)], np.eye(10), weights="none", tie=tie)  # utterance 0 has label 3; others keep classes
    others = torch.arange(10)
    assert method.first_judged == 2
    for epoch, prediction in zip((2, 3, 4), predictions, strict=True):
        assert int(method.labels.labels[0]) == 3
        told(method, epoch, torch.cat([torch.tensor([prediction]), others]))
    assert int(method.labels.labels[0]) == label
    assert method.labels.queue[0].tolist() == [3, 3, *predictions]
    told(method, 5, torch.cat([torch.tensor([1]), others]))
    assert method.labels.queue[0].tolist() == [3, *predictions, 1]


def test_the_teacher_is_asked_from_three_epochs_before_the_first_vote():
    method = ssrl([0, 1], np.eye(2))
    records = [method(batch(np.eye(2)), at(epoch)).records.keys() for epoch in range(6)]
    assert [bool(keys) for keys in records] == [False, False, True, True, True, True]
    assert [method.votes(at(epoch)) for epoch in range(6)] == [False] * 4 + [True] * 2


COSINES = torch.tensor([[0.50, 0.35, 0.10]])


def fixed_scores(method):
    """The teacher sees these cosines whatever comes in."""
    method.teacher.head.forward = lambda x: COSINES.to(x)
    return method


@pytest.mark.parametrize(("scale", "loss"), [(32.0, 1.331567), (30.0, 1.284998)])
def test_the_margin_at_the_current_label_drives_the_teacher_away_from_it(scale, loss):
    one = batch(np.eye(3)[:1])
    away = fixed_scores(ssrl([0, 1, 2], np.eye(3), faithful=True, scale=scale, early_loss="label"))
    found = away(one, at(2)).records
    assert int(found["prediction"]) == 1
    assert float(found["loss"]) == pytest.approx(loss, abs=2e-6)
    stays = fixed_scores(ssrl([0, 1, 2], np.eye(3), scale=scale))
    found = stays(one, at(2)).records
    assert int(found["prediction"]) == 0
    assert float(found["loss"]) == pytest.approx(loss, abs=2e-6)  # the label in use is judged with its margin
    if scale == 32:
        logits = away.logits(COSINES, torch.tensor([0]))
        torch.testing.assert_close(logits, torch.tensor([[10.17538, 11.2, 3.2]]), atol=1e-5, rtol=0)


def test_a_changed_label_meets_the_margin_unless_released():
    queue = {"fixed_epochs": 1, "queue": 1, "scale": 32.0}  # the vote is the prediction
    labels, one = [1, 0, 2], batch(np.eye(3)[:1])
    plain = 32 * COSINES.double()
    with_margin = plain.clone()
    with_margin[0, 0] = 10.17538
    expected = {"scored": with_margin, "none": plain}
    for where, logits in expected.items():
        method = fixed_scores(ssrl(labels, np.eye(3), loss_margin=where, **queue))
        found = method(one, at(0)).records
        assert int(found["prediction"]) == 0
        assert float(found["loss"]) == pytest.approx(float(-logits.log_softmax(1)[0, 0]), abs=1e-5)
    released = fixed_scores(ssrl(labels, np.eye(3), faithful=True, **queue))
    found = released(one, at(0)).records  # the margin weakens class 1, which it is not scored for
    assert float(found["loss"]) < float(-plain.log_softmax(1)[0, 0])


def test_the_far_branch_of_the_margin_keeps_falling():
    method = ssrl([0, 1, 2], np.eye(3))
    cosine = torch.linspace(1, -1, 201, dtype=D)[:, None].repeat(1, 3)
    phi = method.logits(cosine, torch.zeros(201, dtype=torch.long))[:, 0] / 32
    assert (phi.diff() < 0).all()
    assert float(method.logits(torch.full((1, 3), -0.99, dtype=D), torch.tensor([0]))[0, 0]) / 32 == pytest.approx(
        -1.0297339, abs=1e-7
    )


def test_a_class_nobody_is_left_in_has_no_probability_no_gradient_and_no_part_in_the_loss():
    centroids, x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), torch.eye(6)[:3] + 0.3
    method = ssrl([0, 1, 3, 2], centroids, fixed_epochs=1, queue=1, weights="none")
    told(method, 0, [0, 1, 3, 0])  # class 2 loses its only utterance
    assert method.labels.removed.tolist() == [False, False, True, False]
    step = method(batch(x), at(1))
    step.loss.backward()
    assert int(step.records["prediction"].eq(2).sum()) == 0
    assert torch.equal(method.student.head[1].weight.grad[2], torch.zeros(6))
    assert float(method.logits(torch.ones(1, 4), None).softmax(1)[0, 2]) == 0
    without = ssrl([0, 1, 2], centroids[[0, 1, 3]])
    torch.testing.assert_close(without(batch(x), at(1)).loss, step.loss)
    assert float(method(batch(x), at(1)).scalars["active_classes"]) == 3


def test_a_removed_class_returns_when_older_predictions_win_and_its_infinite_loss_harms_nothing():
    method = ssrl([0, 0, 1, 2], np.eye(3), fixed_epochs=0)
    method.labels.queue.copy_(torch.tensor([[1, 1, 2, 2, 0], [0] * 5, [0] * 5, [2] * 5]))
    method.labels.relabel()
    assert method.labels.labels.tolist() == [0, 0, 0, 2] and method.labels.removed.tolist() == [False, True, False]
    method.labels.queue[0] = torch.tensor([0, 1, 1, 0, 1])
    scores = fixed_scores(method)
    found = scores(batch(np.eye(3)[:1], [0]), at(9)).records
    assert int(found["prediction"]) == 0 and float(found["loss"]) == math.inf  # 1, 1, 0, 1, 0 votes for a removed class
    told(method, 9, [0, 0, 0, 2], [math.inf, 0.1, 0.2, 0.3])
    assert method.clean.isfinite().all()
    assert int(method.labels.labels[0]) == 1 and not method.labels.removed[1]


def test_the_loss_is_the_weighted_mean_whatever_the_scale_of_the_weights():
    method, x = ssrl([0, 1, 2], np.eye(3)), torch.eye(3) + 0.2
    logits = method.logits(F.normalize(x) @ torch.eye(3), torch.arange(3))
    losses = F.cross_entropy(logits, torch.arange(3), reduction="none")
    for weights in ([1.0, 0.5, 0.0], [1.0, 1.0, 1.0]):
        p = torch.tensor(weights)
        for factor in (1, 0.1):
            method.clean.copy_(p * factor)
            torch.testing.assert_close(method(batch(x), at(0)).loss, (p * losses).sum() / p.sum())
    method.clean.zero_()
    step = method(batch(x), at(0))
    step.loss.backward()
    assert float(step.loss.detach()) == 0 and all(not p.grad.any() for p in method.student.parameters())


@pytest.mark.parametrize(
    ("step", "decay"), [(0, 0.999), (500, 0.99945), (999, 0.9998991), (1000, 0.9999), (2000, 0.9999)]
)
def test_published_momentum_grows_linearly(step, decay):
    method = ssrl([0, 1], np.eye(2), faithful=True)
    assert method.momentum(Progress(step, 10, 100)) == pytest.approx(decay, abs=1e-12)


def test_momentum_by_window_is_the_published_one_at_the_published_size():
    method = ssrl([0, 1], np.eye(2))
    whole = [method.momentum(Progress(step, 2275, 105)) for step in (0, 2275 * 105)]
    assert whole == pytest.approx([0.999, 0.9999], abs=2e-6)
    small = [method.momentum(Progress(step, 60, 30)) for step in (0, 1800)]
    assert small == pytest.approx([0.962, 0.9962], abs=2e-4)


@pytest.mark.parametrize(("steps", "value"), [(10, 0.00991498), (1000, 0.423417)])
def test_teacher_follows_parameters_and_running_statistics_alike(steps, value):
    method = ssrl([0, 1], np.eye(2), norm=True, faithful=True)
    with torch.no_grad():
        for tensor in (*method.teacher.parameters(), *method.teacher.buffers()):
            tensor.zero_()
        for tensor in (*method.student.parameters(), *method.student.buffers()):
            tensor.fill_(1)
    for step in range(steps):
        method.after_step(Progress(step, 10, 100))
    norm = method.teacher.encoder.norm
    floating = [*method.teacher.parameters(), norm.running_mean, norm.running_var]
    for tensor in floating:
        torch.testing.assert_close(tensor, torch.full_like(tensor, value), atol=2e-5, rtol=0)
    assert int(norm.num_batches_tracked) == 0


def test_the_teacher_stays_in_evaluation_mode_and_out_of_the_graph():
    method = ssrl([0, 1, 0], np.eye(2), norm=True, head="linear")
    assert method.training and method.student.training and not method.teacher.training
    before = {name: value.clone() for name, value in method.teacher.state_dict().items()}
    method(batch(np.ones((3, 2))), at(3)).loss.backward()
    assert all(torch.equal(value, before[name]) for name, value in method.teacher.state_dict().items())
    assert all(p.grad is None for p in method.teacher.parameters())
    assert method.eval() is method and not method.student.training


def test_weights_follow_the_losses_and_leave_out_who_was_not_seen():
    draws = np.random.default_rng(0)
    losses = np.exp(np.concatenate([draws.normal(-3, 1.5, 7000), draws.normal(1.5, 0.7, 3000)]))
    method = ssrl(np.zeros(10001, int), np.eye(1))
    told(method, 2, np.zeros(10000, int), losses)
    assert float(method.clean[:7000].mean()) > 0.9 > 0.15 > float(method.clean[7000:10000].mean())
    assert float(method.clean[10000]) == 1
    order = np.random.default_rng(1).permutation(10000)
    other = ssrl(np.zeros(10001, int), np.eye(1))
    told(other, 2, np.zeros(10000, int), losses[order])
    assert torch.equal(other.clean[:10000], method.clean[torch.from_numpy(order)])
    by_loss = method.clean[:10000][torch.from_numpy(losses.argsort())]
    assert (by_loss.diff() <= 1e-6).all()  # monotone


def test_weights_that_rest_on_a_tenth_of_the_utterances_are_one_unless_released():
    draws = np.random.default_rng(0)
    losses = np.exp(np.concatenate([draws.normal(-4, 0.5, 50), draws.normal(1, 0.5, 450)]))
    changes = ({}, {"faithful": True}, {"faithful": True, "weights": "none"})
    plain, released, none = (ssrl(np.zeros(500, int), np.eye(1), **change) for change in changes)
    for method in (plain, released, none):
        told(method, 2, np.zeros(500, int), losses)
    assert torch.equal(plain.clean, torch.ones(500)) and torch.equal(none.clean, torch.ones(500))
    assert float(released.clean[50:].max()) < 0.1
    step = released(batch(np.ones((4, 1))), at(3))
    assert float(step.scalars["clean_mean"]) == pytest.approx(float(released.clean.mean()), rel=1e-5)
    share = float(released.clean.sum() ** 2 / released.clean.square().sum() / 500)
    assert float(step.scalars["effective_share"]) == pytest.approx(share, rel=1e-4)


def clusters(seed, classes=10, each=60, dim=32, k=20, flipped=0.1):
    """Gaussian classes, k-means on them, and some labels thrown: x, truth, labels, who was thrown, centres."""
    from sklearn.cluster import KMeans

    draws = np.random.default_rng(seed)
    truth = np.repeat(np.arange(classes), each)
    x = draws.standard_normal((classes, dim))[truth] + 1.2 * draws.standard_normal((len(truth), dim))
    found = KMeans(k, n_init=1, random_state=seed).fit(x)
    labels, thrown = found.labels_.astype(np.int64), draws.random(len(x)) < flipped
    labels[thrown] = draws.integers(0, k, thrown.sum())
    return x.astype(np.float32), truth, labels, thrown, found.cluster_centers_.astype(np.float32)


def reflect(seed, epochs, each_epoch=None, **changes):
    """Train a linear encoder on the clusters; the method and the world."""
    x, truth, labels, thrown, centres = world = clusters(seed)
    method = ssrl(labels, centres, **{"ema": (0.99, 0.999), **changes})
    optimizer = torch.optim.Adam(method.student.parameters(), lr=2e-3)
    draws = torch.Generator().manual_seed(seed)
    steps = len(x) // 30
    for epoch in range(epochs):
        records = []
        for step, rows in enumerate(torch.randperm(len(x), generator=draws).split(30)):
            t = Progress(epoch * steps + step, steps, epochs)
            clean = torch.from_numpy(x)[rows]
            noisy = clean + 0.5 * torch.randn(clean.shape, generator=draws)
            out = method(batch(clean, rows, noisy), t)
            out.loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(t)
            if out.records:
                records.append({**out.records, "index": rows})
        if records:
            gathered = {name: torch.cat([r[name] for r in records]) for name in records[0]}
            order = gathered["index"].argsort()
            method.end_epoch({name: value[order] for name, value in gathered.items()}, t)
        if each_epoch is not None:
            each_epoch(method)
    return method, world


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_first_weights_trust_right_labels_more_and_those_of_the_released_code_less(seed):
    def split(**changes):
        method, (_, truth, labels, thrown, _) = reflect(seed, 3, **changes)
        return [float(method.clean[torch.from_numpy(who)].mean()) for who in (~thrown, thrown)]

    right, wrong = split(fallback=False)
    assert right > 1.5 * wrong
    right, wrong = split(faithful=True, ema=(0.99, 0.999))
    assert right < wrong


@pytest.mark.parametrize("faithful", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_reflection_mends_the_clusters_of_a_toy(seed, faithful):
    method, (_, truth, labels, _, _) = reflect(seed, 25, faithful=faithful, ema=(0.99, 0.999))
    assert nmi(truth, method.labels.labels.numpy()) > nmi(truth, labels) + 0.05


def test_without_memory_classes_never_come_back():
    active = []
    reflect(0, 12, lambda method: active.append(int(method.labels.active())), queue=1)
    assert all(later <= earlier for earlier, later in zip(active, active[1:], strict=False))


def test_the_teacher_starts_with_the_labels_of_the_clustering():
    x, _, _, _, _ = clusters(0)
    from sklearn.cluster import KMeans

    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    found = KMeans(20, n_init=3, random_state=0).fit(unit)
    method = ssrl(found.labels_.astype(np.int64), found.cluster_centers_)
    agree = method(batch(unit), at(2)).records["prediction"].numpy() == found.labels_
    assert agree.mean() > 0.95
    # By cosine to centres of unit length they agree to the last one.
    centres = found.cluster_centers_ / np.linalg.norm(found.cluster_centers_, axis=1, keepdims=True)
    nearest = (unit @ centres.T.astype(np.float32)).argmax(1)
    method = ssrl(np.r_[nearest, np.arange(20)], centres)
    assert (method(batch(unit), at(2)).records["prediction"].numpy() == nearest).all()


def test_left_out_utterances_stay_left_out():
    method = ssrl([0, -1, 1, -1, 0], np.eye(2), fixed_epochs=1, queue=3, weights="none")
    told(method, 0, [1, 1], index=[0, 2])
    told(method, 1, [1, 1], index=[0, 2])
    assert method.labels.labels.tolist() == [1, -1, 1, -1, 0]
    assert method.per_utterance()["label"].tolist() == [1, -1, 1, -1, 0]
    assert float(method(batch(np.eye(2), [0, 2]), at(2)).scalars["changed_labels"]) == 0


def test_an_utterance_no_epoch_visits_keeps_its_label_even_without_a_queue():
    method = ssrl([0, 1, 1], np.eye(2), fixed_epochs=1, queue=1, weights="none")
    told(method, 0, [1, 0], index=[0, 1])
    assert method.labels.labels.tolist() == [1, 0, 1]


def test_of_several_visits_the_last_one_counts():
    method = ssrl([0, 1], np.eye(2), fixed_epochs=1, queue=1, weights="none")
    told(method, 0, [0, 1, 1, 0], index=[0, 0, 1, 1])
    assert method.labels.labels.tolist() == [1, 0]


def test_sinkhorn_spreads_predictions_over_the_classes_that_are_left():
    x = np.eye(4)[[0, 0, 0, 0, 1, 1]] + 0.05 * np.random.default_rng(0).standard_normal((6, 4))
    x[0, 3] += 0.9
    x[1, 3] += 0.8
    plain, even = (ssrl([0, 1, 3, 0, 1, 3], np.eye(4), scale=4.0, relabel=how) for how in ("argmax", "sinkhorn"))
    assert plain(batch(x), at(2)).records["prediction"].tolist() == [0, 0, 0, 0, 1, 1]
    assert even(batch(x), at(2)).records["prediction"].tolist() == [3, 3, 0, 0, 1, 1]
    assert even.labels.removed.tolist() == [False, False, True, False]


def test_dropout_touches_the_student_of_the_linear_head_alone():
    aam, linear = Config(), Config(head="linear")
    assert (aam.dropout, linear.dropout, Config(dropout=0.3).dropout) == (0.0, 0.5, 0.3)
    method = ssrl([0, 1, 2, 3], 4 * np.eye(4), head="linear")
    x = batch(np.eye(4))
    rng.seed_torch(0, "a")
    first, second = (method(x, at(2)) for _ in range(2))
    assert float(first.loss.detach()) != float(second.loss.detach())
    assert torch.equal(first.records["loss"], second.records["loss"])
    torch.testing.assert_close(first.records["loss"], torch.full((4,), math.log(1 + 3 * math.exp(-4)), dtype=D))


def test_given_labels_are_neither_voted_on_nor_weighed():
    method = ssrl([0, 1, 0], None, dim=2, fixed_epochs=0)
    step = method(batch(np.ones((3, 2))), at(7))
    assert not step.records and step.loss.isfinite()
    method.end_epoch({}, at(7))
    assert method.labels.labels.tolist() == [0, 1, 0] and torch.equal(method.clean, torch.ones(3))


def test_centroids_of_another_encoder_are_refused():
    with pytest.raises(InputError, match=r"ssrl: centroids do not fit \(got \(2, 3\), expected \(2, 5\)\)"):
        ssrl([0, 1], np.zeros((2, 3)), dim=5)


def test_faithful_sets_every_switch_that_is_not_given():
    switches = ["vote_margin", "loss_margin", "early_loss", "monotone", "fallback", "variance_floor"]
    switches += ["ema", "percentiles"]
    mine, released = Config(), Config(faithful=True)
    assert [getattr(mine, s) for s in switches] == [False, "scored", "label", True, True, 1e-3, None, None]
    expected = [True, "current", "prediction", False, False, 1e-6, (0.999, 0.9999), (0.1, 99.9)]
    assert [getattr(released, s) for s in switches] == expected
    assert Config(faithful=True, vote_margin=False).vote_margin is False
    assert config.build(Config, config.to_dict(released)) == released


def resume_config(toy):
    return Config(student_frames=16, teacher_frames=30, scale=16.0, fixed_epochs=2, queue=3, head="linear", dropout=0.1)


@pytest.fixture
def voting(toy, monkeypatch):
    """A case that has relabelled, weighed and removed classes before it is killed."""
    case = toy.Tiny(resume_config(toy), labels=True, lr=1e-2)
    monkeypatch.setitem(toy.TINY, "ssrl voting", case)
    return "ssrl voting"


@pytest.mark.parametrize(("dies_at", "every"), [(10, 2), (9, 0)])
def test_queue_weights_and_removed_classes_survive_a_kill(toy, voting, tmp_path, dies_at, every):
    loop = toy.loop(voting, epochs=5, checkpoint_every=every)
    assert dies_at % 3 == (1 if every else 0)  # within an epoch, and at its border
    whole = toy.run(voting, tmp_path / "whole", loop)
    assert whole.labels.labels.tolist() != toy.speakers().tolist() and bool(whole.labels.removed.any())
    assert float(whole.clean.min()) < 1
    with pytest.raises(toy.Killed):
        toy.run(voting, tmp_path / "killed", loop, wrap=lambda loader: toy.Dying(loader, dies_at))
    resumed = toy.run(voting, tmp_path / "killed", loop).state_dict()
    assert {"labels.queue", "labels.labels", "labels.removed", "clean", "stats"} <= resumed.keys()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed[name]), name


@pytest.mark.parametrize(
    "recipe", ["mini/conf/ssrl", "voxceleb/conf/ssrl", "voxceleb/conf/ssrl_wavlm", "cnceleb/conf/ssrl"]
)
def test_recipes_start_from_the_encoder_that_was_clustered_and_fix_labels_for_the_first_phase(recipe):
    path = Path(__file__).parents[3] / "egs" / f"{recipe}.yaml"
    part = config.build(System, config.read_yaml(path), path).retrain
    assert part.method.name == "ssrl" and part.start == "previous"
    schedule = part.loop.optim.schedule
    assert schedule.kind == "two_phase" and schedule.first_epochs == part.method.fixed_epochs
