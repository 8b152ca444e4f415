"""Fresh or stale: told from settings and inputs, however far upstream the change is."""

import json
import os

from spkssl.io import markers


def _mark(tmp_path, name, settings, inputs, outputs):
    path = tmp_path / ".done" / f"{name}.json"
    markers.write(path, markers.recipe(settings, inputs), outputs, {"seconds": 1.0})
    return path


def test_same_settings_and_inputs_are_fresh(tmp_path):
    source, made = tmp_path / "in", tmp_path / "out"
    source.write_text("a"), made.write_text("b")
    mark = _mark(tmp_path, "stage", {"x": 1}, [source], [made])
    assert markers.stale(mark, markers.recipe({"x": 1}, [source])) == ""


def test_what_changed_is_named(tmp_path):
    source, made = tmp_path / "in", tmp_path / "out"
    source.write_text("a"), made.write_text("b")
    mark = _mark(tmp_path, "stage", {"x": {"y": 1}}, [source], [made])
    assert "x.y (1 -> 2) changed" in markers.stale(mark, markers.recipe({"x": {"y": 2}}, [source]))
    source.write_text("other")
    assert f"{os.path.relpath(source)} changed" in markers.stale(mark, markers.recipe({"x": {"y": 1}}, [source]))
    made.unlink()
    assert f"{os.path.relpath(made)} is missing" in markers.stale(mark, markers.recipe({"x": {"y": 1}}, [source]))


def test_a_change_two_stages_upstream_is_noticed_though_the_file_between_is_the_same(tmp_path):
    wav, feats = tmp_path / "wav.scp", tmp_path / "feats.scp"
    wav.write_text("a"), feats.write_text("same text, other archive")
    first = _mark(tmp_path, "features", {}, [wav], [feats])
    second = _mark(tmp_path, "pretrain", {}, [feats, first], [feats])
    wav.write_text("b")
    _mark(tmp_path, "features", {}, [wav], [feats])
    assert f"{os.path.relpath(first)} changed" in markers.stale(second, markers.recipe({}, [feats, first]))


def test_a_damaged_or_missing_marker_means_not_done(tmp_path):
    path = tmp_path / ".done" / "x.json"
    assert markers.stale(path, markers.recipe({}, [])) == "not done yet"
    path.parent.mkdir()
    path.write_text('{"hash": "ab')
    assert markers.stale(path, markers.recipe({}, [])) == "not done yet"


def test_another_version_makes_everything_stale(tmp_path, monkeypatch):
    mark = _mark(tmp_path, "stage", {}, [], [])
    content = json.loads(mark.read_text())
    mark.write_text(json.dumps({**content, "version": "0.0.1", "hash": "x"}))
    assert markers.stale(mark, markers.recipe({}, [])) == "made by spkssl 0.0.1"
