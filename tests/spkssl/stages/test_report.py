import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner

from spkssl.errors import InputError
from spkssl.io.scores import read_scores, write_scores
from spkssl.stages.report import report
from spkssl.stages.results import add_results, read_results

VOID = {"meta", "br", "link", "img", "input", "hr"}


def call(*arguments):
    found = CliRunner().invoke(report, [str(each) for each in arguments], catch_exceptions=False, standalone_mode=False)
    if found.exception:
        raise found.exception
    return found.output


def of(exp, *more):
    return call("--exp", exp, "--data", exp.parents[1] / "data", *more)


def cells(text, title):
    """The rows of a Markdown table below its heading, by column."""
    lines = text.split(f"## {title}", 1)[1].split("\n\n")[1].splitlines()
    split = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [dict(zip(split[0], row, strict=True)) for row in split[2:]]


class Page(HTMLParser):
    """Tags that close in order, the text, and every attribute that could load something."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.links, self.captions, self.figures = [], [], [], 0, 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.figures += tag == "svg"
        self.captions += tag == "figcaption"
        self.links += [value for name, value in attrs if name in ("src", "href", "data", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def reported(shared_run):
    """A run, what its results.json was before, and what the report printed."""
    before = read_results(shared_run)
    return shared_run, before, of(shared_run, "--rounds", 2)


@pytest.fixture
def plain(monkeypatch):
    """No plots, which take most of the time."""
    monkeypatch.setattr("spkssl.report.page._plots", lambda view: [])


def test_numbers_in_the_markdown_are_those_of_results_json(reported):
    exp, *_ = reported
    rows = read_results(exp)["results"]
    shown = cells((exp / "RESULTS.md").read_text(), "Verification")
    assert len(shown) == len(rows) == 8
    found = {(row["at"], row["backend"]): row for row in rows}
    for line in shown:
        row = found[line["encoder"], line["back-end"]]
        assert line["EER %"] == f"{row['eer']:.3f}"
        assert line["95 % interval"] == "{:.2f} - {:.2f}".format(*row["eer_ci"])
        assert [line[f"minDCF({p})"] for p in ("0.01", "0.05")] == [f"{c:.4f}" for c in row["min_dcf"].values()]
        assert line["Cllr bit"] == ("-" if row["cllr"] is None else f"{row['cllr']:.4f}")
        assert (line["targets"], line["non-targets"]) == ("72", "1,056")
        assert line["training s"] == ("-" if row["at"] == "untrained" else "12")
    assert [line["encoder"] for line in shown][:2] == ["untrained", "pretrain"] and shown[-1]["encoder"] == "supervised"


def test_true_labels_are_marked_everywhere_and_only_where_they_were_used(reported):
    exp, _, shown = reported
    lines = [line for line in shown.splitlines() if "TRUE LABELS" in line and "easy" in line]
    assert len(lines) == 1 and lines[0].startswith("supervised")
    marked = [line["labels used"] for line in cells((exp / "RESULTS.md").read_text(), "Verification")]
    assert marked == ["none", "none", *["pseudo"] * 5, "**TRUE LABELS**"]
    assert (exp / "report.html").read_text().count("<tr class=truth>") == 1


def test_page_is_one_whole_file_that_loads_nothing(reported):
    exp, *_ = reported
    text = (exp / "report.html").read_text()
    page = Page(text)
    assert not page.open and all(link.startswith("#") for link in page.links)
    assert not re.search(r"https?:|url\((?!#)|@import|<script", text)
    # One list: errors, steps, sizes, scores; four trainings.
    assert page.figures == page.captions == 4 + 4
    assert "prefers-color-scheme: dark" in text and text.count("How to read:") == page.captions
    words = " ".join(page.text)
    assert "embed_std (1: spread, 0: collapsed)" in words and "false alarms %" in words and "true speakers" in words


def test_results_json_gains_clusters_and_keeps_every_row(reported):
    exp, before, _ = reported
    after = read_results(exp)
    assert after["results"] == before["results"] and (after["system"], after["seed"]) == ("dino", 0)
    assert [row["at"] for row in after["clusters"]] == ["pretrain", "round1", "round2"]
    first, second, _ = after["clusters"]
    assert (first["method"], first["k"], first["left_out"], first["round"], second["round"]) == ("kmeans", 10, 2, 0, 1)
    assert 0 < first["nmi"] < second["nmi"] < 1
    assert after["training"]["round1"]["seconds"] == 12.5
    shown = cells((exp / "RESULTS.md").read_text(), "Pseudo labels")
    assert [line["NMI"] for line in shown] == [f"{row['nmi']:.4f}" for row in after["clusters"]]


def test_commands_versions_and_machine_are_in_the_markdown(reported):
    exp, *_ = reported
    text = (exp / "RESULTS.md").read_text()
    assert text.count("spkssl pretrain --exp 'exp/a b'") == 1
    assert "commit abc123" in text and "torch 2.11" in text and "2 CPUs, Linux" in text
    assert len(cells(text, "Trial lists")[0]["digest (BLAKE2b)"]) == 32


def test_missing_true_labels_are_said_once_and_leave_out_nmi(make_run, plain):
    exp = make_run()
    of(exp)
    (exp.parents[1] / "data" / "train" / "ref" / "utt2spk").unlink()
    shown = of(exp)
    assert shown.count("no true labels") == 1 and "NMI" not in shown.split("Pseudo labels", 1)[1].splitlines()[1]
    assert all("nmi" not in row and row["k"] == 10 for row in read_results(exp)["clusters"])
    Page((exp / "report.html").read_text())


def test_second_call_is_a_no_op_that_shows_the_tables(reported):
    exp, *_ = reported
    before = {path.name: path.stat().st_mtime_ns for path in exp.glob("*.*")}
    shown = of(exp, "--rounds", 2)
    assert "up to date" in shown and "Verification" in shown and "Pseudo labels" in shown
    assert {path.name: path.stat().st_mtime_ns for path in exp.glob("*.*")} == before


def test_new_row_changed_labels_and_lost_clusters_are_noticed(make_run, plain):
    exp = make_run()
    of(exp)
    row = read_results(exp)["results"][0]
    add_results(exp, [{**row, "eer": row["eer"] + 1}])
    assert "results.json" in of(exp).splitlines()[0]
    labels = exp / "round1" / "labels" / "utt2cluster"
    labels.write_text(re.sub(r"^(\S+) 3$", r"\1 4", labels.read_text(), flags=re.M))
    assert "utt2cluster changed" in of(exp).splitlines()[0]
    add_results(exp, [{"at": "round1", "k": 9}], table="clusters")
    assert "forced" in of(exp).splitlines()[0]
    assert "up to date" in of(exp)


def test_dry_run_writes_nothing(make_run):
    exp = make_run()
    assert "would run" in of(exp, "--dry-run")
    assert not (exp / "RESULTS.md").exists() and not read_results(exp)["clusters"]


@pytest.mark.parametrize(
    ("spoil", "rounds", "why"),
    [
        (lambda exp: None, 3, "has no result of round2"),
        (lambda exp: (exp / "results.json").unlink(), 0, "holds no result"),
        (shutil.rmtree, 1, "no such file or directory"),
    ],
)
def test_dry_run_of_what_is_not_there_yet_says_it_would_run(make_run, spoil, rounds, why):
    exp = make_run()
    spoil(exp)
    before = sorted(exp.rglob("*"))
    shown = of(exp, "--rounds", rounds, "--dry-run")
    assert shown.startswith("report: would run, but: ") and why in shown and shown.count("\n") == 1
    assert sorted(exp.rglob("*")) == before


def test_dry_run_of_a_comparison_with_a_half_finished_run_says_it_would_run(make_run):
    runs = [make_run("a"), make_run("b")]
    (runs[1] / "results.json").unlink()
    shown = call("--compare", runs[0], "--compare", runs[1], "--dry-run")
    assert shown.startswith("report: would run, but: ") and "holds no result" in shown


@pytest.mark.parametrize("pair", [("a={}", "b={}"), ("a={}", "{}"), ("{}", "a={}/")])
def test_one_folder_under_two_names_is_refused(make_run, pair):
    exp, other = make_run("one"), make_run("two")
    names = [word for name in pair for word in ("--compare", name.format(exp))]
    with pytest.raises(InputError, match=r"^--compare: .*/one has two names, .*; name each run once$"):
        call(*names, "--compare", other)


def test_rounds_beyond_those_asked_for_are_left_out(make_run, plain):
    exp = make_run(rounds=2)
    assert "round2" not in of(exp, "--rounds", 1)


@pytest.mark.parametrize(
    ("spoil", "more", "message"),
    [
        (lambda exp: (exp / "results.json").unlink(), (), "holds no result; run stage 7"),
        (lambda exp: (exp / "round1/scores/plda/easy.scores").unlink(), (), "though results.json has its row"),
        (lambda exp: None, ("--rounds", 3), "has no result of round2"),
        (lambda exp: (exp / "results.json").write_text("{"), (), "is not valid JSON"),
    ],
)
def test_what_is_missing_is_named_in_one_line(make_run, spoil, more, message):
    exp = make_run()
    spoil(exp)
    with pytest.raises(InputError, match=message) as raised:
        of(exp, *more)
    assert "\n" not in str(raised.value)


def test_score_file_of_other_trials_is_refused(make_run):
    exp = make_run()
    path = exp / "pretrain" / "scores" / "cosine" / "easy.scores"
    trials, scores = read_scores(path)
    write_scores(path, trials.take(slice(0, 500)), scores[:500])
    with pytest.raises(InputError, match="expected 72 and 1056 as in results.json"):
        of(exp)


@pytest.fixture
def four(make_run):
    """Two systems, two seeds each; the second system is better by far."""
    made = [make_run("a0"), make_run("a1", seed=1), make_run("b0", "memo", better=2.0), make_run("b1", "memo", 1, 2.0)]
    return [word for exp in made for word in ("--compare", exp)], made[0].parents[1]


def test_comparison_finds_the_better_system_and_its_interval(four):
    runs, root = four
    shown = call(*runs, "--data", root / "data", "--out", root / "out", "--set", "score.bootstrap=50")
    found = json.loads((root / "out" / "compare.json").read_text())
    rows = [row for row in found["differences"] if row["at"] == "pretrain"]
    assert [row["seeds"] for row in rows] == [[0, 0], [1, 1]] * 2
    for row in rows:
        assert row["low"] < row["difference"] < row["high"] < 0
        assert row["difference"] == pytest.approx(row["eer"] - row["other_eer"])
    spread = {(row["system"], row["at"], row["backend"]): row["eer"] for row in found["spread"]}
    rates = [
        row["eer"]
        for name in ("a0", "a1")
        for row in read_results(root / "exp" / name)["results"]
        if (row["at"], row["backend"]) == ("round1", "plda")
    ]
    expected = {"mean": np.mean(rates), "sd": np.std(rates, ddof=1), "n": 2}
    assert spread["dino", "round1", "plda"] == pytest.approx(expected)
    assert "memo is better" in shown and "TRUE LABELS" in shown
    text = (root / "out" / "compare.html").read_text()
    assert Page(text).figures == 2 and "http" not in text


def test_names_given_to_compare_tell_variants_of_a_system_apart(make_run):
    one, two, other = make_run("a0"), make_run("a1", seed=1), make_run("b0")
    runs = (("old", one), ("old", two), ("new", other))
    words = [word for name, exp in runs for word in ("--compare", f"{name}={exp}")]
    out = one.parents[1] / "out"
    call(*words, "--data", one.parents[1] / "data", "--out", out, "--set", "score.bootstrap=0")
    found = json.loads((out / "compare.json").read_text())
    assert {(row["system"], row["eer"]["n"]) for row in found["spread"]} == {("old", 2), ("new", 1)}
    assert found["notes"] == []
    path = two / "config.yaml"
    path.write_text(path.read_text().replace("{", "{\"more\": 1, ", 1))
    call(*words, "--data", one.parents[1] / "data", "--out", out, "--set", "score.bootstrap=0")
    found = json.loads((out / "compare.json").read_text())
    assert found["notes"] == ["old: its runs have 2 different configurations, the spread is not of seeds alone"]
    assert {(row["system"], row["eer"]["n"]) for row in found["spread"]} == {("old", 2), ("new", 1)}


def test_second_comparison_is_a_no_op(four):
    runs, root = four
    more = ("--data", root / "data", "--out", root / "out", "--set", "score.bootstrap=20")
    first = call(*runs, *more)
    second = call(*runs, *more)
    assert "up to date" in second and second.split("Systems", 1)[1] == first.split("Systems", 1)[1]


def test_system_against_itself_shows_no_difference(make_run):
    one, two = make_run("a"), make_run("b", "copy")
    for path in one.glob("*/scores/*/easy.scores"):
        other = two / path.relative_to(one)
        other.write_bytes(path.read_bytes())
    shown = call("--exp", one, "--exp", two, "--data", one.parents[1] / "data", "--set", "score.bootstrap=20")
    lines = [line for line in shown.split("Differences", 1)[1].splitlines() if "easy" in line]
    assert len(lines) == 6
    assert all("+0.000 .. +0.000" in line and "no difference shown" in line for line in lines)


def test_comparison_without_data_says_that_it_leaves_out_differences(four):
    runs, _ = four
    shown = call(*runs)
    assert "no differences of runs whose data folder is not known" in shown and "Systems" in shown


def test_other_trials_give_a_note_instead_of_a_difference(make_run):
    one, two = make_run("a"), make_run("b", "memo")
    for path in two.glob("*/scores/*/easy.scores"):
        trials, scores = read_scores(path)
        order = np.arange(len(trials))[::-1]
        write_scores(path, trials.take(order), scores[order])
    shown = call("--exp", one, "--exp", two, "--data", one.parents[1] / "data", "--set", "score.bootstrap=20")
    assert "not the same trials" in shown and "memo is better" not in shown
    assert shown.split("Differences", 1)[1].count("not the same trials") == 1


def test_command_loads_neither_torch_nor_matplotlib_before_there_is_work():
    code = "import sys, spkssl.stages.report; print([m for m in ('torch', 'matplotlib', 'scipy') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
