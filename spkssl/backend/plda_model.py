"""Two-covariance PLDA in the basis where W is the identity and B is diagonal (Kaldi ivector/plda.cc).

Class centre y ~ N(mu, B), vector x = y + e, e ~ N(0, W). With A W A^T = I and A B A^T = diag(psi), everything about a
pair of vectors is a sum over dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from spkssl.errors import complain

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PldaModel:
    mean: Array  # (D,) mu
    transform: Array  # (D, D) A
    psi: Array  # (D,) between-class variances, in descending order when trained

    @property
    def dim(self) -> int:
        return len(self.mean)

    @property
    def offset(self) -> Array:
        return -self.transform @ self.mean

    @property
    def within(self) -> Array:
        """W = A^-1 A^-T."""
        inverse = np.linalg.inv(self.transform)
        return inverse @ inverse.T

    @property
    def between(self) -> Array:
        """B = A^-1 diag(psi) A^-T."""
        inverse = np.linalg.inv(self.transform)
        return (inverse * self.psi) @ inverse.T

    def project(self, x: Array) -> Array:
        """u = A (x - mu): (N, D) -> (N, D)."""
        return x @ self.transform.T + self.offset

    def length_factor(self, u: Array, counts: Array | float = 1.0, simple: bool = False) -> Array:
        """(N,) factors by which Kaldi's scorer multiplies projected vectors; `counts`: utterances behind each."""
        if simple:
            energy = np.einsum("nd,nd->n", u, u)
        else:  # the variance of u_i is psi_i + 1/n
            variances = self.psi + 1 / np.broadcast_to(counts, len(u))[:, None]  # (N, D)
            energy = np.einsum("nd,nd,nd->n", u, u, 1 / variances)
        return np.sqrt(self.dim / np.where(energy == 0, self.dim, energy))

    def posterior(self, counts: Array) -> tuple[Array, Array]:
        """Of a test vector given n enrolment vectors: gain of their average, and variance; (N, D) each."""
        n = np.asarray(counts, np.float64)[:, None]
        return n * self.psi / (n * self.psi + 1), 1 + self.psi / (n * self.psi + 1)

    def smooth(self, alpha: float) -> PldaModel:
        """Move a part of the between-class variance into W (ivector-copy-plda --smoothing)."""
        if not 0 <= alpha <= 1:
            raise complain("PLDA", f"smoothing {alpha} is outside 0..1")
        within = 1 + alpha * self.psi
        return replace(self, psi=self.psi / within, transform=self.transform / np.sqrt(within)[:, None])

    def apply(self, projection: Array) -> PldaModel:
        """The model of P x."""
        return from_covariances(
            projection @ self.mean, projection @ self.within @ projection.T, projection @ self.between @ projection.T
        )


def from_covariances(mean: Array, within: Array, between: Array) -> PldaModel:
    transform, psi = diagonalise(within, between)
    return PldaModel(mean, transform, psi)


def diagonalise(within: Array, between: Array) -> tuple[Array, Array]:
    """A and psi with A W A^T = I, A B A^T = diag(psi), psi descending and not negative."""
    try:
        C = scipy.linalg.cholesky(within, lower=True)  # W = C C^T
    except scipy.linalg.LinAlgError:
        what = "the within-class covariance is not positive definite"
        raise complain("PLDA", what, "use more data or fewer dimensions") from None
    half = scipy.linalg.solve_triangular(C, between, lower=True)
    psi, U = scipy.linalg.eigh(scipy.linalg.solve_triangular(C, half.T, lower=True))  # C^-1 B C^-T = U psi U^T
    transform = scipy.linalg.solve_triangular(C, U[:, ::-1], lower=True, trans="T").T  # U^T C^-1
    return transform, np.maximum(psi[::-1], 0)


def llr(model: PldaModel, enrol: Array, test: Array, counts: Array | float = 1.0) -> Array:
    """Log-likelihood ratios of projected rows, pair by pair: (P, D), (P, D) -> (P,). Plda.pairs is the fast form."""
    gain, variance = model.posterior(np.broadcast_to(counts, len(enrol)))
    total = 1 + model.psi
    terms = np.log(total / variance) + test**2 / total - (test - gain * enrol) ** 2 / variance
    return 0.5 * terms.sum(axis=1)
