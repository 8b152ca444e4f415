import gzip
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from spkssl.errors import InputError
from spkssl.io.ark import write_ark
from spkssl.io.scores import read_scores
from spkssl.io.tables import write_table
from spkssl.stages.results import add_results, read_results, stage_of
from spkssl.stages.score import score

pytestmark = pytest.mark.filterwarnings("error")


def call(*arguments):
    """What the command printed; the errors it raises come through."""
    words = [str(argument) for argument in arguments]
    found = CliRunner().invoke(score, words, catch_exceptions=False, standalone_mode=False)
    if found.exception:
        raise found.exception
    return found.output


def write_trials(path, enrol, test, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = ["target" if same else "nontarget" for same in target]
    path.write_text("".join(f"{e} {t} {label}\n" for e, t, label in zip(enrol, test, labels, strict=True)))


@pytest.fixture(scope="module")
def files(golden, tmp_path_factory):
    """The golden embeddings and trials as files."""
    source, folder = golden / "backend", tmp_path_factory.mktemp("golden")
    train, evaluation = dict(np.load(source / "train.npz")), dict(np.load(source / "eval.npz"))
    write_ark(folder / "train.ark", folder / "train.scp", train)
    write_ark(folder / "eval.ark", folder / "eval.scp", evaluation)
    write_table(folder / "utt2cluster", {key: key[:6] for key in train})
    write_table(folder / "utt2spk", {key: key[:5] for key in evaluation})
    trials = np.load(source / "trials.npz")
    write_trials(folder / "utt", trials["enroll_utt"], trials["test"], trials["target"])
    write_trials(folder / "spk", trials["enroll_spk"], trials["test"], trials["target"])
    (folder / "spk.enroll").write_text((source / "enroll_spk2utt").read_text())
    return folder


def options(files, out, *backends, trials="utt", emb="eval.scp"):
    return [
        "--emb", files / emb, "--trials", files / trials, "--train-emb", files / "train.scp",
        "--labels", files / "utt2cluster", "--backend", ",".join(backends), "--out", out, "--set", "score.bootstrap=0",
    ]  # fmt: skip


def kaldi_scores(golden, name):
    with gzip.open(golden / "backend" / "scores" / f"{name}.gz", "rt") as file:
        lines = [line.split() for line in file]
    return [line[:2] for line in lines], np.array([float(line[2]) for line in lines])


@pytest.mark.parametrize(
    ("name", "backend", "setting", "trials", "tolerance"),
    [
        ("cosine_centred", "cosine", "score.eer=kaldi", "utt", 1e-6),
        ("lda_plda", "plda", "score.plda.dim=32", "utt", 1e-4),
        ("nolda_plda", "plda", "score.plda.transform=none", "utt", 1e-4),
        ("multi_numutts", "plda", "score.plda.dim=32", "spk", 1e-4),
    ],
)
def test_scores_and_error_rates_are_kaldis(files, golden, tmp_path, name, backend, setting, trials, tolerance):
    call(*options(files, tmp_path, backend, trials=trials), "--set", setting, "--set", "score.eer=kaldi")
    found, scores = read_scores(tmp_path / "scores" / backend / f"{trials}.scores")
    pairs, theirs = kaldi_scores(golden, name)
    assert [found.name(row).split() for row in range(len(found))] == pairs
    assert np.abs(scores - theirs).max() < tolerance
    row = read_results(tmp_path)["results"][0]
    expected = json.loads((golden / "backend" / "results.json").read_text())[name]
    assert row["eer"] == pytest.approx(expected["eer_percent"])
    assert row["min_dcf"]["0.01"] == pytest.approx(expected["mindcf"]["0.01"]["value"], abs=5e-5)


def test_rows_and_table_say_what_was_measured(files, tmp_path):
    shown = call(*options(files, tmp_path, "cosine", "asnorm", "plda"), "--set", "score.asnorm.top_k=30")
    rows = read_results(tmp_path)["results"]
    assert [row["backend"] for row in rows] == ["cosine", "asnorm", "plda"]
    assert all((row["n_target"], row["n_nontarget"]) == (400, 4600) for row in rows)
    assert [row["labels_used"] for row in rows] == ["none", "pseudo", "pseudo"]
    assert rows[0]["cllr"] is None and rows[2]["cllr"] > rows[2]["min_cllr"]
    assert "EER %" in shown and f"{rows[1]['eer']:.3f}" in shown
    assert (tmp_path / "scores" / "models" / "asnorm.npz").exists()


def test_second_call_is_a_no_op_and_a_changed_input_is_noticed(files, tmp_path):
    arguments = options(files, tmp_path, "cosine")
    call(*arguments)
    before = (tmp_path / "scores" / "cosine" / "utt.scores").stat().st_mtime_ns
    assert "score cosine: up to date" in call(*arguments)
    assert (tmp_path / "scores" / "cosine" / "utt.scores").stat().st_mtime_ns == before
    assert "score.cosine" in call(*arguments, "--set", "score.cosine.subtract_mean=false")
    (tmp_path / "scores" / "cosine" / "utt.scores").unlink()
    assert "is missing" in call(*arguments, "--set", "score.cosine.subtract_mean=false")


def test_another_backend_leaves_the_first_up_to_date(files, tmp_path):
    call(*options(files, tmp_path, "cosine"))
    shown = call(*options(files, tmp_path, "cosine", "plda"))
    assert "score cosine: up to date" in shown and "score plda: done" in shown
    assert "score cosine: up to date" in call(*options(files, tmp_path, "cosine"))


def test_dry_run_writes_nothing(files, tmp_path):
    assert "score plda: would run" in call(*options(files, tmp_path / "out", "plda"), "--dry-run")
    assert not (tmp_path / "out").exists()


def test_dry_run_after_results_are_gone_says_so_and_changes_nothing(files, tmp_path):
    call(*options(files, tmp_path, "cosine"))
    (tmp_path / "results.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert "score cosine: would run" in call(*options(files, tmp_path, "cosine"), "--dry-run")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert "score cosine: done" in call(*options(files, tmp_path, "cosine")) and read_results(tmp_path)["results"]


def test_confidence_interval_needs_speakers_and_holds_the_rate(files, tmp_path):
    call(*options(files, tmp_path, "cosine"), "--speakers", files / "utt2spk", "--set", "score.bootstrap=50")
    row = read_results(tmp_path)["results"][0]
    assert row["eer_ci"][0] < row["eer"] < row["eer_ci"][1]


def test_models_in_kaldis_files_score_the_same(files, tmp_path):
    call(*options(files, tmp_path / "one", "plda"), "--set", "score.plda.dim=32")
    model = tmp_path / "one" / "scores" / "models" / "kaldi"
    evaluated = ["--emb", files / "eval.scp", "--trials", files / "utt"]
    call(*evaluated, "--kaldi-model", model, "--backend", "plda", "--out", tmp_path / "two")
    first, second = ((tmp_path / n / "scores" / "plda" / "utt.scores").read_text() for n in ("one", "two"))
    assert first == second


def test_several_lists_give_the_scores_of_each_alone(files, tmp_path):
    call(*options(files, tmp_path / "both", "asnorm"), "--trials", files / "spk", "--set", "score.asnorm.top_k=20")
    call(*options(files, tmp_path / "alone", "asnorm", trials="spk"), "--set", "score.asnorm.top_k=20")
    both, alone = (read_scores(tmp_path / n / "scores" / "asnorm" / "spk.scores")[1] for n in ("both", "alone"))
    np.testing.assert_allclose(both, alone, atol=1e-4)


def test_averaging_directions_is_another_system(files, tmp_path):
    call(*options(files, tmp_path / "raw", "cosine", trials="spk"))
    call(*options(files, tmp_path / "unit", "cosine", trials="spk"), "--set", "score.average=normalised")
    raw, unit = (read_scores(tmp_path / n / "scores" / "cosine" / "spk.scores")[1] for n in ("raw", "unit"))
    assert 1e-4 < np.abs(raw - unit).max() < 0.3


def test_stated_mean_is_the_one_subtracted(files, golden, tmp_path):
    evaluated = ["--emb", files / "eval.scp", "--trials", files / "utt"]
    call(*evaluated, "--mean-emb", files / "train.scp", "--backend", "cosine", "--out", tmp_path)
    scores = read_scores(tmp_path / "scores" / "cosine" / "utt.scores")[1]
    assert np.abs(scores - kaldi_scores(golden, "cosine_centred")[1]).max() < 1e-6


def test_adaptation_changes_plda_scores(files, tmp_path):
    call(*options(files, tmp_path / "plain", "plda"))
    call(*options(files, tmp_path / "adapted", "plda"), "--adapt-emb", files / "eval.scp")
    plain, adapted = (read_scores(tmp_path / n / "scores" / "plda" / "utt.scores")[1] for n in ("plain", "adapted"))
    assert np.abs(plain - adapted).max() > 0.1


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ("ev000-enr0 ev001-tst00 nontarget\nev000-enr0 nobody target\n", r"list:2: there is no embedding of nobody"),
        ("ev000-enr0 ev001-tst00 nontarget\nev000-enr0 target\n", r"list:2: got 'ev000-enr0 target'"),
        ("ev000-enr0 ev001-tst00 nontarget\n\nev000-enr0 ev000-tst00 target\n", r"list:2: got 'an empty line'"),
        ("ev000-enr0 ev000-tst00 yes\n", r"list:1: got"),
        ("ev000-enr0 ev000-tst00 target\n", r"list: all 1 trials are target"),
        ("", r"list:1: the file is empty"),
    ],
)
def test_unusable_trials_name_file_and_line_and_leave_nothing(files, tmp_path, trials, message):
    (tmp_path / "list").write_text(trials)
    arguments = ["--emb", files / "eval.scp", "--trials", tmp_path / "list", "--train-emb", files / "train.scp"]
    with pytest.raises(InputError, match=message):
        call(*arguments, "--labels", files / "utt2cluster", "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "scores").exists() and not (tmp_path / "out" / "results.json").exists()


def test_repeated_key_names_file_and_line(files, tmp_path):
    lines = (files / "eval.scp").read_text().splitlines(keepends=True)
    (tmp_path / "eval.scp").write_text("".join([*lines[:3], lines[2], *lines[3:]]))
    with pytest.raises(InputError, match=r"eval.scp:4: key \S+ appears twice"):
        call(*options(files, tmp_path / "out", "cosine", emb=tmp_path / "eval.scp"))
    assert not (tmp_path / "out" / "scores").exists()


def test_nan_embedding_names_file_and_utterance(files, tmp_path, golden):
    vectors = dict(np.load(golden / "backend" / "eval.npz"))
    write_ark(tmp_path / "eval.ark", tmp_path / "eval.scp", vectors)
    content = bytearray((tmp_path / "eval.ark").read_bytes())
    content[-4:] = np.float32(np.nan).tobytes()  # of the last vector; write_ark itself refuses NaN
    (tmp_path / "eval.ark").write_bytes(bytes(content))
    with pytest.raises(InputError, match=rf"eval.scp: {list(vectors)[-1]} is not finite"):
        call(*options(files, tmp_path / "out", "cosine", emb=tmp_path / "eval.scp"))
    assert not (tmp_path / "out" / "scores").exists()


def test_zero_embedding_names_file_and_utterance(files, tmp_path, golden):
    vectors = dict(np.load(golden / "backend" / "eval.npz"))
    vectors["ev000-tst00"] = np.zeros(64, np.float32)
    write_ark(tmp_path / "eval.ark", tmp_path / "eval.scp", vectors)
    arguments = options(files, tmp_path / "out", "cosine", emb=tmp_path / "eval.scp")
    with pytest.raises(InputError, match=r"eval.scp: ev000-tst00 is zero"):
        call(*arguments, "--set", "score.cosine.subtract_mean=false")
    assert not (tmp_path / "out" / "scores").exists()


def test_cohort_that_is_also_evaluated_is_an_error(files, tmp_path):
    with pytest.raises(InputError, match="in the cohort and in the trials: ev000-enr0"):
        call("--emb", files / "eval.scp", "--trials", files / "utt", "--train-emb", files / "eval.scp",
             "--labels", files / "utt2spk", "--backend", "asnorm", "--out", tmp_path)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "pdla"], "did you mean plda"),
        (["--out", "x"], "missing --emb, --trials"),
        (["--exp", "x"], "--exp needs --data"),
    ],
)
def test_unclear_commands_say_what_is_missing(arguments, message):
    with pytest.raises(InputError, match=message):
        call(*arguments)


