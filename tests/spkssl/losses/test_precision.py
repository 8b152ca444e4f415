import pytest
import torch

from spkssl.losses.aam import aam_losses
from spkssl.losses.dino import dino_loss, dino_loss_fused
from spkssl.losses.koleo import koleo
from spkssl.losses.nt_xent import moco_loss, nt_xent
from spkssl.losses.precision import full_precision
from spkssl.losses.prototypes import prototype_loss
from spkssl.losses.supcon import supcon_loss


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


LABEL = torch.arange(6) % 3
LOSSES = {
    "nt_xent": lambda x: nt_xent(x, draw(6, 16), 0.07),
    "moco": lambda x: moco_loss(x, draw(6, 16), draw(8, 16), 0.07),
    "aam": lambda x: aam_losses(x, draw(5, 16), LABEL, 0.2, 30.0).mean(),
    "supcon": lambda x: supcon_loss(x.unsqueeze(1), LABEL).loss,
    "koleo": koleo,
    "prototypes": lambda x: prototype_loss(x.unsqueeze(0), draw(4, 16), draw(6, 4).softmax(-1)).loss,
    "dino": lambda x: dino_loss(torch.stack([x, x]), draw(1, 6, 16), torch.zeros(16), 0.04),
}


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_around_a_loss_changes_nothing(name):
    x = draw(6, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = LOSSES[name](x)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, LOSSES[name](x))


@pytest.mark.parametrize("name", LOSSES)
def test_bfloat16_input_is_computed_in_float32_and_gets_a_bfloat16_gradient(name):
    x = draw(6, 16).bfloat16().requires_grad_()
    loss = LOSSES[name](x)
    loss.backward()
    assert loss.dtype == torch.float32 and x.grad.dtype == torch.bfloat16
    assert torch.allclose(loss, LOSSES[name](x.detach().float()), rtol=1e-5)
    assert x.grad.isfinite().all()


def test_fused_dino_keeps_the_product_in_the_type_of_its_input():
    x, weight = draw(2, 6, 8), draw(32, 8)
    exact = dino_loss_fused(x, weight, x[:1], weight, torch.zeros(32), 0.04)
    half = dino_loss_fused(x.bfloat16(), weight, x[:1].bfloat16(), weight, torch.zeros(32), 0.04)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(exact, dino_loss_fused(x, weight, x[:1], weight, torch.zeros(32), 0.04))
    assert half.dtype == torch.float32
    assert torch.allclose(exact, half, rtol=0.05)


def test_float64_stays_and_integers_are_left_alone():
    seen = full_precision(lambda x, y: (x.dtype, y.dtype))(torch.zeros(1, dtype=torch.float64), y=torch.zeros(1).long())
    assert seen == (torch.float64, torch.int64)
