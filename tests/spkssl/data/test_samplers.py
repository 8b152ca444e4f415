import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spkssl.data.samplers import Sampler, SamplerConfig
from spkssl.errors import InputError


def sampler(config, labels, batch, drop_last=True, frames=None):
    labels = None if labels is None else np.asarray(labels)
    frames = np.full(100 if labels is None else len(labels), 300) if frames is None else np.asarray(frames)
    return Sampler(config, frames, labels, batch, 7, drop_last)


def test_random_visits_each_utterance_once_in_an_order_of_its_own_each_epoch():
    found = sampler(SamplerConfig(), None, 10)
    order, again = found.order(0)
    assert sorted(order) == list(range(100)) and not again.any() and found.steps == 10
    assert (order != found.order(1)[0]).any() and (order == found.order(0)[0]).all()


def test_left_out_small_and_short_are_never_visited():
    labels = [-1] * 10 + [0] * 3 + [1] * 20 + [2] * 20
    frames = [300] * 52 + [50]
    found = sampler(SamplerConfig(min_per_class=4, min_frames=100), labels, 13, frames=frames)
    assert sorted(found.order(0)[0]) == list(range(13, 52)) and found.steps == 3


def test_cap_takes_other_utterances_of_a_large_class_each_epoch():
    labels = np.array([0] * 80 + [1] * 10)
    found = sampler(SamplerConfig(max_per_class=20), labels, 10)
    orders = [found.order(epoch)[0] for epoch in range(3)]
    assert found.steps == 3
    assert all((labels[order] == 0).sum() == 20 and (labels[order] == 1).sum() == 10 for order in orders)
    assert len(set(np.concatenate(orders).tolist())) > 40


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=4, max_size=12),
    take=st.integers(1, 5),
    classes=st.integers(2, 4),
    epoch=st.integers(0, 3),
)
def test_pk_batches_hold_p_different_classes_of_k_and_treat_classes_alike(sizes, take, classes, epoch):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    if len(labels) < classes * take:
        return
    found = sampler(SamplerConfig("pk", utts_per_class=take), labels, classes * take)
    order, again = found.order(epoch)
    assert len(order) == found.steps * classes * take and found.steps == len(labels) // (classes * take)
    blocks = labels[order].reshape(found.steps, classes, take)
    assert (blocks == blocks[:, :, :1]).all()
    assert all(len(set(block)) == classes for block in blocks[:, :, 0].tolist())
    for block in order.reshape(-1, take):  # utterances repeat in a block only where the class is smaller than K
        assert len(set(block.tolist())) == min(take, sizes[labels[block[0]]])
    per_pass = len(sizes) // classes * classes
    visits = np.bincount(blocks[:, :, 0].ravel(), minlength=len(sizes))
    assert visits.max() <= -(-found.steps * classes // per_pass)
    for row in set(order.tolist()):
        assert sorted(again[order == row]) == list(range((order == row).sum()))


def test_pk_uses_a_class_up_before_it_repeats_an_utterance():
    labels = np.repeat([0, 1], 12)
    order, again = sampler(SamplerConfig("pk", utts_per_class=4), labels, 8).order(0)
    assert sorted(order) == list(range(24)) and not again.any()


def test_last_batch_is_filled_from_the_beginning():
    found = sampler(SamplerConfig(), None, 30, drop_last=False)
    order, again = found.order(0)
    assert found.steps == 4 and len(order) == 120
    assert (order[100:] == order[:20]).all() and (again[100:] == 1).all() and not again[:100].any()


def test_wrong_settings_are_the_users_error():
    with pytest.raises(InputError, match="sampler pk: needs labels"):
        sampler(SamplerConfig("pk"), None, 8)
    with pytest.raises(InputError, match="limits per class need labels"):
        sampler(SamplerConfig(max_per_class=3), None, 8)
    with pytest.raises(InputError, match="batch_size 10 is no multiple of utts_per_class 4"):
        sampler(SamplerConfig("pk"), [0] * 10 + [1] * 10, 10)
    with pytest.raises(InputError, match="a batch needs 3 classes, there are 2"):
        sampler(SamplerConfig("pk"), [0] * 10 + [1] * 10, 12)
    with pytest.raises(ValueError):
        SamplerConfig(utts_per_class=0)
