"""MeMo's wiring: which term reads which of the twelve parts, what the stop leaves, and the numbers of its sources."""

import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from spkssl import rng
from spkssl.config import build, read_yaml
from spkssl.contract import Facts, Progress
from spkssl.losses.dino import dino_loss
from spkssl.losses.nt_xent import memo_contrastive
from spkssl.methods import dino, memo
from spkssl.nn.ecapa import EcapaConfig
from spkssl.nn.embedder import make_embedder
from spkssl.nn.frontend import FrontendConfig
from spkssl.nn.heads import last_layers
from spkssl.nn.resnet import ResNetConfig
from spkssl.nn.schedules import learning_rate
from spkssl.nn.stopping import StopConfig
from spkssl.training import log

EGS = Path(__file__).parents[3] / "egs"
T = Progress(step=5, steps_per_epoch=3, epochs=3)
TERMS = [f"{kind}_{name}" for name in ("first", "second") for kind in ("self", "cross", "contrastive")]


@pytest.fixture(scope="module")
def batch(toy):
    return next(iter(toy.make_loader(toy.make("memo"), labels=False).epoch(0)))[0]


def make(toy, seed=0, make_encoder=None, **changes):
    """The tiny MeMo, a few settings changed."""
    rng.seed_torch(seed, "init")
    config = replace(toy.tiny("memo").config, **changes)
    return memo.Memo(config, make_encoder or toy.make_encoder, Facts(toy.UTTS, seed))


