"""Stage 5: files, flags, what makes it run again."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from spkssl.cli import cli
from spkssl.errors import InputError
from spkssl.io.ark import write_ark
from spkssl.io.tables import read_table
from spkssl.metrics.clusters import ari

YAML = """
seed: 3
cluster:
  algorithm: {name: kmeans, restarts: 2}
  num_clusters: 6
"""


@pytest.fixture
def exp(tmp_path):
    embed(tmp_path / "exp", "pretrain")
    (tmp_path / "c.yaml").write_text(YAML)
    return tmp_path / "exp"


def truth():
    return np.repeat(np.arange(6), 10 + np.arange(6))


def embed(exp, at, seed=0):
    rng = np.random.default_rng(seed)
    x = 4 * rng.normal(size=(6, 8))[truth()] + 0.4 * rng.normal(size=(len(truth()), 8))
    folder = exp / at / "emb" / "train"
    folder.mkdir(parents=True)
    write_ark(folder / "xvector.ark", folder / "xvector.scp", ((f"u{i:03d}", v.astype("f4")) for i, v in enumerate(x)))


def run(exp, *options):
    common = ["--config", str(exp.parent / "c.yaml"), "--exp", str(exp), "--data", str(exp.parent / "data")]
    result = CliRunner().invoke(cli, ["cluster", *common, *options], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.output


def info(exp, at="pretrain"):
    return json.loads((exp / at / "labels" / "info.json").read_text())


def labels(exp, at="pretrain"):
    return np.array([int(v) for v in read_table(exp / at / "labels" / "utt2cluster").values()])


def test_labels_centroids_and_report_are_written(exp):
    output = run(exp)
    assert "6 clusters of 75 utterances by kmeans" in output
    assert ari(truth(), labels(exp)) == 1
    centroids = np.load(exp / "pretrain" / "labels" / "centroids.npy")
    assert centroids.shape == (6, 8) and centroids.dtype == np.float32
    found = info(exp)
    assert (found["num_clusters"], found["utts"], found["left_out"], found["seed"]) == (6, 75, 0, 3)
    assert found["algorithm"]["restarts"] == 2 and found["quality"]["nmi_with_previous"] is None


def test_second_call_does_nothing_and_another_seed_does(exp):
    run(exp)
    assert "up to date" in run(exp)
    assert "seed" in run(exp, "--seed", "4")
    assert "forced" in run(exp, "--seed", "4", "--force")


def test_dry_run_writes_nothing(exp):
    assert "would run" in run(exp, "--dry-run")
    assert not (exp / "pretrain" / "labels").exists()


def test_changed_embeddings_are_noticed(exp):
    run(exp)
    scp = exp / "pretrain" / "emb" / "train" / "xvector.scp"
    scp.write_text("".join(scp.read_text().splitlines(keepends=True)[:-1]))
    assert "xvector.scp changed" in run(exp)
    assert len(labels(exp)) == 74


def test_flags_swap_the_clustering(exp):
    run(exp, "--cluster", "ahc", "--num-clusters", "4")
    assert info(exp)["algorithm"]["name"] == "ahc" and info(exp)["num_clusters"] == 4
    run(exp, "--cluster", "kmeans")  # the YAML's own: its settings stay
    assert info(exp)["algorithm"]["restarts"] == 2


def test_number_can_be_left_to_an_estimate(exp):
    run(exp, "--cluster", "ahc", "--num-clusters", "auto")
    assert info(exp)["estimate"]["number"] >= 2 and info(exp)["settings"]["num_clusters"] == "auto"


def test_number_of_the_yaml_that_does_not_apply_is_said(exp):
    assert "num_clusters 6 is not used" in run(exp, "--cluster", "hdbscan")
    with pytest.raises(InputError, match="finds the number of clusters itself"):
        run(exp, "--cluster", "hdbscan", "--num-clusters", "6")


def test_left_out_utterances_are_written_as_minus_one(exp):
    run(exp, "--set", "cluster.min_size=12")
    assert (labels(exp) == -1).sum() == 10 + 11 == info(exp)["left_out"]


def test_round_is_compared_with_the_one_before(exp):
    run(exp)
    embed(exp, "round1", seed=1)
    assert "NMI 1.000 with the labels before" in run(exp, "--at", "round1")
    assert info(exp, "round1")["quality"]["nmi_with_previous"] == pytest.approx(1)


@pytest.mark.parametrize(
    "options, said",
    [
        (["--cluster", "kmean"], "did you mean kmeans"),
        (["--num-clusters", "ten"], "expected a whole number or auto, got 'ten'"),
        (["--num-clusters", "1"], "at least 2"),
        (["--num-clusters", "100"], "100 clusters asked for, of 75 utterances"),
        (["--at", "round7"], "run stage 4"),
    ],
)
def test_mistakes_are_said_in_a_line(exp, options, said):
    with pytest.raises(InputError, match=said) as error:
        run(exp, *options)
    assert "\n" not in str(error.value)


def test_misspelt_clustering_does_not_undo_what_is_done(exp):
    run(exp)
    with pytest.raises(InputError):
        run(exp, "--cluster", "kmean")
    assert "up to date" in run(exp)


def test_a_mistyped_setting_does_not_undo_what_is_done(exp):
    run(exp)
    with pytest.raises(InputError, match="c.yaml: cluster: unknown key algorithm.restart; did you mean algorithm.rest"):
        run(exp, "--set", "cluster.algorithm.restart=3")
    assert run(exp) == "cluster pretrain: up to date\n"


def test_set_swaps_the_clustering_as_the_flag_does(exp):
    said = run(exp, "--set", "cluster.algorithm.name=hdbscan")
    assert "c.yaml: cluster.algorithm is hdbscan by --set, not kmeans: dropped restarts; kept nothing\n" in said
    assert "hdbscan finds the number of clusters itself: num_clusters 6 is not used\n" in said
    assert info(exp)["algorithm"]["name"] == "hdbscan"


@pytest.mark.parametrize("written", ["{name: kmeans}", "kmeans"])
@pytest.mark.parametrize("setting", ["cluster.algorithm.name=hdbscan", "cluster.algorithm=hdbscan"])
def test_the_number_of_the_yaml_goes_with_the_algorithm_that_set_replaces(exp, written, setting):
    (exp.parent / "c.yaml").write_text(f"cluster: {{algorithm: {written}, num_clusters: 6}}\n")
    assert "hdbscan finds the number of clusters itself: num_clusters 6 is not used\n" in run(exp, "--set", setting)
    assert info(exp)["algorithm"]["name"] == "hdbscan"


def test_a_number_that_set_gives_to_the_yamls_own_algorithm_is_an_error(exp):
    (exp.parent / "c.yaml").write_text("cluster: {algorithm: hdbscan}\n")
    with pytest.raises(InputError, match="finds the number of clusters itself"):
        run(exp, "--set", "cluster.num_clusters=6")


@pytest.mark.parametrize(("value", "got"), [("5", "5"), ("kmeans", "'kmeans'"), ("0", "0"), ("[a]", r"\['a'\]")])
def test_a_value_in_place_of_the_section_is_an_error(exp, value, got):
    with pytest.raises(InputError, match=f"^.*c.yaml: cluster: expected a section, got {got}$"):
        run(exp, "--set", f"cluster={value}")


def test_a_list_in_place_of_the_algorithm_is_an_error(exp):
    with pytest.raises(InputError, match="algorithm: expected a section with a name"):
        run(exp, "--set", "cluster.algorithm=[a]")


def shorten(exp):
    scp = exp / "pretrain" / "emb" / "train" / "xvector.scp"
    scp.write_text("".join(scp.read_text().splitlines(keepends=True)[:-1]))


def test_labels_to_keep_are_made_where_there_are_none_and_stay_as_they_were_made(exp):
    assert "not done yet" in run(exp, "--keep") and info(exp)["algorithm"]["name"] == "kmeans"
    run(exp, "--cluster", "ahc", "--num-clusters", "4", "--set", "cluster.min_size=2")
    assert run(exp, "--keep", "--seed", "8") == "cluster pretrain: up to date\n"
    shorten(exp)
    assert "xvector.scp changed" in run(exp, "--keep", "--seed", "8")
    made = info(exp)
    assert made["algorithm"]["name"] == "ahc" and made["num_clusters"] == 4 and made["seed"] == 3
    assert made["settings"]["min_size"] == 2 and len(labels(exp)) == 74


@pytest.mark.parametrize("asked", [("--cluster", "kmeans"), ("--num-clusters", "5"), ("--set", "cluster.min_size=1")])
def test_labels_to_keep_are_made_anew_where_a_clustering_is_asked_for(exp, asked):
    run(exp, "--cluster", "ahc", "--num-clusters", "4")
    assert "changed" in run(exp, "--keep", *asked)
    assert info(exp)["algorithm"]["name"] == "kmeans"


def test_labels_to_keep_whose_making_cannot_be_known_stay_and_it_is_said(exp):
    run(exp)
    before = labels(exp)
    shutil.rmtree(exp / "pretrain" / "emb")
    path = exp / "pretrain" / "labels" / "utt2cluster"
    said = f"{path}: kept, though the embeddings they were made from are gone; stages 4 and 5 make them anew\n"
    assert run(exp, "--keep") == said
    (exp / ".done" / "cluster.pretrain.json").write_text("")
    unknown = said.replace("the embeddings they were made from are gone", "nothing tells how they were made")
    assert run(exp, "--keep") == unknown
    assert (labels(exp) == before).all()
    with pytest.raises(InputError, match="run stage 4"):
        run(exp)


def test_true_labels_are_not_read(exp):
    ref = exp.parent / "data" / "train" / "ref"
    ref.mkdir(parents=True)
    (ref / "utt2spk").write_bytes(b"\xff\xfe broken")
    run(exp)


def test_stage_does_not_import_torch(exp):
    code = "import sys\nfrom spkssl.cli import cli\ncli(sys.argv[1:], standalone_mode=False)\n"
    code += "assert 'torch' not in sys.modules"
    argv = ["cluster", "--config", str(exp.parent / "c.yaml"), "--exp", str(exp), "--data", "data"]
    subprocess.run([sys.executable, "-c", code, *argv], check=True)
