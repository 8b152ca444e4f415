"""The PLDA back-end: mean subtraction, LDA or PCA, length normalisation, two-covariance PLDA (Kaldi's recipe).

Trained on pseudo-speakers; the chain is that of the VoxCeleb v2 and CN-Celeb recipes of Kaldi.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spkssl.backend import plda_adapt
from spkssl.backend.class_stats import stats_of
from spkssl.backend.lda import Affine, compute_lda, compute_whitening
from spkssl.backend.plda_em import train_plda
from spkssl.backend.plda_model import PldaModel
from spkssl.backend.store import load_arrays, save_arrays
from spkssl.backend.vectors import PAIR_BLOCK, as_labels, as_rows, blocks, length_normalise, mean_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Config:
    name: str = "plda"
    transform: Literal["lda", "pca", "none"] = "lda"
    dim: int | None = None  # kept by the transform, None = all (Kaldi: 200 of 512 for VoxCeleb, 150 for CN-Celeb)
    total_covariance_factor: float = 0.0  # of LDA; 0 in all of Kaldi's recipes
    length_norm: bool = True  # to sqrt(D), before PLDA
    iterations: int = 10  # ivector-compute-plda --num-em-iters
    smoothing: float = 0.0  # ivector-copy-plda --smoothing
    normalize_length: bool = True  # of projected vectors, ivector-plda-scoring --normalize-length
    simple_length_norm: bool = False  # to sqrt(D) instead of by the expected variances
    use_counts: bool = True  # score with the number of enrolment utterances; False: all averages count as one
    mean_diff_scale: float = 1.0  # of adaptation, as the next two: defaults of ivector-adapt-plda
    within_scale: float = 0.3
    between_scale: float = 0.7


class PldaSide(NamedTuple):
    u: Array  # (M, D) projected and length-normalised
    counts: Array  # (M,) utterances behind each row


class Plda:
    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self.mean: Array | None = None  # (D,) of the embeddings
        self.affine: Affine | None = None  # applied after mean subtraction
        self.model: PldaModel | None = None
        self.objective: list[float] = []  # log-likelihood per vector, by EM iteration

    def fit(self, x: NDArray[Any], labels: NDArray[np.int64] | None = None, mean: Array | None = None) -> Plda:
        """Label -1 = left out of LDA and PLDA; training is centred with the mean of all rows.

        `mean`: (D,) subtracted instead when scoring.
        """
        x, config = as_rows(x), self.config
        labels = as_labels(labels, len(x), "PLDA")
        self.mean, self.affine = mean_of(x), None
        if config.transform != "none":
            stats = stats_of(x, labels, lambda rows: rows - self.mean)
            dim = x.shape[1] if config.dim is None else config.dim
            if config.transform == "lda":
                self.affine, _ = compute_lda(stats, dim, config.total_covariance_factor)
            else:
                self.affine, _ = compute_whitening(stats, dim)
        model, self.objective = train_plda(stats_of(x, labels, self._chain), config.iterations)
        self.model = model.smooth(config.smoothing)
        self.mean = self.mean if mean is None else np.asarray(mean, np.float64)
        return self

    def adapt(self, x: NDArray[Any]) -> Plda:
        """Fit to another domain from (N, D) unlabelled embeddings; from here on their mean is what is subtracted."""
        assert self.model is not None, "fit comes before adapt"
        x, config = as_rows(x, self._dim), self.config
        self.mean = mean_of(x)
        seen = np.concatenate([self._chain(x[part].astype(np.float64)) for part in blocks(len(x))])
        mean, covariance = plda_adapt.moments(seen)
        self.model = plda_adapt.adapt(
            self.model, mean, covariance, mean_diff_scale=config.mean_diff_scale,
            within_scale=config.within_scale, between_scale=config.between_scale,
        )  # fmt: skip
        return self

    def project(self, x: NDArray[Any], counts: NDArray[Any] | None = None) -> PldaSide:
        assert self.model is not None, "fit comes before project"
        x, model, config = as_rows(x, self._dim), self.model, self.config
        used = np.ones(len(x)) if counts is None or not config.use_counts else np.asarray(counts, np.float64)
        u = np.empty((len(x), model.dim))
        for part in blocks(len(x)):
            rows = model.project(self._chain(x[part].astype(np.float64)))
            if config.normalize_length:
                rows *= model.length_factor(rows, used[part], config.simple_length_norm)[:, None]
            u[part] = rows
        return PldaSide(u, used)

    def pairs(self, enrol: PldaSide, test: PldaSide, i: NDArray[Any], j: NDArray[Any]) -> Array:
        """With gain g and variance v of the enrolment's count n (PldaModel.posterior), per dimension:

        LLR = 1/2 [log((1 + psi) / v) - (g u_e)^2 / v]  +  1/2 u_t^2 [1 / (1 + psi) - 1 / v]  +  (g u_e / v) u_t,
        a number per enrolment, a number per test and n, and one product per trial.
        """
        assert self.model is not None, "fit comes before pairs"
        psi = self.model.psi
        sizes, size = np.unique(enrol.counts, return_inverse=True)
        gain, variance = self.model.posterior(sizes)  # (sizes, D)
        constant = 0.5 * np.log((1 + psi) / variance).sum(axis=1)  # (sizes,)
        own, theirs = np.zeros(len(enrol.u)), np.zeros((len(test.u), len(sizes)))
        for rows in _parts(np.unique(i)):
            energy = np.einsum("nd,nd->n", enrol.u[rows] ** 2, (gain**2 / variance)[size[rows]])
            own[rows] = constant[size[rows]] - 0.5 * energy
        for rows in _parts(np.unique(j)):
            theirs[rows] = 0.5 * test.u[rows] ** 2 @ (1 / (1 + psi) - 1 / variance).T
        out = own[i] + theirs[j, size[i]]
        slope = gain / variance
        for part in blocks(len(i), PAIR_BLOCK):
            weighted = enrol.u[i[part]]
            weighted *= slope[0] if len(sizes) == 1 else slope[size[i[part]]]
            out[part] += np.einsum("pd,pd->p", weighted, test.u[j[part]])
        return out

    def score(self, enrol: NDArray[Any], test: NDArray[Any], counts: NDArray[Any] | None = None) -> Array:
        rows = np.arange(len(enrol))
        return self.pairs(self.project(enrol, counts), self.project(test), rows, rows)

    def save(self, path: str | Path) -> None:
        assert self.mean is not None and self.model is not None, "fit comes before save"
        model = self.model
        arrays = {"mean": self.mean, "plda_mean": model.mean, "transform": model.transform, "psi": model.psi}
        if self.affine is not None:
            arrays["affine"] = self.affine.matrix
        save_arrays(path, self.config, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Plda:
        config, arrays = load_arrays(path, Config)
        affine = Affine(arrays["affine"]) if "affine" in arrays else None
        model = PldaModel(arrays["plda_mean"], arrays["transform"], arrays["psi"])
        return cls(config).restore(arrays["mean"], affine, model)

    def restore(self, mean: Array, affine: Affine | None, model: PldaModel) -> Plda:
        """Take parts made elsewhere, as read from Kaldi's files."""
        self.mean, self.affine, self.model = mean, affine, model
        return self

    @property
    def _dim(self) -> int:
        assert self.mean is not None, "fit comes first"
        return len(self.mean)

    def _chain(self, rows: Array) -> Array:
        """Embeddings -> what PLDA models: (N, D) -> (N, d)."""
        rows = rows - self.mean
        if self.affine is not None:
            rows = self.affine(rows)
        return length_normalise(rows) if self.config.length_norm else rows


def _parts(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The rows a block at a time, so that no copy of all embeddings is made."""
    return (rows[part] for part in blocks(len(rows)))
