"""The table of cases. Importing it loads no network: cases import what they need when they run."""

from spkssl.bench import backends, clusters, features, scores, training
from spkssl.bench.case import Case

CASES: dict[str, Case] = {
    **scores.CASES,
    **backends.CASES,
    **clusters.CASES,
    **features.CASES,
    **training.CASES,
}
