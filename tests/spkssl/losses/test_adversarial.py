import torch

from spkssl.losses.adversarial import channel_pairs, reverse_gradient


def test_gradient_is_reversed_and_value_is_not():
    x = torch.tensor(1.5, requires_grad=True)
    y = 3 * (2 * reverse_gradient(x))
    y.backward()
    assert float(y.detach()) == 9.0 and float(x.grad) == -6.0


def test_encoder_gets_minus_the_weighted_gradient():
    weight = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    grads = []
    for reverse in (False, True):
        x = torch.ones(3, 4, requires_grad=True)
        logits = (reverse_gradient(x) if reverse else x) @ weight
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 1]))
        (3 * loss if reverse else loss).backward()
        grads.append(x.grad)
    assert torch.allclose(grads[1], -3 * grads[0])


def test_pairs_of_shared_profile_come_first():
    anchor, same, different = (torch.full((2, 3), float(v)) for v in (0, 1, 2))
    pairs, labels = channel_pairs(anchor, same, different)
    assert labels.tolist() == [1, 1, 0, 0]
    assert pairs.shape == (4, 6)
    assert (pairs[:2, 3:] == 1).all() and (pairs[2:, 3:] == 2).all() and (pairs[:, :3] == 0).all()
