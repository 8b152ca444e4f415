"""The section `cluster`, and what surrounds every algorithm."""

import subprocess
import sys

import numpy as np
import pytest

from spkssl import config
from spkssl.cluster import ClusterConfig, kmeans
from spkssl.cluster.pipeline import cluster
from spkssl.cluster.purify import own_posterior
from spkssl.cluster.report import describe
from spkssl.cluster.vectors import prepare
from spkssl.errors import InputError
from spkssl.metrics.clusters import ari


def blobs(sizes=(30, 20, 10, 2), dim=8, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    return 4 * rng.normal(size=(len(sizes), dim))[truth] + 0.3 * rng.normal(size=(len(truth), dim)), truth


def run(x, **settings):
    return cluster(x, config.build(ClusterConfig, settings), np.random.default_rng(0))


def test_package_is_light_to_import():
    heavy = "('torch', 'faiss', 'sklearn', 'scipy')"
    code = f"import sys, spkssl.cluster; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_torch_is_never_imported():
    code = (
        "import sys, numpy as np\nfrom spkssl.cluster import *\nfrom spkssl.cluster.pipeline import cluster\n"
        "from spkssl.cluster.report import describe\nx = np.random.default_rng(0).normal(size=(60, 4))\n"
        "for name, (make, _) in CLUSTERERS.items():\n"
        "    settings = ClusterConfig(algorithm=make())\n"
        "    found = cluster(x, settings, np.random.default_rng(0))\n"
        "    describe(found, settings, [str(i) for i in range(60)], np.random.default_rng(0))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"num_clusters": 1}, "at least 2"),
        ({"num_clusters": "many"}, "expected auto"),
        ({"drop_far": 1.0}, "drop_far"),
        ({"min_posterior": 1.0}, "min_posterior"),
        ({"max_size": -1}, "max_size"),
        ({"over_cluster": 0.0}, "over_cluster"),
        ({"algorithm": "kmean"}, "did you mean kmeans"),
        ({"algorithm": {"name": "ahc", "linkage": "ward", "threshold": 0.5}}, "threshold"),
    ],
)
def test_bad_settings_are_named(settings, said):
    with pytest.raises(InputError, match=said):
        config.build(ClusterConfig, settings)


def test_number_and_small_clusters():
    x, truth = blobs()
    found = run(x, num_clusters=4, min_size=5)
    assert found.asked == 4 and found.estimate is None
    np.testing.assert_array_equal(found.labels, np.where(truth == 3, -1, truth))
    assert found.centroids.shape == (3, 8) and found.centroids.dtype == np.float32


def test_far_utterances_are_left_out():
    x, truth = blobs((30, 20))
    x[3] = -x[3]
    found = run(x, num_clusters=2, drop_far=0.02)
    assert found.labels[3] == -1 and (found.labels < 0).sum() == 1


def test_unsure_utterances_and_the_crowd_are_left_out():
    x = np.random.default_rng(0).normal(size=(60, 3)) + np.repeat([[2, 0, 0], [0, 2, 0]], 30, axis=0)
    whole = run(x, num_clusters=2)
    sure = own_posterior(whole.prepared, whole.labels) >= 0.9
    assert 0 < (~sure).sum() < 30
    found = run(x, num_clusters=2, min_posterior=0.9)
    np.testing.assert_array_equal(found.labels >= 0, sure)
    found = run(x, num_clusters=2, min_posterior=0.9, max_size=20)
    assert np.bincount(found.labels[found.labels >= 0]).tolist() == [20, 20] and not (found.labels[~sure] >= 0).any()


def test_threshold_leaves_the_number_to_the_algorithm():
    x, truth = blobs()
    found = run(x, algorithm={"name": "ahc", "threshold": 0.7})
    assert found.asked is None and ari(truth, found.labels) == 1
    with pytest.raises(InputError, match="finds the number of clusters itself"):
        run(x, algorithm={"name": "ahc", "threshold": 0.7}, num_clusters=4)


def test_more_clusters_than_utterances_is_an_error():
    with pytest.raises(InputError, match="63 clusters asked for, of 62 utterances"):
        run(blobs()[0], num_clusters=63)


def test_nothing_left_is_an_error():
    with pytest.raises(InputError, match="left out all 62 utterances"):
        run(blobs()[0], num_clusters=4, min_size=50)


def test_preparation():
    x = np.random.default_rng(0).normal(size=(30, 4)) + 5
    np.testing.assert_array_equal(prepare(x, normalize=False, center=False), x.astype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(prepare(x, normalize=True, center=False), axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(prepare(x, normalize=False, center=True).mean(axis=0), 0, atol=1e-5)
    both = prepare(x, normalize=True, center=True)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1, rtol=1e-6)
    assert np.abs(both.mean(axis=0)).max() < 0.3


def test_report_counts_and_compares(tmp_path):
    x, truth = blobs()
    settings = ClusterConfig(algorithm=kmeans.Config(), num_clusters=4, min_size=5, stability=2)
    found = cluster(x, settings, np.random.default_rng(0))
    utts = [f"u{i:02d}" for i in range(len(x))]
    earlier = tmp_path / "utt2cluster"
    earlier.write_text("".join(f"{utt} {label}\n" for utt, label in zip(utts, truth, strict=True)))
    info = describe(found, settings, utts, np.random.default_rng(1), earlier)
    assert (info["utts"], info["left_out"], info["num_clusters"], info["asked"]) == (62, 2, 3, 4)
    assert info["sizes"]["histogram"] == {"1": 0, "2": 0, "4": 0, "8": 1, "16": 2}
    quality = info["quality"]
    assert quality["nmi_with_previous"] == pytest.approx(1)
    assert quality["silhouette"] > 0.8 and quality["margin"] > 0.3 and quality["share_misplaced"] == 0
    assert quality["stability"]["ari"] > 0.9


def test_report_of_one_cluster_has_no_silhouette():
    x, _ = blobs()
    found = run(x, num_clusters=4, min_size=25)
    info = describe(found, ClusterConfig(num_clusters=4), ["u"] * len(x), np.random.default_rng(0))
    assert info["num_clusters"] == 1 and info["quality"]["silhouette"] is None


@pytest.mark.parametrize("name", ["ahc", "spectral", "pic", "hdbscan"])
def test_more_rows_than_an_algorithm_takes_are_clustered_all_the_same(name):
    x, truth = blobs((120, 100, 80, 60))
    number = "auto" if name == "hdbscan" else 4
    # leaf clusters of few sampled rows would split the blobs; excess of mass keeps them whole
    extra = {"leaf": False} if name == "hdbscan" else {}
    found = run(x, algorithm={"name": name, "max_rows": 90, **extra}, num_clusters=number)
    kept = found.labels >= 0
    assert kept.mean() > 0.8 and ari(truth[kept], found.labels[kept]) > 0.9


def test_noise_joins_the_nearest_centre_when_told_to():
    rng = np.random.default_rng(0)
    x = np.eye(8)[np.repeat(np.arange(3), 40)] + 0.05 * rng.normal(size=(120, 8))
    x = np.r_[x, [[-1, -2, -2, 0, 0, 0, 0, 0]]]  # farther from all than they are from each other
    algorithm = {"name": "hdbscan", "leaf": False}
    assert run(x, algorithm=algorithm).labels[-1] == -1
    joined = run(x, algorithm={**algorithm, "assign_noise": True}).labels
    assert joined[-1] == joined[0] and (joined >= 0).all()
