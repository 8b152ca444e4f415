from dataclasses import replace

import pytest

from spkssl.errors import InputError
from spkssl.report.compare import difference_spread, groups, spread
from spkssl.report.run import View


def row(eer):
    base = {"at": "pretrain", "backend": "cosine", "trials": "easy", "labels_used": "none"}
    return {**base, "eer": eer, "min_dcf": {"0.01": eer / 100}}


def view(folder, system="dino", seed=0, eer=10.0, config=""):
    folder.mkdir()
    (folder / "config.yaml").write_text(f"system: {system}\nseed: {seed}\n{config}")
    results = {"system": system, "seed": seed, "results": [row(eer)], "clusters": []}
    return View(folder, results, ("pretrain",), {})


def test_mean_and_deviation_over_seeds_are_those_of_the_rows(tmp_path):
    views = [view(tmp_path / str(seed), seed=seed, eer=eer) for seed, eer in enumerate((8.0, 10.0, 12.0))]
    (found,) = spread(groups(views), ["pretrain"])
    assert found["eer"] == {"mean": 10.0, "sd": 2.0, "n": 3} and found["seeds"] == [0, 1, 2]
    assert found["min_dcf"]["0.01"]["mean"] == pytest.approx(0.1)


def test_one_seed_has_no_deviation(tmp_path):
    (found,) = spread(groups([view(tmp_path / "a")]), ["pretrain"])
    assert found["eer"] == {"mean": 10.0, "sd": None, "n": 1}


def test_configurations_of_one_system_are_not_taken_for_seeds(tmp_path):
    views = [view(tmp_path / "a"), view(tmp_path / "b", config="retrain: {x: 1}\n")]
    assert [group.name for group in groups(views)] == ["dino (a)", "dino (b)"]


def test_same_seed_twice_is_an_error(tmp_path):
    with pytest.raises(InputError, match="are the same system with the same seed 0"):
        groups([view(tmp_path / "a"), view(tmp_path / "b")])


def test_same_seed_on_other_data_is_another_run(tmp_path):
    views = [replace(view(tmp_path / name), data=tmp_path / f"data-{name}") for name in ("a", "b")]
    (group,) = groups(views)
    assert group.runs == views


def test_differences_are_averaged_over_pairs_and_clear_ones_counted():
    key = {"system": "b", "minus": "a", "at": "pretrain", "backend": "cosine", "trials": "easy"}
    rows = [
        {**key, "difference": -2.0, "low": -3.0, "high": -1.0},
        {**key, "difference": 1.0, "low": -1.0, "high": 3.0},
        {**key, "difference": 4.0, "low": 1.0, "high": 7.0},
    ]
    (found,) = difference_spread(rows)
    assert found["difference"] == {"mean": 1.0, "sd": 3.0, "n": 3}
    assert (found["lower"], found["higher"]) == (1, 1)
