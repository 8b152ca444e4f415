import math

import pytest

from spkssl.training.health import HealthConfig, Monitor

WELL = {"embed_std": 1.0, "embed_cos": 0.0, "entropy": 0.9}


def watch(monitor, *rows, fraction=0.5):
    return [monitor.check(row, fraction) for row in rows]


@pytest.mark.parametrize(
    ("scalar", "value", "side"), [("embed_std", 0.1, "below"), ("embed_cos", 0.95, "above"), ("entropy", 0.2, "below")]
)
def test_an_illness_is_named_with_its_cure_after_some_lines_and_once(scalar, value, side):
    ill = {**WELL, scalar: value}
    said = watch(Monitor(HealthConfig(patience=3)), WELL, ill, ill, ill, ill)
    assert [bool(text) for text in said] == [False, False, False, True, False]
    assert said[3].startswith(f"{scalar} = {value:g} is {side} ") and "for 3 log lines; " in said[3]


def test_a_healthy_line_starts_the_count_again():
    ill = {**WELL, "embed_std": 0.0}
    monitor = Monitor(HealthConfig(patience=2))
    assert not any(watch(monitor, ill, WELL, ill))
    assert monitor.check(ill, 0.5)


def test_two_illnesses_at_once_are_both_counted_and_both_told():
    ill = {**WELL, "embed_std": 0.1, "embed_cos": 0.95}
    text = watch(Monitor(HealthConfig(patience=1)), ill)[0]
    assert "embed_std = 0.1" in text and "embed_cos = 0.95" in text


def test_early_collapse_raises_no_alarm():
    ill = {"embed_std": 0.0}
    monitor = Monitor(HealthConfig(warmup=0.25, patience=1))
    assert not monitor.check(ill, 0.24)
    assert monitor.check(ill, 0.25)


def test_what_a_method_does_not_log_or_cannot_tell_is_no_illness():
    assert not any(watch(Monitor(HealthConfig(patience=1)), {}, {"embed_std": math.nan}, {"loss": 1e9}))


def test_off_is_off():
    assert not any(watch(Monitor(HealthConfig(action="off", patience=1)), {"embed_std": 0.0}))


def test_counts_survive_a_resume():
    first = Monitor(HealthConfig(patience=2))
    first.check({"embed_std": 0.0}, 0.5)
    second = Monitor(HealthConfig(patience=2))
    second.ill = first.state()["ill"]
    assert second.check({"embed_std": 0.0}, 0.5)