def apart(method):
    """Student and teacher differ, as they do after the first steps."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return method


def terms(method, batch):
    return {name: float(value) for name, value in method(batch, T).scalars.items() if name in TERMS}


def grads(method, batch, t=T):
    method.zero_grad(set_to_none=True)
    step = method(batch, t)
    step.loss.backward()
    return step.loss.detach(), {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


# Which terms change when a part does: nothing else may. Contrastive pairs a student with its own teacher.
READS = {
    ("first", "student", "encoder"): {"self_first", "cross_first", "contrastive_first"},
    ("first", "student", "head.self"): {"self_first"},
    ("first", "student", "head.cross"): {"cross_first"},
    ("first", "teacher", "encoder"): {"self_first", "cross_second", "contrastive_first"},
    ("first", "teacher", "head.self"): {"self_first"},
    ("first", "teacher", "head.cross"): {"cross_second"},
    ("second", "student", "encoder"): {"self_second", "cross_second", "contrastive_second"},
    ("second", "student", "head.self"): {"self_second"},
    ("second", "student", "head.cross"): {"cross_second"},
    ("second", "teacher", "encoder"): {"self_second", "cross_first", "contrastive_second"},
    ("second", "teacher", "head.self"): {"self_second"},
    ("second", "teacher", "head.cross"): {"cross_first"},
}


@pytest.mark.parametrize("part", READS, ids=lambda part: " ".join(part))
def test_a_part_moves_exactly_the_terms_that_read_it(toy, batch, part):
    name, role, path = part
    method = apart(make(toy))
    before = terms(deepcopy(method), batch)
    with torch.no_grad():
        for parameter in getattr(method.pairs[name], role).get_submodule(path).parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    after = terms(method, batch)
    assert before.keys() == after.keys() == set(TERMS)
    assert {term for term in TERMS if after[term] != before[term]} == READS[part]


def test_value_and_gradient_are_those_of_the_six_terms_written_out(toy, batch):
    method = apart(make(toy, cross_weight=(0.3, 0.7), contrastive_weight=0.9, contrastive_base=0.07))
    found, gradients = grads(deepcopy(method), batch)
    total = torch.zeros(())
    tau = method.temperature(T)
    look, emb = {}, {}
    for name, pair in method.pairs.items():
        for role in ("student", "teacher"):
            branch = getattr(pair, role)
            kinds = [batch.views["global"], batch.views["local"]][: 2 if role == "student" else 1]
            rows = [branch.encoder(kind.transpose(0, 1).flatten(0, 1)) for kind in kinds]
            emb[name, role] = rows[0].view(2, toy.BATCH, -1)
            for kind, head in branch.head.items():
                look[name, role, kind] = head(torch.cat(rows)).logits.view(-1, toy.BATCH, 16)
    for name, other, weight in (("first", "second", 0.3), ("second", "first", 0.7)):
        zero = torch.zeros(16)
        total = total + dino_loss(look[name, "student", "self"], look[name, "teacher", "self"], zero, tau)
        total = total + weight * dino_loss(look[name, "student", "cross"], look[other, "teacher", "cross"], zero, tau)
        total = total + 0.9 * memo_contrastive(emb[name, "student"], emb[name, "teacher"])
    assert float(found) == pytest.approx(float(total.detach()), rel=1e-5)
    wanted = dict(method.named_parameters())
    wanted = {name: wanted[name] for name in gradients}
    for (name, got), expected in zip(gradients.items(), torch.autograd.grad(total, wanted.values()), strict=True):
        torch.testing.assert_close(got, expected, rtol=2e-3, atol=2e-5 * float(expected.abs().max() + 1), msg=name)


def test_the_contrastive_term_reads_long_crops_only(toy, batch):
    method = apart(make(toy))
    before = terms(deepcopy(method), batch)
    after = terms(method, batch._replace(views={**batch.views, "local": batch.views["local"].flip(0)}))
    changed = {term for term in TERMS if after[term] != before[term]}
    assert changed == {"self_first", "cross_first", "self_second", "cross_second"}


@torch.no_grad()
def test_each_of_four_centres_follows_the_teacher_it_sharpens(toy, batch):
    method = apart(make(toy))
    twin = deepcopy(method)
    method(batch, T)
    for target, (source, kind) in {
        "self_first": ("first", "self"),
        "self_second": ("second", "self"),
        "cross_first": ("second", "cross"),
        "cross_second": ("first", "cross"),
    }.items():
        teacher = twin.pairs[source].teacher
        logits = teacher.head[kind](teacher.encoder(batch.views["global"].transpose(0, 1).flatten(0, 1))).logits
        torch.testing.assert_close(method.targets[target].centre, 0.1 * logits.mean(dim=0), rtol=1e-4, atol=1e-6)


def test_with_all_logits_equal_each_distillation_is_the_logarithm_of_the_outputs(toy, batch):
    method = make(toy)
    with torch.no_grad():
        for parameter in last_layers(method):
            parameter.zero_()
    found = terms(method, batch)
    for term in ("self_first", "cross_first", "self_second", "cross_second"):
        assert found[term] == pytest.approx(math.log(16), rel=1e-6)


def test_exchanged_roles_exchange_the_losses(toy, batch):
    small = ResNetConfig(width=4, blocks=(1, 1), embed_dim=10)
    ecapa = toy.make_encoder().encoder_config
    one = apart(make(toy, second=small, cross_weight=(0.1, 1.0)))
    two = make(toy, make_encoder=lambda c=None: toy.make_encoder(c or small), second=ecapa, cross_weight=(1.0, 0.1))
    for name, other in memo.OTHER.items():
        two.pairs[name].load_state_dict(one.pairs[other].state_dict())
    a, b = one(batch, T), two(batch, T)
    assert torch.equal(a.loss, b.loss)
    for name, value in a.scalars.items():
        stem, _, branch = name.rpartition("_")
        assert torch.equal(value, b.scalars[f"{stem}_{memo.OTHER[branch]}" if branch in memo.OTHER else name]), name


def two_dinos(toy, config):
    crops = {name: getattr(config, name) for name in ("global_frames", "local_frames", "local_count")}
    rest = ("head", "targets", "teacher_temperature", "temperature_warmup", "ema", "freeze_epochs")
    plain = dino.Config(**crops, **{name: getattr(config, name) for name in rest})
    for encoder in (None, config.second):
        rng.seed_torch(0, "init")
        yield dino.Dino(plain, lambda c=None, encoder=encoder: toy.make_encoder(encoder), Facts(toy.UTTS, 0))


def without_cross(state):
    """A branch's state under the names it has in DINO."""
    return {name.replace("head.self.", "head."): v for name, v in state.items() if "head.cross" not in name}


def test_without_cross_and_contrastive_it_is_two_dino_runs_bit_for_bit(toy, tmp_path):
    method = make(toy, cross_weight=(0.0, 0.0), contrastive_weight=0.0)
    dinos = dict(zip(memo.OTHER, two_dinos(toy, method.config), strict=True))
    assert_equal(without_cross(method.pairs["first"].state_dict()), dinos["first"].pair.state_dict())  # the same seed
    dinos["second"].pair.load_state_dict(without_cross(method.pairs["second"].state_dict()))
    start = deepcopy(method.state_dict())
    for case, run in (("memo", method), ("dino", dinos["first"]), ("dino", dinos["second"])):
        toy.run(case, tmp_path / f"{case}{id(run)}", method=run)
    for name, plain in dinos.items():
        assert_equal(without_cross(method.pairs[name].state_dict()), plain.pair.state_dict())
        assert torch.equal(method.targets[f"self_{name}"].centre, plain.targets.centre)
    changed = {name.split(".")[1] for name, value in method.state_dict().items() if not torch.equal(value, start[name])}
    assert changed == {"first", "second", "self_first", "self_second"}


