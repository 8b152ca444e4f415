import pytest
import torch

from spkssl.losses.plateau import disagreement_epoch, gradient_agreement, past_best, plateau_epoch, smooth


def test_smoothing_starts_at_the_first_value():
    assert smooth([4.0, 2.0, 2.0]) == [4.0, 3.0, 2.5]


def test_a_falling_loss_runs_until_the_latest_epoch():
    falling = [0.9**t for t in range(40)]
    assert plateau_epoch(falling) is None
    assert plateau_epoch(falling, latest=30) == 29
    assert plateau_epoch(falling[:29], latest=30) is None


def test_a_flat_loss_stops_after_the_earliest_epoch_and_its_patience():
    assert plateau_epoch([1.0] * 6) is None
    assert plateau_epoch([1.0] * 7) == 6
    assert plateau_epoch([1.0] * 7, earliest=1) == 4  # three epochs back must exist


def test_one_epoch_of_gain_starts_the_count_anew():
    # share 1 switches smoothing off: gains over three epochs are 0, 0.5, 0.5, 0.5, 0, 0
    values = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert plateau_epoch(values, earliest=0, share=1.0) == 8
    assert plateau_epoch(values, earliest=0, share=1.0, patience=1) == 3


def test_the_answer_never_changes_with_later_values():
    values = [1.0] * 7 + [0.1, 0.01, 0.001]
    answers = [plateau_epoch(values[:n]) for n in range(1, 11)]
    assert answers == [None] * 6 + [6] * 4


def test_a_rising_or_negative_loss_counts_as_stopped():
    assert plateau_epoch([1.0 + 0.1 * t for t in range(9)]) == 6
    assert plateau_epoch([-1.0] * 9) == 6
    assert plateau_epoch([0.0] * 9) == 6


def test_tolerance_is_a_share_of_the_loss():
    for scale in (1.0, 100.0):
        slow = [scale * 0.995**t for t in range(12)]  # 1.5 % in three epochs
        fast = [scale * 0.99**t for t in range(12)]  # 3 %
        assert plateau_epoch(slow, share=1.0) == 6 and plateau_epoch(fast, share=1.0) is None


def test_disagreement_needs_successive_epochs_below_zero():
    assert disagreement_epoch([-1.0, 0.1, -0.1, -0.2, 0.5]) == 3
    assert disagreement_epoch([-1.0, 0.1, -0.1]) is None
    assert disagreement_epoch([-1.0, -1.0, -1.0], earliest=1) == 2


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ([5, 4, 4.1], None),
        ([5, 4, 4.1, 4.2], None),
        ([5, 4, 4.1, 4.2, 4.3], 1),
        ([5, 4, 3, 3.5, 3.4], None),
        ([5, 4, 3, 3.5, 3.4, 3.3], 2),
        ([], None),
        ([1, 2, 3, 4], 0),
    ],
)
def test_phase_ends_when_the_last_three_are_worse_than_the_best(values, answer):
    assert past_best(values) == answer


def test_agreement_is_the_mean_cosine_of_rows():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    b = torch.tensor([[3.0, 0.0], [-1.0, 1.0], [1.0, 1.0]])
    assert float(gradient_agreement(a, b)) == pytest.approx((1 - 0.5**0.5) / 3)
    assert float(gradient_agreement(1e-12 * a, b)) == pytest.approx((1 - 0.5**0.5) / 3)