def test_plda_without_labels_says_what_to_do(files, tmp_path):
    with pytest.raises(InputError, match="plda: needs labels of its training embeddings; run stage 5"):
        call("--emb", files / "eval.scp", "--trials", files / "utt", "--train-emb", files / "train.scp",
             "--backend", "plda", "--out", tmp_path)  # fmt: skip


@pytest.fixture
def run_folder(golden, tmp_path):
    """A run with pretrain (and labels) and untrained (without training embeddings), two sets with trials."""
    train, evaluation = (dict(np.load(golden / "backend" / f"{name}.npz")) for name in ("train", "eval"))
    exp, data = tmp_path / "exp", tmp_path / "data"
    utts = {"dev": {}, "test": {}}
    for key, vector in evaluation.items():
        utts["dev" if key < "ev020" else "test"][key] = vector
    for name, vectors in utts.items():
        for at in ("pretrain", "untrained"):
            folder = exp / at / "emb" / name
            write_ark(folder / "xvector.ark", folder / "xvector.scp", vectors)
        keys = [key for key in vectors if "enr" in key or "tst0" in key]
        pairs = [(e, t) for e in keys for t in keys if e < t and "enr" in e and "tst" in t]
        enrol, test = zip(*pairs, strict=True)
        write_trials(data / name / "trials" / name, enrol, test, [e[:5] == t[:5] for e, t in pairs])
        write_table(data / name / "utt2spk", {key: key[:5] for key in vectors})
        write_table(data / name / "utt2dur", {key: 2 + len(key) % 3 for key in vectors})
    folder = exp / "pretrain" / "emb" / "train"
    write_ark(folder / "xvector.ark", folder / "xvector.scp", train)
    write_table(exp / "pretrain" / "labels" / "utt2cluster", {key: int(key[3:6]) for key in list(train)[24:]})
    return ["--exp", exp, "--data", data, "--set", "score.bootstrap=0", "--set", "score.asnorm.top_k=20"], exp


