import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spkssl.contract import Batch, Facts, Progress
from spkssl.errors import InputError
from spkssl.losses.nt_xent import moco_loss
from spkssl.methods.moco import Config, Moco

T = Progress(0, 10, 10)


class Gain(nn.Module):
    """The crops times one weight."""

    embed_dim = 4

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.gain * x


def make(queue=8, **settings):
    return Moco(Config(queue=queue, **settings), Gain, Facts(num_utts=8, seed=0))


def step(method, views):
    return method(Batch({"pair": views}, torch.arange(len(views)), None), T)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("in_queue", "expected"), [(1, 0.0401355), (0, math.log(65537))], ids=["orthogonal", "equal"])
def test_loss_of_a_perfect_pair_against_a_long_queue(in_queue, expected):
    method, axes = make(65536), torch.eye(4)
    method.queues[:] = axes[in_queue]
    assert step(method, axes[0].expand(2, 2, 4)).loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("symmetric", [False, True])
def test_own_keys_are_no_negatives_and_the_queue_is_first_in_first_out(symmetric):
    method = make(6, symmetric=symmetric)
    start = method.queues.clone()
    batches = [draw(2, 2, 4, seed=seed) for seed in range(4)]
    loss = step(method, batches[0]).loss.item()
    ways = [moco_loss(batches[0][:, d], batches[0][:, 1 - d], start[d], 0.07) for d in range(1 + symmetric)]
    assert loss == pytest.approx(float(sum(ways)) / len(ways))
    for views in batches[1:]:
        step(method, views)
    kept = {tuple(row) for row in method.queues[0].tolist()}
    for age, views in enumerate(reversed(batches)):
        keys = {tuple(row) for row in F.normalize(views[:, 1], dim=1).tolist()}
        assert keys <= kept if age < 3 else not keys & kept


def test_keys_follow_by_momentum():
    method = make(momentum=0.999)
    with torch.no_grad():
        method.key_encoder.gain.zero_()
    for _ in range(10):
        method.after_step(T)
    assert float(method.key_encoder.gain) == pytest.approx(0.00995512, rel=1e-4)


def test_the_query_encoder_is_deployed_and_keys_get_no_gradient():
    method = make()
    step(method, draw(4, 2, 4)).loss.backward()
    assert method.embedder() is method.encoder
    assert method.key_encoder.gain.grad is None


def test_a_queue_that_batches_do_not_fill_evenly_is_refused():
    with pytest.raises(InputError, match="queue 6 is no multiple of the batch"):
        step(make(6), draw(4, 2, 4))
