import torch
from hypothesis import given
from hypothesis import strategies as st

from spkssl.losses.noise_model import vote
from spkssl.nn.label_queue import LabelQueue

LEFT_OUT = -1


def make(labels, classes=4, length=5, tie="newest"):
    return LabelQueue(torch.tensor(labels), classes, length, tie)


def test_classes_without_an_utterance_are_removed_from_the_start():
    queue = make([0, LEFT_OUT, 2, 2])
    assert queue.removed.tolist() == [False, True, False, True]
    assert int(queue.active()) == 2


def test_a_try_of_the_vote_changes_nothing_and_comes_true():
    queue = make([0, 1, 2])
    for said in (3, 3):
        queue.remember(torch.tensor([0, 2]), torch.tensor([said, said]))
    before = {name: value.clone() for name, value in queue.state_dict().items()}
    would = queue.vote_with(torch.tensor([2, 0]), torch.tensor([3, 0]))
    assert would.tolist() == [3, 0]
    assert all(torch.equal(value, before[name]) for name, value in queue.state_dict().items())
    queue.remember(torch.tensor([2, 0]), torch.tensor([3, 0]))
    assert float(queue.relabel()) == torch.tensor(1 / 3)
    assert queue.labels.tolist() == [0, 1, 3] and queue.removed.tolist() == [False, False, True, False]


def test_labels_given_are_not_shared():
    labels = torch.tensor([0, 1])
    queue = LabelQueue(labels, 2, 1)
    queue.remember(torch.tensor([0]), torch.tensor([1]))
    queue.relabel()
    assert labels.tolist() == [0, 1] and queue.labels.tolist() == [1, 1]


@given(
    st.lists(st.integers(LEFT_OUT, 3), min_size=1, max_size=6),
    st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), max_size=7),
    st.integers(1, 5),
    st.sampled_from(["newest", "oldest"]),
)
def test_labels_are_votes_and_exactly_their_classes_are_left(labels, epochs, length, tie):
    queue = make(labels, length=length, tie=tie)
    used = (queue.labels >= 0).nonzero().squeeze(1)
    for predictions in epochs:
        queue.remember(used, torch.tensor(predictions)[used])
        queue.relabel()
        assert torch.equal(queue.labels[used], vote(queue.queue, tie)[used])
        assert (~queue.removed).nonzero().squeeze(1).tolist() == sorted(set(queue.labels[used].tolist()))
        assert ((queue.labels < 0) == (torch.tensor(labels) < 0)).all()
