"""Estimates of time and disk, and the refusal where the disk is too small."""

import shutil

import pytest

from spkssl.audio.forecast import Pace, duration, measure, require_space, size
from spkssl.errors import InputError


def test_the_rest_takes_as_long_as_what_was_measured():
    found = measure(10, 2.0, 5_000_000, 36_000)
    assert found == (7200.0, 18_000_000_000)
    assert str(found) == "about 2.0 h and 18.0 GB of disk"


def told(total, *calls):
    """What is told of work in which, at these times, so much was done."""
    found, times = [], iter(when for when, _ in calls)
    pace = Pace(total, found.append, lambda: next(times))
    for _, done in calls:
        pace(done)
    return found


def test_long_work_tells_once_and_as_a_whole_what_it_takes():
    assert told(1000, (100.0, 10), (104.9, 15), (106.0, 40)) == [200.0]  # 30 in 6 s; what came before is not counted
    times = iter([100.0, 106.0])  # the clock is not looked at again
    found = []
    pace = Pace(1000, found.append, lambda: next(times))
    for done in (10, 40, 50, 60):
        pace(done)
    assert found == [200.0]


def test_work_of_a_minute_and_a_first_step_without_progress_tell_nothing():
    assert told(300, (0.0, 0), (6.0, 30)) == [] and told(1000, (0.0, 5), (10.0, 5)) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5 s"), (89, "89 s"), (90, "1.5 min"), (5400, "1.5 h"), (2e5, "2.3 days")]
)
def test_durations_are_said_in_a_fitting_unit(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(900, "1 kB"), (2.5e6, "2.5 MB"), (349e9, "349.0 GB"), (1.2e12, "1.2 TB")])
def test_sizes_are_said_in_a_fitting_unit(count, text):
    assert size(count) == text


def test_a_disk_that_is_too_small_is_refused_by_name(tmp_path):
    folder = tmp_path / "not" / "there" / "yet"
    free = shutil.disk_usage(tmp_path).free
    require_space(folder, free // 2, "")
    with pytest.raises(InputError, match=r"yet: the disk is too small \(got .* free, expected .*\); choose another"):
        require_space(folder, free * 2, "choose another")
    assert not folder.exists()