def test_after_the_stop_loss_and_gradients_are_those_of_distillation_alone(toy, batch):
    method = apart(make(toy))
    alone = make(toy, contrastive_weight=0.0)
    alone.load_state_dict(method.state_dict())
    with_term, _ = grads(deepcopy(method), batch)
    for stop in method.stops.values():
        stop.last.fill_(0)
    stopped, expected = grads(method, batch), grads(alone, batch)
    assert torch.equal(stopped[0], expected[0]) and with_term > stopped[0]
    assert_equal(stopped[1], expected[1])
    assert method(batch, T).records == {}


def test_each_architecture_stops_by_itself(toy, batch):
    method = apart(make(toy))
    _, before = grads(deepcopy(method), batch)
    method.stops["second"].last.fill_(0)
    step = deepcopy(method)(batch, T)
    assert set(step.records) == {"watched_first"} and "contrastive_second" not in step.scalars
    _, after = grads(method, batch)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    # The heads are behind the embedding, which is where the term ends.
    assert moved == {name for name in before if name.startswith("pairs.second.student.encoder")}


@pytest.mark.parametrize("dies_at", [4, 6, 8], ids=["before the stop", "just after it", "well after it"])
def test_a_run_killed_around_the_stop_ends_as_the_uninterrupted_one(toy, tmp_path, dies_at):
    config = toy.loop("memo", epochs=4, checkpoint_every=2, log_every=1)
    whole = make(toy, stop=StopConfig(latest=0.5))
    toy.run("memo", tmp_path / "whole", config, method=whole)
    with pytest.raises(toy.Killed):
        dying = make(toy, stop=StopConfig(latest=0.5))
        toy.run("memo", tmp_path / "killed", config, wrap=lambda inner: toy.Dying(inner, dies_at), method=dying)
    resumed = make(toy, seed=1, stop=StopConfig(latest=0.5))
    toy.run("memo", tmp_path / "killed", config, method=resumed)
    assert_equal(resumed.state_dict(), whole.state_dict())
    rows = log.read(tmp_path / "killed" / "metrics.jsonl")
    assert [row["step"] for row in rows if "contrastive_first" in row] == [1, 2, 3, 4, 5, 6]  # two epochs of three
    means = [sum(row["contrastive_second"] for row in rows[i : i + 3]) / 3 for i in (0, 3)]
    assert whole.stops["second"].history.tolist() == pytest.approx(means, rel=1e-5)
    assert int(whole.stops["first"].last) == int(whole.stops["second"].last) == 1


def gradient_at_long_crops(method, batch, t):
    """Of the loss, at the first student's embeddings of the long crops."""
    seen = []

    def keep(module, inputs, output):
        output.retain_grad()
        seen.append(output)

    handle = method.pairs["first"].student.encoder.register_forward_hook(keep)
    method(batch, t).loss.backward()
    handle.remove()
    return seen[0].grad


def test_agreement_is_the_cosine_of_the_two_gradients_at_the_students_long_crops(toy, batch):
    method = apart(make(toy, stop=StopConfig("gradient", every=2), cross_weight=(0.3, 0.7)))
    pulls, losses = [], []
    for weight in (0.0, 1.0):
        plain = make(toy, cross_weight=(0.3, 0.7), contrastive_weight=weight)
        plain.load_state_dict(method.state_dict())
        losses.append(deepcopy(plain)(batch, T).loss)
        pulls.append(gradient_at_long_crops(plain, batch, Progress(3, 3, 3)))
    step = method(batch, Progress(3, 3, 3))
    expected = float(F.cosine_similarity(pulls[0], pulls[1] - pulls[0], dim=1).mean())
    assert abs(expected) > 1e-3
    assert float(step.scalars["agreement_first"]) == pytest.approx(expected, abs=1e-4)
    assert step.records["watched_first"].tolist() == pytest.approx([expected] * toy.BATCH, abs=1e-4)
    assert torch.equal(step.loss, losses[1])  # measuring changes nothing


def test_agreement_is_measured_at_the_epochs_first_step_and_every_few_after(toy, batch):
    method = make(toy, stop=StopConfig("gradient", every=2))
    measured = [s for s in range(6) if "agreement_first" in deepcopy(method)(batch, Progress(s, 3, 3)).scalars]
    assert measured == [0, 2, 3, 5]
    assert deepcopy(method)(batch, Progress(1, 3, 3)).records["watched_first"].isnan().all()


