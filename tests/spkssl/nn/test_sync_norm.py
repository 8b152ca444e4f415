import pytest
import torch
from torch import nn

from spkssl.nn.sync_norm import SyncNorm, convert_sync

KINDS = [(name, training) for name in ("vectors", "sequences", "images") for training in (True, False)]


@pytest.mark.parametrize("kind", KINDS, ids=[f"{name} {'train' if t else 'eval'}" for name, t in KINDS])
@pytest.mark.parametrize("what", ["out", "grads", "input_grad", "state"])
def test_two_ranks_normalise_like_batchnorm_on_the_whole_batch(across_ranks, kind, what):
    whole = across_ranks["one"][0]["norms"][kind][what]
    for found in across_ranks["two"]:
        torch.testing.assert_close(found["norms"][kind][what], whole, rtol=1e-10, atol=1e-10)


def test_half_precision_is_normalised_in_float32(across_ranks):
    whole = across_ranks["one"][0]["half_norm"]
    for found in across_ranks["two"]:
        torch.testing.assert_close(found["half_norm"], whole, rtol=2**-7, atol=2**-7)


def test_conversion_keeps_parameters_and_takes_every_norm():
    net = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.BatchNorm1d(3)), nn.BatchNorm2d(3), nn.LayerNorm(3))
    optimizer_holds = list(net.parameters())
    names = list(net.state_dict())
    convert_sync(net)
    convert_sync(net)  # a second time changes nothing
    assert [type(part) for part in (net[1][0], net[2], net[3])] == [SyncNorm, SyncNorm, nn.LayerNorm]
    assert list(net.state_dict()) == names
    assert all(a is b for a, b in zip(net.parameters(), optimizer_holds, strict=True))


def test_alone_it_is_batchnorm():
    plain, synced, x = nn.BatchNorm1d(3), nn.BatchNorm1d(3), torch.randn(6, 3, 4)
    convert_sync(synced)
    assert torch.equal(plain(x), synced(x))
    assert torch.equal(plain.running_var, synced.running_var)
    assert torch.equal(plain.eval()(x), synced.eval()(x))
    with pytest.raises(ValueError, match="expected \\(B, C, ...\\)"):
        synced(torch.randn(3))
