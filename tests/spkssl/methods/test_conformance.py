"""What every method promises, walked over the whole table: a new method is tested by its entry in toy.TINY alone."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from spkssl import rng
from spkssl.contract import Progress, ViewSpec
from spkssl.methods import METHODS
from spkssl.nn.embedder import Embedder, load_embedder, save_embedder
from spkssl.training import log

T = Progress(step=5, steps_per_epoch=3, epochs=3)  # behind warm-ups and freezes


def batches(toy, case, method, epoch=0):
    loader = toy.make_loader(method, labels=toy.tiny(case).labels)
    return [micros[0] for micros in loader.epoch(epoch)]


def steps(toy, case, method, count=3):
    """Train by hand, hooks and all; yields after each step."""
    optimizer = torch.optim.SGD([p for g in method.param_groups() for p in g["params"]], lr=0.05)
    records = []
    for i, batch in enumerate(batches(toy, case, method)[:count]):
        t = Progress(i, count, 3)
        rng.seed_torch(0, i)
        step = method(batch, t)
        step.loss.backward()
        method.after_backward(t)
        optimizer.step()
        method.after_step(t)
        optimizer.zero_grad(set_to_none=True)
        records.append({**step.records, "index": batch.index} if step.records else {})
        yield step
    rows = {name: torch.cat([r[name] for r in records]) for name in records[0]}
    order = rows["index"].argsort(stable=True) if rows else []
    method.end_epoch({name: values[order] for name, values in rows.items()}, Progress(count - 1, count, 3))


def test_every_method_of_the_table_has_a_tiny_configuration(toy):
    missing = sorted(set(METHODS) - set(toy.TINY))
    assert not missing, f"give {', '.join(missing)} an entry in TINY of tests/spkssl/methods/toy.py"


def test_name_config_and_table_agree(toy, case):
    config, cls, kind = METHODS[toy.tiny(case).config.name]
    assert type(toy.tiny(case).config) is config
    assert config().name == case.split()[0]
    assert kind in ("pretrain", "retrain")
    assert cls.__module__ == f"spkssl.methods.{config().name}"


def test_views_are_named_specs_and_a_step_is_finite_with_gradient(toy, case):
    method = toy.make(case)
    assert method.views and all(isinstance(view, ViewSpec) for view in method.views)
    step = method(batches(toy, case, method)[0], T)
    assert step.loss.shape == () and step.loss.isfinite() and step.loss.requires_grad


def test_scalars_and_records_are_detached_and_records_are_per_utterance(toy, case):
    method = toy.make(case)
    step = method(batches(toy, case, method)[0], T)
    assert all(not value.requires_grad for value in (*step.scalars.values(), *step.records.values()))
    assert all(value.shape == () and value.isfinite() for value in step.scalars.values())
    assert all(len(value) == toy.BATCH for value in step.records.values())
    assert {"embed_std", "embed_cos"} <= step.scalars.keys()  # what the health monitor watches
    assert not {"loss", "grad_norm", "step", "epoch", "lr"} & step.scalars.keys()  # the loop's own names


def test_frozen_parameters_get_no_gradient_and_all_others_one(toy, case):
    method = toy.make(case)
    method(batches(toy, case, method)[0], T).loss.backward()
    for name, parameter in method.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, name
        elif not name.startswith(toy.tiny(case).idle):
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_a_frozen_parameter_changes_after_the_optimizer_only(toy, case):
    method = toy.make(case)
    frozen = {n: p.clone() for n, p in method.named_parameters() if not p.requires_grad}
    step = method(batches(toy, case, method)[0], T)
    step.loss.backward()
    method.after_backward(T)
    assert all(torch.equal(p, frozen[n]) for n, p in method.named_parameters() if not p.requires_grad)


def test_groups_hold_every_trainable_parameter_once(toy, case):
    method = toy.make(case)
    given = [id(p) for group in method.param_groups() for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in method.parameters() if p.requires_grad)
    assert all(set(group) <= {"params", "lr_scale", "decay", "clip"} for group in method.param_groups())


def outside_state(module: nn.Module) -> dict[str, bytes]:
    """Every plain attribute of every submodule, as bytes: what state_dict does not hold."""
    inner = set(nn.Module().__dict__)
    saved = module.state_dict().keys()
    found = {}
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            if name not in inner and name != "training":
                found[f"{path}.{name}"] = pickle.dumps(value)
        for name, value in part.named_buffers(recurse=False):
            if f"{path}.{name}".lstrip(".") not in saved:
                found[f"{path}.{name}"] = pickle.dumps(value)
    return found


def test_all_that_changes_is_a_parameter_or_a_buffer(toy, case):
    method = toy.make(case)
    tensors = [
        f"{path}.{name}"
        for path, part in method.named_modules()
        for name, value in vars(part).items()
        if isinstance(value, torch.Tensor)
    ]
    assert not tensors, "tensors that state_dict does not hold and .to(device) does not move"
    before = outside_state(method)
    for _ in steps(toy, case, method):
        pass
    after = outside_state(method)
    assert {name for name in after if after[name] != before.get(name)} == set()


def test_a_method_restored_from_its_state_goes_on_alike(toy, case):
    method = toy.make(case)
    for _ in steps(toy, case, method):
        pass
    twin = toy.make(case, seed=1)
    twin.load_state_dict(method.state_dict())
    for one, other in zip(steps(toy, case, method), steps(toy, case, twin), strict=True):
        assert torch.equal(one.loss, other.loss)
    for name, value in method.state_dict().items():
        assert torch.equal(value, twin.state_dict()[name]), name


def test_the_embedder_gives_embeddings_and_can_be_saved(toy, case, tmp_path):
    embedder = toy.make(case).embedder().eval()
    assert isinstance(embedder, Embedder)
    mels = torch.from_numpy(toy.Store().mels[:5])
    assert embedder(mels).shape == (5, embedder.embed_dim)
    save_embedder(tmp_path / "encoder.pt", embedder)
    torch.testing.assert_close(load_embedder(tmp_path / "encoder.pt")(mels), embedder(mels), rtol=0, atol=0)


def test_training_separates_speakers(toy, case, tmp_path):
    method = toy.make(case)
    before = toy.separation(method)
    toy.run(case, tmp_path, toy.loop(case, epochs=20, log_every=15), method=method)
    assert toy.separation(method) > before + 0.2  # measured: from 0.05 to 0.4 .. 0.9


def test_training_on_two_batches_lowers_the_loss(toy, case):
    method = toy.make(case)
    two = batches(toy, case, method)[:2]
    optimizer = torch.optim.Adam([p for g in method.param_groups() for p in g["params"]], lr=2e-3)
    losses = []
    for i in range(40):
        rng.seed_torch(0, i)
        step = method(two[i % 2], T)
        step.loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        method.after_step(T)
        losses.append(float(step.loss.detach()))
    # The first steps are no reference: queues and centres start from nothing.
    assert sum(losses[-4:]) < 0.9 * sum(losses[4:8]), losses


def test_a_step_in_bfloat16_is_finite(toy, case):
    method = toy.make(case)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step = method(batches(toy, case, method)[0], T)
    step.loss.backward()
    assert step.loss.isfinite() and step.loss.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)
    for record in step.records.values():
        assert record.dtype not in (torch.bfloat16, torch.float16)  # 8 bits are too few for statistics of an epoch


@pytest.fixture(scope="session")
def uninterrupted(toy, tmp_path_factory):
    """case -> where a whole run of it lies and what it ended with; made once."""
    made = {}

    def get(case):
        if case not in made:
            out = tmp_path_factory.mktemp("whole")
            made[case] = out, toy.run(case, out).state_dict()
        return made[case]

    return get


@pytest.mark.parametrize(("dies_at", "every"), [(3, 2), (7, 0)], ids=["within an epoch", "at the end of an epoch"])
def test_killed_and_resumed_is_as_if_uninterrupted(toy, case, uninterrupted, tmp_path, dies_at, every):
    config = toy.loop(case, checkpoint_every=every)
    out, expected = uninterrupted(case)
    with pytest.raises(toy.Killed):
        toy.run(case, tmp_path, config, wrap=lambda loader: toy.Dying(loader, dies_at))
    resumed = toy.run(case, tmp_path, config).state_dict()
    assert resumed.keys() == expected.keys()
    for name, value in resumed.items():
        assert torch.equal(value, expected[name]), name
    rows = [toy.without_timing(log.read(run / "metrics.jsonl")) for run in (tmp_path, out)]
    assert rows[0] == rows[1] and rows[0][-1]["step"] == 9


@pytest.fixture(scope="session")
def on_two_ranks(run_ranks, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("ranks")
    run_ranks(Path(__file__).with_name("ranks.py"), out)
    return out


def test_two_ranks_train_like_one_process(toy, case, on_two_ranks, tmp_path):
    toy.tiny(case)
    failed = [path.read_text() for path in (on_two_ranks / case).glob("rank*.txt")]
    assert not failed, failed[0]
    ends = [torch.load(on_two_ranks / case / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][name], rtol=0, atol=0, msg=f"the ranks differ in {name}")
    if not toy.tiny(case).same_on_ranks:
        return
    alone = toy.run(case, tmp_path, toy.plain_loop(case))
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(value, ends[0][name], rtol=1e-3, atol=1e-4, msg=lambda text: f"{name}: {text}")
    one, two = (log.read(path / "metrics.jsonl") for path in (tmp_path, on_two_ranks / case))
    assert [row["loss"] for row in one] == pytest.approx([row["loss"] for row in two], rel=1e-4)