def test_steps_without_a_measurement_do_not_count(toy):
    method = make(toy, stop=StopConfig("gradient", earliest=0, patience=1))
    nan = float("nan")
    for name, values in {"first": [nan, 0.2, nan, 0.4], "second": [nan, -0.2, nan, nan]}.items():
        method.end_epoch({f"watched_{name}": torch.tensor(values)}, T)
    assert method.stops["first"].on and method.stops["first"].history.tolist() == pytest.approx([0.3])
    assert not method.stops["second"].on


def test_last_layers_of_all_heads_rest_in_the_first_epoch_and_their_rows_keep_unit_norm(toy, tmp_path):
    method = make(toy, freeze_epochs=1.0)
    layers = {name: p for name, p in method.named_parameters() if "last_layer" in name and "student" in name}
    assert len(layers) == 4
    start = {name: p.detach().clone() for name, p in layers.items()}
    optimizer = torch.optim.AdamW([p for group in method.param_groups() for p in group["params"]], 1e-2)
    for step, micros in enumerate(toy.make_loader(method, labels=False).epoch(0)):
        t = Progress(step, 2, 3)
        method(micros[0], t).loss.backward()
        method.after_backward(t)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        for name, parameter in layers.items():
            assert torch.equal(parameter, start[name]) == (step < 2), name
    for pair in method.pairs.values():
        for kind in ("self", "cross"):
            rows = pair.student.head[kind].last_layer.rows()
            torch.testing.assert_close(rows.norm(dim=1), torch.ones(16), rtol=0, atol=1e-6)


def test_groups_are_one_architecture_each(toy):
    method = make(toy, lr_scale=(1.0, 0.5))
    groups = method.param_groups()
    assert [group["lr_scale"] for group in groups] == [1.0, 0.5]
    for group, pair in zip(groups, method.pairs.values(), strict=True):
        assert {id(p) for p in group["params"]} == {id(p) for p in pair.student.parameters()}


@pytest.mark.parametrize(("role", "name", "dim"), [("teacher", "first", 12), ("student", "second", 10)])
def test_what_is_deployed_is_chosen(toy, role, name, dim):
    method = make(toy, deploy=role, deploy_of=name)
    assert method.embedder() is getattr(method.pairs[name], role).encoder and method.embedder().embed_dim == dim


def test_the_monitor_sees_the_worse_of_the_two(toy, batch):
    scalars = make(toy)(batch, T).scalars
    assert scalars["embed_cos"] == max(scalars["embed_cos_first"], scalars["embed_cos_second"])
    assert scalars["embed_std"] == min(scalars["embed_std_first"], scalars["embed_std_second"])
    four = [scalars[f"entropy_{kind}_{name}"] for kind in ("self", "cross") for name in memo.OTHER]
    assert scalars["entropy"] == min(four)


def published():
    """The method and loop of egs/voxceleb/conf/memo.yaml, the encoder too."""
    from spkssl.stages.system import System

    path = EGS / "voxceleb" / "conf" / "memo.yaml"
    return build(System, read_yaml(path), path)


def test_published_sizes_have_the_published_numbers_of_parameters():
    system = published()
    with torch.device("meta"):
        first = make_embedder(system.encoder, FrontendConfig())
        second = make_embedder(system.pretrain.method.second, FrontendConfig())
        head = memo.DinoHead(256, system.pretrain.method.head)
    assert system.encoder == EcapaConfig(embed_dim=256)
    counts = [sum(p.numel() for p in part.parameters()) for part in (first, second, head)]
    # The released head counts its 65,536 gains, which are fixed at 1 and here no parameters.
    assert counts == [6_390_720, 1_988_656, 22_098_176 - 65_536]


def test_published_schedules_have_the_published_values(toy):
    system = published()
    loop = system.pretrain.loop
    method = make(toy, temperature_warmup=system.pretrain.method.temperature_warmup)
    for epoch, expected in {0: 0.04, 1: 0.04103, 15: 0.05552, 29: 0.07, 30: 0.07}.items():
        assert method.temperature(Progress(100 * epoch, 100, 150)) == pytest.approx(expected, abs=5e-6)
    base = loop.optim.base_lr(loop.batch_size)
    for step, expected in {0: 0.0, 1999: 0.1875, 8500: 0.093755}.items():
        found = learning_rate(loop.optim.schedule, base, Progress(step, 100, loop.epochs))
        assert found == pytest.approx(expected, abs=1e-6)
