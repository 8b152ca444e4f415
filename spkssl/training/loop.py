"""The training loop of every method. It never names a method, and stops and resumes at any step.

All that changes lies in parameters, buffers and the optimiser; every draw is derived from (seed, epoch, utterance) or
(seed, step): a run killed anywhere and started again by the same command ends with the same weights, on the CPU bit
for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from spkssl import dist, rng
from spkssl.contract import Batch, Method, Progress, Step
from spkssl.data.loader import Loader
from spkssl.errors import InputError
from spkssl.io.atomic import write_text
from spkssl.nn.sync_norm import convert_sync
from spkssl.training import checkpoint, log
from spkssl.training.health import HealthConfig, Monitor
from spkssl.training.optim import OptimConfig, clip_gradients, make_optimizer, set_lr
from spkssl.training.outlook import Outlook


@dataclass(frozen=True)
class LoopConfig:
    epochs: int = 10
    batch_size: int = 128  # global: divided by ranks and by accumulation
    accumulate: int = 1  # micro-batches a step; terms that couple a batch then see only a micro-batch
    optim: OptimConfig = OptimConfig()
    amp: Literal["none", "bf16"] = "none"
    checkpoint_every: int = 0  # steps; 0: at every epoch's end
    keep: int = 2  # checkpoints
    log_every: int = 10  # steps; also at every epoch's end
    health: HealthConfig = HealthConfig()


@dataclass
class State:
    """What a checkpoint holds besides the weights."""

    step: int
    meter: log.Meter
    monitor: Monitor
    records: list[dict[str, Tensor]]  # of the epoch so far


def train(
    method: Method,
    loader: Loader,
    config: LoopConfig,
    *,
    seed: int,
    out: Path,
    device: str,
    config_hash: str,
    names: Sequence[str],
    say: Callable[[str], None],
) -> None:
    """Train until `config.epochs` are done; checkpoints and metrics go to `out`."""
    assert isinstance(method, nn.Module)
    method.to(device).train()
    model = _distribute(method, device)
    optimizer = make_optimizer(method, config.optim)
    state = _resume(method, optimizer, config, out, device, config_hash, say)
    t = Progress(state.step, loader.steps_per_epoch, config.epochs)
    outlook = Outlook(out, t.total, config.keep, say) if dist.rank() == 0 else None
    bar = tqdm(total=t.total, initial=t.step, desc=out.name, unit="step", disable=None if dist.rank() == 0 else True)
    while t.step < t.total:
        clock = _Clock()
        for micros in loader.epoch(t.epoch, t.step % t.steps_per_epoch, device):
            clock.data_came()
            lr = set_lr(optimizer, config.optim, config.batch_size, t)
            rng.seed_torch(seed, "step", t.step, dist.rank())
            steps = _backward(model, micros, t, config, device)
            method.after_backward(t)
            norm = clip_gradients(optimizer, config.optim)
            _check_finite(steps, norm, micros, t, out, names)
            optimizer.step()
            method.after_step(t)
            optimizer.zero_grad(set_to_none=True)
            _record(state, steps, micros, norm, t)
            state.step, done = t.step + 1, t.step + 1
            t = Progress(done, t.steps_per_epoch, t.epochs)
            clock.step_done(sum(len(batch.index) for batch in micros) * dist.world_size())
            if done % t.steps_per_epoch == 0:
                method.end_epoch(_epoch_records(state), Progress(done - 1, t.steps_per_epoch, t.epochs))
            if done % config.log_every == 0 or done % t.steps_per_epoch == 0:  # no line tells of two epochs
                _write_log(state, t, lr, clock, config, out, say)
            if outlook:
                outlook.step_done(done, method, optimizer)
            if _due(done, t, config):
                _save(state, method, optimizer, config, out, config_hash)
            bar.update()
            if not bar.disable:
                bar.set_postfix(loss=f"{float(steps[0].loss):.3f}", refresh=False)
    bar.close()


def _distribute(method: nn.Module, device: str) -> nn.Module:
    if dist.world_size() == 1:
        return method
    convert_sync(method)
    ids = [dist.local_rank()] if device.startswith("cuda") else None
    # Buffers hold per-utterance state that every rank computes alike: sending them at each step would be waste.
    return DistributedDataParallel(method, device_ids=ids, broadcast_buffers=False, find_unused_parameters=True)


def _resume(
    method: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: LoopConfig,
    out: Path,
    device: str,
    config_hash: str,
    say: Callable[[str], None],
) -> State:
    state = State(0, log.Meter(), Monitor(config.health), [])
    saved = checkpoint.load(out / "ckpt", config_hash, say)
    dist.barrier()  # nobody clears before everybody has looked
    if saved is not None:
        method.load_state_dict(saved["method"], strict=True)
        optimizer.load_state_dict(saved["optimizer"])
        state.step = saved["step"]
        state.meter.restore(saved["meter"], device)
        state.monitor.ill = saved["monitor"]["ill"]
        if saved["records"] and dist.rank() == 0:
            state.records = [{name: rows.to(device) for name, rows in saved["records"].items()}]
        say(f"resuming after step {state.step}")
    if dist.rank() == 0:
        out.mkdir(parents=True, exist_ok=True)
        if saved is None:
            checkpoint.clear(out / "ckpt")
        log.rewind(out / "metrics.jsonl", state.step)
    return state


def _backward(model: nn.Module, micros: Sequence[Batch], t: Progress, config: LoopConfig, device: str) -> list[Step]:
    """Forward and backward of each micro-batch; gradients are exchanged with the last one only."""
    steps = []
    for i, batch in enumerate(micros):
        waits = i + 1 < len(micros) and isinstance(model, DistributedDataParallel)
        amp = torch.autocast(device.split(":")[0], dtype=torch.bfloat16, enabled=config.amp == "bf16")
        with model.no_sync() if waits else nullcontext():
            with amp:
                step = model(batch, t)
            (step.loss / len(micros)).backward()
        steps.append(step)
    return steps


def _check_finite(
    steps: Sequence[Step], norm: Tensor, micros: Sequence[Batch], t: Progress, out: Path, names: Sequence[str]
) -> None:
    """Stop before bad gradients reach the weights: an infinite loss of one rank is in the gradients of all."""
    losses = torch.stack([step.loss.detach() for step in steps])
    here = not bool(losses.isfinite().all())
    everywhere = dist.total(losses.new_tensor([float(here), float(not norm.isfinite())]))
    if not float(everywhere.sum()):
        return
    if not here and float(everywhere[0]):
        raise InputError(f"{out}: another rank met a loss that is not finite at step {t.step}; its message says more")
    i = int((~losses.isfinite()).nonzero()[0]) if here else 0
    what = f"loss is {float(losses[i])}" if here else "the gradient is not finite"
    rows = micros[i].index if here else torch.cat([batch.index for batch in micros])
    write_text(out / "bad_batch.txt", "".join(names[int(row)] + "\n" for row in rows))
    values = ", ".join(f"{key} {float(value):.4g}" for key, value in steps[i].scalars.items())
    raise InputError(
        f"{out}: {what} at step {t.step} of epoch {t.epoch} ({values}); lower the learning rate, or look at the "
        f"utterances in {out / 'bad_batch.txt'}"
    )


def _record(state: State, steps: Sequence[Step], micros: Sequence[Batch], norm: Tensor, t: Progress) -> None:
    share = 1 / len(steps)
    loss = sum((step.loss.detach() * share for step in steps), torch.zeros((), device=steps[0].loss.device))
    scalars = {k: sum((s.scalars[k].detach() * share for s in steps), torch.zeros_like(loss)) for k in steps[0].scalars}
    state.meter.add({"loss": loss, "grad_norm": norm, **scalars})
    if steps[0].records:
        rows = {k: torch.cat([step.records[k] for step in steps]) for k in steps[0].records}
        index = torch.cat([batch.index for batch in micros])
        state.records.append({**rows, "index": index, "step": torch.full_like(index, t.step)})


def _epoch_records(state: State) -> dict[str, Tensor]:
    """The epoch's records of all ranks, by utterance and then by step, whoever saw them; starts a new epoch."""
    gathered = _gather(state.records)
    state.records = []
    if not gathered:
        return {}
    order = gathered.pop("step").argsort(stable=True)
    order = order[gathered["index"][order].argsort(stable=True)]
    return {name: rows[order] for name, rows in gathered.items()}