def test_without_rounds_the_supervised_reference_may_stand_alone(run_folder):
    arguments, exp = run_folder
    (exp / "pretrain").rename(exp / "supervised")
    shutil.rmtree(exp / "untrained")
    for scp in exp.glob("supervised/emb/*/xvector.scp"):
        scp.write_text(scp.read_text().replace("/pretrain/", "/supervised/"))
    shown = call(*arguments, "--backend", "cosine", "--rounds", 0)
    assert "score supervised cosine: done" in shown
    assert {row["at"] for row in read_results(exp)["results"]} == {"supervised"}
    with pytest.raises(InputError, match="pretrain/emb/dev/xvector.scp.*run stage 4"):
        call(*arguments, "--rounds", 1)
    (exp / "pretrain").mkdir()
    (exp / "pretrain/encoder.pt").touch()  # trained, so to be scored, but not embedded
    with pytest.raises(InputError, match="pretrain/emb/dev/xvector.scp.*run stage 4"):
        call(*arguments, "--rounds", 0)


def test_run_is_scored_place_by_place_and_calibrated_on_dev(run_folder):
    arguments, exp = run_folder
    shown = call(*arguments)
    assert "score untrained plda: left out, there are no embeddings" in shown
    assert "cosine without mean subtraction" in shown
    rows = read_results(exp)["results"]
    assert {(row["at"], row["backend"]) for row in rows} == {
        ("untrained", "cosine"), ("pretrain", "cosine"), ("pretrain", "asnorm"), ("pretrain", "plda"),
    }  # fmt: skip
    for row in rows:
        assert row["calibrated"] == (row["trials"] == "test")
        if row["calibrated"]:
            assert row["min_cllr"] <= row["cllr"] < row["min_cllr"] + 0.15
            assert row["act_dcf"]["0.05"] >= row["min_dcf"]["0.05"]
    calibrated = read_scores(exp / "pretrain" / "scores" / "asnorm_calibrated" / "test.scores")[1]
    plain = read_scores(exp / "pretrain" / "scores" / "asnorm" / "test.scores")[1]
    assert np.corrcoef(calibrated, plain)[0, 1] > 0.999999


