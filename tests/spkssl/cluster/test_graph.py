"""Graph criteria by hand: map equation, modularity, Laplacian, path integrals; and moves against brute force."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from spkssl.cluster.communities import MapEquation, Modularity, Move, communities, flow_of, quality
from spkssl.cluster.communities import _totals as totals
from spkssl.cluster.graph import Config, Graph
from spkssl.cluster.hdbscan import project
from spkssl.cluster.knn_graph import connected_parts
from spkssl.cluster.pic import affinity, path_integral
from spkssl.cluster.spectral import laplacian, largest_gap, smallest_eigen
from spkssl.metrics.clusters import ari

EDGES = csr_array(np.kron(np.eye(2), [[0, 1], [1, 0]]))  # two disjoint edges
TRIANGLES = csr_array(np.kron(np.eye(2), np.ones((3, 3)) - np.eye(3)))


def random_graph(seed, n=12, share=0.4):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n, n)) * (rng.random((n, n)) < share), 1)
    return csr_array(upper + upper.T)


def test_map_equation_of_two_edges():
    assert quality(EDGES, np.array([0, 0, 0, 0]), MapEquation()) == pytest.approx(2)
    assert quality(EDGES, np.array([0, 0, 1, 1]), MapEquation()) == pytest.approx(1)


def test_modularity_of_two_edges():
    assert quality(EDGES, np.array([0, 0, 1, 1]), Modularity()) == pytest.approx(0.5)
    assert quality(EDGES, np.array([0, 0, 0, 0]), Modularity()) == pytest.approx(0)


def test_map_equation_of_a_whole_is_the_entropy_of_its_nodes():
    graph = random_graph(0)
    p = flow_of(graph).strength
    assert quality(graph, np.zeros(12, int), MapEquation()) == pytest.approx(-(p[p > 0] * np.log2(p[p > 0])).sum())


@pytest.mark.parametrize("objective", [MapEquation(), MapEquation(2.5), Modularity(), Modularity(3.0)])
def test_change_of_a_move_is_the_difference_of_the_values(objective):
    rng, graph = np.random.default_rng(0), random_graph(1)
    flow, labels = flow_of(graph), rng.integers(0, 4, 12)
    strength, leaving = totals(flow, labels)
    dense = flow.links.toarray()
    for node in range(12):
        for b in set(labels) - {labels[node]}:
            a, moved = labels[node], labels.copy()
            moved[node] = b
            expected = objective.value(*totals(flow, moved)) - objective.value(strength, leaving)
            to_a, to_b = dense[node, labels == a].sum(), dense[node, labels == b].sum()
            move = Move(
                flow.strength[node], flow.outgoing[node], to_a, to_b,
                strength[a], strength[b], leaving[a], leaving[b], leaving.sum(),
            )  # fmt: skip
            assert objective.change(move) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("objective", [MapEquation(), Modularity()])
@pytest.mark.parametrize("graph, parts", [(EDGES, [0, 0, 1, 1]), (TRIANGLES, [0, 0, 0, 1, 1, 1])])
def test_disjoint_parts_are_the_communities(objective, graph, parts):
    assert ari(parts, communities(graph, objective, np.random.default_rng(0))) == 1


@pytest.mark.parametrize("objective", [MapEquation(), Modularity()])
@pytest.mark.parametrize("seed", range(3))
def test_communities_are_near_the_best_of_all_partitions(objective, seed):
    graph = random_graph(seed, n=7, share=0.5)
    sign = -1 if isinstance(objective, Modularity) else 1
    best = min(sign * quality(graph, np.array(labels), objective) for labels in partitions(7))
    found = [communities(graph, objective, np.random.default_rng(k)) for k in range(5)]
    assert min(sign * quality(graph, labels, objective) for labels in found) <= best + 0.02


def partitions(n):
    """All partitions as restricted growth strings."""
    stack = [(0,)]
    while stack:
        labels = stack.pop()
        if len(labels) == n:
            yield labels
        else:
            stack += [(*labels, k) for k in range(max(labels) + 2)]


def test_map_equation_keeps_small_cliques_apart_where_modularity_joins_them():
    ring = np.kron(np.eye(30), np.ones((5, 5)) - np.eye(5))
    for k in range(30):
        a, b = 5 * k, (5 * k + 6) % 150
        ring[a, b] = ring[b, a] = 1
    truth = np.repeat(np.arange(30), 5)
    assert ari(truth, communities(csr_array(ring), MapEquation(), np.random.default_rng(0))) == 1
    assert communities(csr_array(ring), Modularity(), np.random.default_rng(0)).max() + 1 < 30


def test_graph_without_links_leaves_every_node_alone():
    assert len(set(communities(csr_array((5, 5)), MapEquation(), np.random.default_rng(0)))) == 5


def test_disconnected_clusters_are_split():
    np.testing.assert_array_equal(connected_parts(EDGES, np.zeros(4, int)), [0, 0, 1, 1])


@pytest.mark.parametrize("number", [3, 12, 40])
def test_graph_reaches_any_number_asked_for(number):
    rng = np.random.default_rng(0)
    x = 3 * rng.normal(size=(12, 8))[np.repeat(np.arange(12), 20)] + rng.normal(size=(240, 8))
    labels = Graph(config=Config(), num_clusters=number).fit_predict(x, np.random.default_rng(0))
    assert labels.max() + 1 == number


def test_laplacian_of_two_triangles_has_two_zeros():
    values, _ = smallest_eigen(laplacian(TRIANGLES), 6, np.random.default_rng(0))
    np.testing.assert_allclose(values, [0, 0, 3, 3, 3, 3], atol=1e-12)
    assert largest_gap(values, 1, 5) == 2


def test_normalized_laplacian_of_two_triangles():
    values = np.linalg.eigvalsh(laplacian(TRIANGLES, normalized=True).toarray())
    np.testing.assert_allclose(values, [0, 0, 1.5, 1.5, 1.5, 1.5], atol=1e-12)


def test_sparse_eigenvalues_are_the_dense_ones(monkeypatch):
    matrix = laplacian(random_graph(0, n=80, share=0.1), normalized=True)
    dense = np.linalg.eigvalsh(matrix.toarray())[:10]
    monkeypatch.setattr("spkssl.cluster.spectral._DENSE", 10)
    values, vectors = smallest_eigen(matrix, 10, np.random.default_rng(0))
    np.testing.assert_allclose(values, dense, atol=1e-9)
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-8)


def test_path_integrals_of_two_nodes():
    both, one = np.array([True, True]), np.array([True, False])
    sure = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert path_integral(sure, both, 0.01) == pytest.approx(0.505051, abs=1e-6)
    assert path_integral(sure, one, 0.01) == pytest.approx(1.000100, abs=1e-6)
    assert path_integral(sure, one, 0.01, confined=True) == 1
    assert affinity(sure, one, 0.01) == pytest.approx(0.000200, abs=1e-6)
    assert path_integral(sure / 2, both, 0.01) == pytest.approx(0.502513, abs=1e-6)


@pytest.mark.parametrize("z", [0.01, 0.5])
def test_path_integral_is_that_of_the_inverse(z):
    rng = np.random.default_rng(0)
    steps = rng.random((6, 6))
    steps /= 1.1 * steps.sum(axis=1, keepdims=True)
    part = np.arange(6) < 2
    inverse = np.linalg.inv(np.eye(6) - z * steps)
    assert path_integral(steps, part, z) == pytest.approx(part @ inverse @ part / 4, rel=1e-12)
    own = np.linalg.inv(np.eye(2) - z * steps[:2, :2]).sum() / 4
    assert path_integral(csr_array(steps), part, z, confined=True) == pytest.approx(own, rel=1e-12)


def test_projection_keeps_the_distances_of_flat_data():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(50, 3)) @ rng.normal(size=(3, 20))).astype(np.float32)
    y = project(x, 3)
    assert y.shape == (50, 3)
    np.testing.assert_allclose(np.linalg.norm(y[0] - y, axis=1), np.linalg.norm(x[0] - x, axis=1), rtol=1e-3)
