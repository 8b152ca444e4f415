"""The decision after a round, on disk; no part of it reads true labels."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from spkssl.errors import InputError
from spkssl.io.atomic import write_json
from spkssl.io.tables import write_table
from spkssl.metrics.clusters import ari, nmi
from spkssl.stages import rounds as of_rounds
from spkssl.stages import stop as of_stop

UTTS = [f"u{k}" for k in range(8)]
OLD, NEW = [0, 0, 0, 0, 1, 1, 1, -1], [0, 0, 0, 1, 1, 1, 1, 1]


def clustered(exp, at, labels, silhouette=0.5):
    write_table(exp / at / "labels" / "utt2cluster", {u: str(k) for u, k in zip(UTTS, labels, strict=True)})
    write_json(exp / at / "labels" / "info.json", {"quality": {"silhouette": silhouette, "margin": 0.1}})


@pytest.fixture
def exp(tmp_path):
    clustered(tmp_path, "pretrain", OLD, 0.4)
    clustered(tmp_path, "round1", NEW)
    clustered(tmp_path, "round2", NEW)
    return tmp_path


def call(command, *arguments):
    found = CliRunner().invoke(
        command, [str(each) for each in arguments], catch_exceptions=False, standalone_mode=False
    )
    if found.exception:
        raise found.exception
    return found.output


def stop(exp, number, rule="fixed", *more):
    places = ("--exp", exp, "--data", exp / "nowhere")
    return call(of_stop.stop, *places, "--round", number, "--set", f"retrain.stop.rule={rule}", *more)


def rounds(exp, most, rule="fixed", *more):
    places = ("--exp", exp, "--data", exp / "nowhere")
    return int(call(of_rounds.rounds, *places, "--max", most, "--set", f"retrain.stop.rule={rule}", *more))


def decision(exp, number):
    return json.loads((exp / f"round{number}" / "stop.json").read_text())


def test_values_are_those_of_the_labels_that_both_clusterings_gave(exp):
    stop(exp, 1)
    found = decision(exp, 1)
    assert found["values"]["nmi"] == pytest.approx(nmi(OLD[:-1], NEW[:-1]))
    assert found["values"]["ari"] == pytest.approx(ari(OLD[:-1], NEW[:-1]))
    assert (found["values"]["silhouette"], found["before"]["silhouette"]) == (0.5, 0.4)
    assert found["values"]["accepted"] is None and (found["round"], found["decision"]) == (1, "go")
    assert found["rule"]["rule"] == "fixed"


def test_stable_labels_end_the_rounds(exp):
    assert "go on: ARI with the labels before" in stop(exp, 1, "stability") and rounds(exp, 3, "stability") == 3
    assert "no further round: ARI with the labels before 1.0000 >= 0.9" in stop(exp, 2, "stability")
    assert rounds(exp, 3, "stability") == 2 and rounds(exp, 1, "stability") == 1
    assert rounds(exp, 3, "stability", "--done", 1) == 3  # a decision of an earlier run is not heeded before its time


def test_decision_by_another_rule_does_not_count(exp):
    stop(exp, 2, "stability")
    assert rounds(exp, 3) == 3 and rounds(exp, 3, "stability", "--set", "retrain.stop.agreement=0.8") == 3


def test_second_call_is_a_no_op_and_new_labels_or_thresholds_are_noticed(exp):
    stop(exp, 2, "stability")
    assert stop(exp, 2, "stability") == "stop round2: up to date\n"
    assert "agreement" in stop(exp, 2, "stability", "--set", "retrain.stop.agreement=0.8")
    clustered(exp, "round2", OLD)
    assert "utt2cluster changed" in stop(exp, 2, "stability") and decision(exp, 2)["decision"] == "go"


def test_share_that_passed_the_gate_may_decide(exp):
    columns = {"loss": np.float32([0.1] * 7 + [np.inf]), "label": np.array([0] * 8)}
    utt = np.array([name.encode() for name in UTTS])
    accepted = np.array([1, 1, 1, 1, 1, 1, 0, 0], bool)
    np.savez(exp / "round1" / "utterances.npz", utt=utt, accepted=accepted, **columns)
    stop(exp, 1, "acceptance")
    assert decision(exp, 1)["values"]["accepted"] == pytest.approx(6 / 7)
    assert stop(exp, 1, "acceptance", "--set", "retrain.stop.accepted=0.8").count("no further round") == 1


def test_method_without_a_gate_cannot_stop_by_acceptance(exp):
    with pytest.raises(InputError, match="needs the share accepted of round1.*only methods with a gate"):
        stop(exp, 1, "acceptance")
    assert not (exp / "round1" / "stop.json").exists()


@pytest.mark.parametrize("command", [stop, rounds])
@pytest.mark.parametrize("gate", ["none", "rate"])
def test_a_share_that_is_set_beforehand_cannot_decide(exp, command, gate):
    method = ("--set", "retrain.method.name=lgl", "--set", f"retrain.method.gate={gate}")
    message = f"^command line: retrain.stop: rule acceptance cannot judge by gate {gate}.*threshold or gmm$"
    with pytest.raises(InputError, match=message):
        command(exp, 1, "acceptance", *method)
    assert command(exp, 1, "stability", *method)
    replaced = ("--set", "retrain.method.name=dlg_lc")
    assert rounds(exp, 1, "acceptance", *replaced) == 1  # its gate is always found


def test_a_missing_round_does_not_undo_what_is_decided(exp):
    stop(exp, 1, "stability")
    marks = (exp / ".done" / "stop.round1.json").read_bytes()
    (exp / "round1" / "labels" / "info.json").unlink()
    with pytest.raises(InputError, match="round1/labels/info.json.*run the rounds"):
        stop(exp, 1, "stability")
    assert (exp / ".done" / "stop.round1.json").read_bytes() == marks


def test_missing_round_and_unknown_rule_are_named(exp):
    with pytest.raises(InputError, match="round3/labels/utt2cluster.*run the rounds up to this one"):
        stop(exp, 3)
    with pytest.raises(InputError, match="retrain.stop.*rule"):
        stop(exp, 1, "silhouette")


def test_true_labels_are_never_opened(exp):
    (exp / "nowhere" / "train" / "ref").mkdir(parents=True)
    (exp / "nowhere" / "train" / "ref" / "utt2spk").write_text("not a table")
    assert "done in" in stop(exp, 1, "change")


def test_dry_run_decides_nothing(exp):
    assert "would run" in stop(exp, 1, "stability", "--dry-run") and not (exp / "round1" / "stop.json").exists()
    assert rounds(exp, 3, "stability", "--dry-run") == 3
