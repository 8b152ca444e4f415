import pytest

from spkssl.config import build, dump_yaml
from spkssl.errors import InputError
from spkssl.report.run import View, labels_used, read_metrics
from spkssl.stages.system import System


def test_curves_leave_out_the_torn_last_line_and_what_is_no_number(tmp_path):
    path = tmp_path / "metrics.jsonl"
    whole = '{"step": 1, "epoch": 0, "loss": 3.0}\n{"step": 2, "loss": 2.5, "note": "x", "lr": 0.1}\n'
    path.write_text(whole + '{"step": 3, "lo')
    assert read_metrics(path) == {"loss": ([1, 2], [3.0, 2.5]), "lr": ([2], [0.1])}
    assert read_metrics(tmp_path / "none") == {}


def test_broken_line_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nnonsense\n')
    with pytest.raises(InputError, match="metrics.jsonl:2: is not a JSON object with a step"):
        read_metrics(path)


def test_calibrated_scores_are_never_said_to_be_free_of_true_labels():
    assert labels_used({"labels_used": "none", "backend": "cosine"}) == "none"
    assert labels_used({"labels_used": "true", "backend": "cosine"}) == "TRUE LABELS"
    assert "TRUE LABELS of the calibration trials" in labels_used({"labels_used": "none", "backend": "cosine+quality"})


def test_rows_of_changed_scores_are_traced_to_the_calibrated_file(tmp_path):
    view = View(tmp_path, {"results": [], "clusters": []}, ("pretrain",), {})
    row = {"at": "pretrain", "backend": "plda+quality", "trials": "easy"}
    assert view.score_file(row) == tmp_path / "pretrain" / "scores" / "plda_calibrated" / "easy.scores"


def test_resumed_training_is_told_from_its_log(tmp_path):
    view = View(tmp_path, {"results": [], "clusters": []}, ("round1",), {})
    (tmp_path / ".done").mkdir()
    (tmp_path / ".done" / "retrain.round1.json").write_text('{"seconds": 5.0, "hash": "x"}')
    assert view.training("round1") == {"seconds": 5.0} and view.training("untrained") == {}
    (tmp_path / "round1" / "log").mkdir(parents=True)
    (tmp_path / "round1" / "log" / "train.log").write_text("resuming after step 4\n")
    assert view.training("round1") == {"seconds": 5.0, "resumed": True}


def test_a_rule_that_never_stops_makes_no_other_configuration_but_one_that_does_is(tmp_path):
    digests, stops = [], {"old": "", "fixed": ", stop: {rule: fixed, earliest: 1}", "rule": ", stop: {rule: change}"}
    for name, stop in stops.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(f"system: lgl\nretrain: {{rounds: 2{stop}}}\n")
        digests.append(View(tmp_path / name, {"results": [], "clusters": []}, (), {}).config_digest)
    assert digests[0] == digests[1] != digests[2]


def digest(folder, text):
    folder.mkdir()
    (folder / "config.yaml").write_text(text)
    return View(folder, {"results": [], "clusters": []}, (), {}).config_digest


def test_settings_that_came_later_count_with_their_defaults(tmp_path):
    old = digest(tmp_path / "old", "system: lgl\nseed: 1\nretrain: {method: {name: lgl, frames: 200}}\n")
    tree = {"system": "lgl", "seed": 2, "retrain": {"method": {"name": "lgl", "frames": 200}}}
    whole = dump_yaml(build(System, tree))
    assert digest(tmp_path / "new", whole) == old
    assert digest(tmp_path / "other", whole.replace("frames: 200", "frames: 300")) != old


def test_configurations_of_another_version_are_told_apart_as_they_are(tmp_path):
    texts = ["system: lgl\ngone: 1\n", "system: lgl\ngone: 2\n", "system: lgl\n"]
    assert len({digest(tmp_path / str(k), text) for k, text in enumerate(texts)}) == 3
