"""A term that left a training stays out, whatever its rule."""

import pytest
import torch

from spkssl.contract import Progress
from spkssl.nn.stopping import Stop, StopConfig

FALLING = [58.0 * 0.8**epoch for epoch in range(40)]


def run(config: StopConfig, means: list[float], epochs: int = 40) -> Stop:
    stop = Stop(config)
    for epoch, mean in enumerate(means):
        stop.end_epoch(mean, Progress(10 * epoch + 9, 10, epochs))
    return stop


def test_plateau_stops_once_the_smoothed_mean_no_longer_falls():
    flat = [10.0, 6.0, 4.0, *[3.0] * 20]
    stop = run(StopConfig(latest=1.0), flat)
    # M = 10, 8, 6, 4.5, 3.75, 3.375, 3.19, 3.09, 3.05, 3.02, 3.01, 3.006: against three before, 4 %, 2.3 %, then
    # 1.2 % in epoch 11 and less in epoch 12
    assert int(stop.last) == 12 and not stop.on
    assert stop.history.tolist() == flat[:13]  # nothing is taken in once off


def test_plateau_goes_on_while_the_term_falls_but_not_beyond_its_share_of_the_epochs():
    assert run(StopConfig(latest=1.0), FALLING[:39]).on
    assert int(run(StopConfig(), FALLING, epochs=150).last) == 29  # 0.2 * 150: epochs 0..29 had the term


def test_plateau_in_a_run_too_short_for_a_share_keeps_one_epoch():
    assert int(run(StopConfig(latest=0.1), [1.0, 1.0], epochs=3).last) == 0


def test_gradient_stops_after_two_epochs_of_opposition():
    config = StopConfig("gradient", earliest=2)
    assert int(run(config, [-1.0, -1.0, -0.1, 0.2, -0.1, -0.2, 0.9]).last) == 5
    assert run(config, [-1.0, 0.1, -1.0, 0.1, -1.0]).on


def test_fixed_epoch_counts_epochs_and_never_is_never():
    assert int(run(StopConfig("fixed_epoch", epoch=3), FALLING[:9]).last) == 2
    assert run(StopConfig("never"), [1.0] * 40).on


@pytest.mark.parametrize("rule", ["plateau", "gradient", "fixed_epoch"])
def test_a_stop_never_reverts(rule):
    stop = Stop(StopConfig(rule, epoch=1))
    stop.last.fill_(4)
    for epoch in range(5, 30):
        stop.end_epoch(FALLING[epoch], Progress(10 * epoch + 9, 10, 40))
    assert not stop.on and int(stop.last) == 4 and len(stop.history) == 0


def test_a_stop_and_its_history_survive_save_and_restore(tmp_path):
    for means in ([3.0, 2.0], FALLING):
        stop = run(StopConfig(), means)
        torch.save(stop.state_dict(), tmp_path / "stop.pt")
        twin = Stop(StopConfig())
        twin.load_state_dict(torch.load(tmp_path / "stop.pt", weights_only=True), strict=True)
        assert twin.on == stop.on and torch.equal(twin.history, stop.history)
        twin.load_state_dict(Stop(StopConfig()).state_dict())  # back to a shorter history
        assert twin.on and len(twin.history) == 0


@pytest.mark.parametrize("wrong", [{"latest": 0.0}, {"latest": 1.5}, {"patience": 0}, {"earliest": -1}, {"every": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="must be at least|is a share"):
        StopConfig(**wrong)
