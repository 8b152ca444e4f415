import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkssl.contract import Progress
from spkssl.nn.schedules import (
    ScheduleConfig,
    cosine,
    epoch_ramp,
    exponential,
    learning_rate,
    linear,
    margin,
    step_decay,
    warmup,
)

KINDS = ("cosine", "constant", "step", "exponential", "two_phase")


def rate(config: ScheduleConfig, base: float, step: int, steps_per_epoch: int = 100, epochs: int = 150) -> float:
    return learning_rate(config, base, Progress(step, steps_per_epoch, epochs))


def test_sdpn_learning_rate():
    config = ScheduleConfig("cosine", warmup_epochs=10, floor=1e-5)
    assert rate(config, 0.6, 0) == 0
    assert rate(config, 0.6, 999) == rate(config, 0.6, 1000) == 0.6
    assert rate(config, 0.6, 8000) == pytest.approx(0.300005)
    assert rate(config, 0.6, 14_999) == pytest.approx(1.0008e-5, rel=1e-4)


def test_memo_learning_rate():
    config = ScheduleConfig("cosine", warmup_epochs=20, floor=1e-5)
    assert rate(config, 0.1875, 0) == 0
    assert rate(config, 0.1875, 1999) == 0.1875
    assert rate(config, 0.1875, 8500) == pytest.approx(0.093755)


def test_wespeaker_dino_floor_grows_with_the_batch():
    config = ScheduleConfig("cosine", warmup_epochs=20, floor_ratio=5e-5 / 0.2)
    assert rate(config, 0.4, 0) == 0
    assert rate(config, 0.4, 1999) == 0.4
    assert rate(config, 0.4, 15_000) == pytest.approx(5e-5 * 512 / 256)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [(0, 9.991120e-5), (24, 5.5e-5), (49, 1e-5), (50, 4.999988e-4), (549, 2.55e-4), (1049, 1e-5)],
)
def test_ssrl_learning_rate(entry, expected):
    config = ScheduleConfig("two_phase", floor=1e-5)
    assert rate(config, 5e-4, entry, 10, 105) == pytest.approx(expected, rel=1e-6)


def test_ssrl_as_released_starts_high_and_comes_a_step_late():
    config = ScheduleConfig("two_phase", floor=1e-5)
    late = ScheduleConfig("two_phase", floor=1e-5, late_start=1e-3)
    assert rate(late, 5e-4, 0, 10, 105) == 1e-3
    for step in (1, 50, 51, 1049):
        assert rate(late, 5e-4, step, 10, 105) == rate(config, 5e-4, step - 1, 10, 105)


def test_lgl_learning_rate_drops_by_a_tenth_every_five_epochs():
    config = ScheduleConfig("step", decay=0.9, every=5)
    by_epoch = [rate(config, 1e-3, 7 * epoch + 3, 7, 80) for epoch in range(15)]
    assert by_epoch == pytest.approx([1e-3] * 5 + [9e-4] * 5 + [8.1e-4] * 5)


def test_aamsupcon_learning_rate_is_097_to_the_epoch():
    config = ScheduleConfig("step", decay=0.97, every=1)
    # lr_e = 0.01 * 0.97^(e - 1), epochs from 1
    assert [rate(config, 0.01, 10 * e, 10, 300) for e in (0, 1, 2)] == pytest.approx([0.01, 0.0097, 0.009409])


def test_wespeaker_supervised_learning_rate_is_geometric():
    config = ScheduleConfig("exponential", warmup_epochs=6, floor=5e-5)
    assert rate(config, 0.1, 0) == 0
    assert rate(config, 0.1, 7500) == pytest.approx((0.1 * 5e-5) ** 0.5)
    assert rate(config, 0.1, 15_000) == pytest.approx(5e-5)


def test_constant_rate_and_warmup_as_a_share():
    assert rate(ScheduleConfig("constant"), 1e-3, 14_999) == 1e-3
    config = ScheduleConfig("constant", warmup_fraction=0.1)
    assert rate(config, 1.0, 0) == 0 and rate(config, 1.0, 1499) == 1.0
    assert rate(config, 1.0, 1000) == pytest.approx(1000 / 1499)


@given(st.sampled_from(KINDS), st.integers(1, 9), st.integers(1, 12), st.sampled_from([0.0, 0.1, 0.5]), st.data())
def test_rates_stay_between_zero_and_the_base(kind, steps_per_epoch, epochs, share, data):
    config = ScheduleConfig(kind, warmup_fraction=share, floor_ratio=0.01, first_epochs=2)
    step = data.draw(st.integers(0, steps_per_epoch * epochs))
    assert 0 <= rate(config, 0.3, step, steps_per_epoch, epochs) <= 0.3 * (1 + 1e-12)


@pytest.mark.parametrize(
    "wrong",
    [
        {"warmup_epochs": 1, "warmup_fraction": 0.1},
        {"floor": 1e-5, "floor_ratio": 0.1},
        {"kind": "exponential"},
        {"every": 0},
    ],
)
def test_contradictions_are_refused(wrong):
    with pytest.raises(ValueError):
        ScheduleConfig(**wrong)


def test_dino_momentum():
    assert cosine(0.996, 1, 0) == pytest.approx(0.996, abs=1e-12)
    assert cosine(0.996, 1, 0.5) == pytest.approx(0.998)
    assert cosine(0.996, 1, 1) == 1
    assert cosine(0.996, 1, 0.3) == pytest.approx(1 - 0.002 * (1 + 0.5877852522924731))


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.999), (500, 0.99945), (999, 0.9998991), (1000, 0.9999), (2000, 0.9999)]
)
def test_ssrl_momentum(step, expected):
    assert linear(0.999, 0.9999, step / 1000) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("epoch", "expected"), [(0, 0.04), (1, 0.04103), (15, 0.05552), (29, 0.07), (30, 0.07), (149, 0.07)]
)
def test_dino_teacher_temperature(epoch, expected):
    assert epoch_ramp(0.04, 0.07, epoch, 30) == pytest.approx(expected, abs=5e-6)


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0.05), (9, 0.2), (30, 0.2), (3, 0.1)])
def test_rdino_weight_of_the_regulariser(epoch, expected):
    assert epoch_ramp(0.05, 0.2, epoch, 10) == pytest.approx(expected)


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_ramp_without_length_is_its_end(epochs):
    assert epoch_ramp(0.04, 0.07, 0, epochs) == 0.07


def test_margin_waits_grows_and_stays():
    assert [margin(0.2, f, 0.0, 0.3, "linear") for f in (0, 0.15, 0.3, 0.9)] == pytest.approx([0, 0.1, 0.2, 0.2])
    # wespeaker: epochs 20 to 40 of 150; half-way 1 - 0.001^0.5
    grown = [margin(0.2, e / 150, 20 / 150, 40 / 150, "exponential") for e in (10, 20, 30, 40)]
    assert grown == pytest.approx([0, 0, 0.2 * (1 - 1e-3**0.5), 0.2])


def test_a_margin_without_ramp_is_there_from_the_start():
    assert margin(0.2, 0.0, 0.0, 0.0, "linear") == 0.2


def test_edges_of_the_elementary_schedules():
    assert [warmup(s, 3) for s in range(5)] == [0, 0.5, 1, 1, 1]
    assert warmup(0, 0) == 1 and warmup(0, 1) == 0
    assert step_decay(1.0, 0.5, 4, 2) == 0.25
    assert exponential(1.0, 0.01, 0.5) == pytest.approx(0.1)
    assert linear(1.0, 2.0, -1) == 1 and linear(1.0, 2.0, 2) == 2 and cosine(1.0, 2.0, 5) == 2
