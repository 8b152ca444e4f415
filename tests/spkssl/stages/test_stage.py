"""`once`: fresh work is skipped, stale work is done again and says why, half-done work is not marked."""

import json
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from spkssl.errors import InputError
from spkssl.stages.settings import Settings, input_option, settings_options
from spkssl.stages.stage import Run, cpu_seconds, made_by, marker, once, require, run_options, say


def piece(folder: Path, run: Run = Run(), *, factor: int = 1, work=None, log=None, check=lambda: None) -> bool:
    source, made = folder / "in", folder / "out"

    def double():
        say(f"factor {factor}")
        made.write_text(str(factor * int(source.read_text())))
        return {"count": 1}

    return once(
        run, "double", marker(folder, "double"), settings={"factor": factor}, inputs=[source], outputs=[made],
        work=work or double, log=log, check=check,
    )  # fmt: skip


def test_work_is_done_once_and_again_when_settings_or_inputs_change(tmp_path, capsys):
    (tmp_path / "in").write_text("3")
    assert piece(tmp_path)
    assert not piece(tmp_path)
    assert "double: up to date" in capsys.readouterr().out
    assert piece(tmp_path, factor=2)
    assert "factor (1 -> 2) changed" in capsys.readouterr().out
    (tmp_path / "in").write_text("5")
    assert piece(tmp_path, factor=2)
    assert (tmp_path / "out").read_text() == "10"
    assert piece(tmp_path, Run(force=True), factor=2)


def test_the_marker_tells_what_was_done(tmp_path):
    (tmp_path / "in").write_text("3")
    piece(tmp_path)
    mark = json.loads(marker(tmp_path, "double").read_text())
    assert mark["inputs"].keys() == {"in"} and mark["outputs"] == ["out"]
    assert mark["count"] == 1 and mark["seconds"] >= 0 and mark["cpu_seconds"] >= 0 and mark["peak_mb"] > 0
    assert made_by(tmp_path, "double") == [marker(tmp_path, "double")]
    assert made_by(tmp_path, "other") == []


def test_a_moved_folder_stays_fresh(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (old / "in").write_text("3")
    piece(old)
    old.rename(new)
    assert not piece(new)


def test_dry_run_touches_nothing(tmp_path, capsys):
    (tmp_path / "in").write_text("3")
    assert not piece(tmp_path, Run(dry_run=True))
    assert "would run (not done yet)" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_work_that_fails_leaves_no_marker_and_a_log_that_says_so(tmp_path):
    (tmp_path / "in").write_text("3")
    piece(tmp_path)

    def fail():
        raise InputError("in: broken")

    log = tmp_path / "log" / "double.log"
    with pytest.raises(InputError):
        piece(tmp_path, Run(force=True), work=fail, log=log)
    assert not marker(tmp_path, "double").exists()
    lines = log.read_text().splitlines()
    assert (
        lines[0].startswith("# spkssl") and "InputError: in: broken" in lines and lines[-1].startswith("# failed after")
    )


def test_what_a_check_refuses_costs_nothing(tmp_path, capsys):
    (tmp_path / "in").write_text("3")
    log = tmp_path / "log" / "double.log"
    piece(tmp_path, log=log)
    before = log.read_text()

    def refuse():
        raise InputError("c.yaml: unknown key facotr")

    with pytest.raises(InputError, match="unknown key facotr"):
        piece(tmp_path, factor=2, log=log, check=refuse)
    assert log.read_text() == before and (tmp_path / "out").read_text() == "3"
    capsys.readouterr()
    assert not piece(tmp_path, log=log, check=refuse)  # nothing to do, nothing to check
    assert capsys.readouterr().out == "double: up to date\n"


def test_work_that_forgets_its_output_is_our_defect(tmp_path):
    (tmp_path / "in").write_text("3")
    with pytest.raises(RuntimeError, match="without writing"):
        piece(tmp_path, work=dict)


def test_processes_but_the_first_work_in_silence(tmp_path, capsys, monkeypatch):
    (tmp_path / "in").write_text("3")
    monkeypatch.setenv("RANK", "1")
    assert piece(tmp_path)
    assert capsys.readouterr().out == "" and not marker(tmp_path, "double").exists()


def test_missing_inputs_are_named_with_what_to_do(tmp_path):
    with pytest.raises(InputError, match="no such file or directory; run stage 2 first"):
        require([tmp_path / "feats.scp"], "run stage 2 first")


@click.command()
@settings_options
@run_options
@input_option
def show(settings: Settings, run: Run) -> None:
    click.echo(json.dumps([settings.tree, run.force]))


@pytest.mark.parametrize("order", [0, 1])
def test_flags_are_settings_wherever_they_stand(tmp_path, order):
    path = tmp_path / "c.yaml"
    path.write_text("seed: 1\ndata: {input: feats, train: x}\n")
    options = [["--config", str(path)], ["--input", "wave", "--seed", "7", "--set", "a.b=2"]]
    given = [*options[order], *options[1 - order], "--force"]
    tree, force = json.loads(CliRunner().invoke(show, given, catch_exceptions=False).output)
    assert tree == {"seed": 7, "data": {"input": "wave", "train": "x"}, "a": {"b": 2}} and force


@click.command()
@settings_options
def show_clustering(settings: Settings) -> None:
    from spkssl.cluster import ClusterConfig

    tree, replaced = settings.settle(ClusterConfig, "cluster")
    click.echo(json.dumps([tree, [str(each) for each in replaced]]))


def test_set_tells_its_own_keys_from_those_of_the_file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("cluster: {min_size: 4, algorithm: {name: hdbscan, dims: 9}}\n")
    named = ["--set", "cluster.algorithm.iterations=7", "--set", "cluster.algorithm.name=kmeans"]
    options = [*named[:2], "--config", str(path), *named[2:]]
    tree, lines = json.loads(CliRunner().invoke(show_clustering, options, catch_exceptions=False).output)
    assert tree == {"min_size": 4, "algorithm": {"name": "kmeans", "iterations": 7}}
    assert lines == [f"{path}: cluster.algorithm is kmeans by --set, not hdbscan: dropped dims; kept nothing"]


def test_cpu_seconds_count_work_and_not_waiting():
    start = cpu_seconds()
    time.sleep(0.3)
    waited = cpu_seconds() - start
    while cpu_seconds() - start < waited + 0.2:
        pass
    assert waited < 0.1


def test_a_section_may_be_the_name_of_a_choice_and_is_nothing_else():
    settings = Settings({"encoder": "ecapa"}, "a.yaml", ("encoder=resnet",))
    assert settings.section("encoder") == {"name": "resnet"} and settings.section("features") == {}
    with pytest.raises(InputError, match="a.yaml: encoder: expected a section, got 3"):
        Settings({"encoder": 3}, "a.yaml").section("encoder")