def test_quality_measures_make_a_row_of_their_own(run_folder):
    arguments, exp = run_folder
    call(*arguments, "--at", "pretrain", "--backend", "cosine", "--set", "score.quality=[duration,norm]")
    assert [(row["backend"], row["trials"]) for row in read_results(exp)["results"]] == [
        ("cosine", "dev"), ("cosine", "test"), ("cosine+quality", "test"),
    ]  # fmt: skip
    names = json.loads((exp / "pretrain" / "scores" / "models" / "cosine.calibration.json").read_text())["names"]
    assert names[:2] == ["score", "duration_min"] and len(names) == 9


def test_round_that_is_not_there_is_an_error(run_folder):
    arguments, _ = run_folder
    with pytest.raises(InputError, match=r"round1/emb/dev/xvector.scp.*no such file or directory; run stage 4"):
        call(*arguments, "--rounds", "1")


def test_labels_of_the_run_can_leave_utterances_out(run_folder):
    arguments, exp = run_folder
    call(*arguments, "--at", "pretrain", "--backend", "asnorm")
    with np.load(exp / "pretrain" / "scores" / "models" / "asnorm.npz") as model:
        assert model["cohort"].shape == (58, 64)  # two of the sixty are without label


def test_rows_replace_those_of_the_same_key(tmp_path):
    row = {"at": "pretrain", "backend": "cosine", "trials": "test", "eer": 9.0}
    add_results(tmp_path, [row], {"system": "dino", "seed": 1})
    add_results(tmp_path, [{**row, "eer": 8.0}, {**row, "backend": "plda", "eer": float("nan")}])
    add_results(tmp_path, [{"at": "pretrain", "k": 7}], table="clusters")
    found = read_results(tmp_path)
    assert [row["eer"] for row in found["results"]] == [8.0, None]
    assert found["clusters"] == [{"at": "pretrain", "k": 7}] and (found["system"], found["seed"]) == ("dino", 1)


def test_round_names_become_columns():
    assert stage_of("round2") == {"at": "round2", "stage": "retrain", "round": 2}
    assert stage_of("supervised") == {"at": "supervised", "stage": "supervised", "round": 0}


def test_command_is_imported_without_numpy_and_torch():
    code = "import sys; import spkssl.stages.score; sys.exit('numpy' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