def _gather(records: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    if not records:  # every rank records in the same steps, except rank 0, which took over what was saved
        return {}
    return {name: dist.gather_rows(torch.cat([rows[name] for rows in records])) for name in records[0]}


def _due(done: int, t: Progress, config: LoopConfig) -> bool:
    every = config.checkpoint_every or t.steps_per_epoch
    return done % every == 0 or done == t.total


def _save(
    state: State, method: nn.Module, optimizer: torch.optim.Optimizer, config: LoopConfig, out: Path, config_hash: str
) -> None:
    records, meter = _gather(state.records), state.meter.state()
    if dist.rank() == 0:
        saved: dict[str, Any] = {
            "config_hash": config_hash,
            "step": state.step,
            "method": method.state_dict(),
            "optimizer": optimizer.state_dict(),
            "meter": meter,
            "monitor": state.monitor.state(),
            "records": {name: rows.cpu() for name, rows in records.items()},
        }
        checkpoint.save(out / "ckpt", state.step, saved, config.keep)
    dist.barrier()


def _write_log(
    state: State, t: Progress, lr: float, clock: _Clock, config: LoopConfig, out: Path, say: Callable[[str], None]
) -> None:
    means = state.meter.take()
    row = {"step": t.step, "epoch": (t.step - 1) // t.steps_per_epoch, "lr": lr, **means, **clock.take()}
    if torch.cuda.is_initialized():
        row["gpu_peak_gb"] = torch.cuda.max_memory_allocated() / 2**30
    if dist.rank() == 0:
        log.append(out / "metrics.jsonl", row)
    trouble = state.monitor.check(means, t.fraction)
    if trouble and config.health.action == "stop":
        raise InputError(f"{out}: stopped at step {t.step}: {trouble}")
    if trouble:
        say(f"warning: step {t.step}: {trouble}")


class _Clock:
    """Utterances a second, and the share of time spent waiting for data."""

    def __init__(self) -> None:
        self.last = time.perf_counter()
        self.waited = self.worked = 0.0
        self.utts = 0

    def data_came(self) -> None:
        now = time.perf_counter()
        self.waited += now - self.last
        self.last = now

    def step_done(self, utts: int) -> None:
        now = time.perf_counter()
        self.worked += now - self.last
        self.last = now
        self.utts += utts

    def take(self) -> dict[str, float]:
        total = self.waited + self.worked
        row = {"utts_per_second": self.utts / max(total, 1e-9), "data_wait": self.waited / max(total, 1e-9)}
        self.waited = self.worked = 0.0
        self.utts = 0
        return row
