"""Scores -> calibrated log-likelihood ratios by logistic regression, fitted on development trials."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spkssl.errors import complain
from spkssl.io.atomic import write_json

Array = NDArray[np.float64]

RIDGE = 1e-6  # on the weights only: keeps separable data finite, moves others by about as much
_TOLERANCE = 1e-8  # of the gradient's norm
_STEPS = 200


@dataclass(frozen=True)
class Calibration:
    """llr = weights . features + bias."""

    weights: Array  # (F,)
    bias: float
    names: tuple[str, ...]  # of the features, the score first

    def __call__(self, features: NDArray[Any]) -> Array:
        """(P, F) or, for one feature, (P,) -> (P,)."""
        return _columns(features, len(self.weights)) @ self.weights + self.bias

    def save(self, path: str | Path) -> None:
        write_json(path, {"names": list(self.names), "weights": self.weights.tolist(), "bias": self.bias})


def load_calibration(path: str | Path) -> Calibration:
    try:
        tree = json.loads(Path(path).read_text(encoding="utf-8"))
        return Calibration(np.array(tree["weights"], np.float64), float(tree["bias"]), tuple(tree["names"]))
    except FileNotFoundError:
        raise complain(path, "no such calibration file") from None
    except (ValueError, KeyError, TypeError):
        raise complain(path, "is not a calibration written by spkssl score") from None


def fit_calibration(
    features: NDArray[Any],
    is_target: NDArray[np.bool_],
    *,
    names: tuple[str, ...] = ("score",),
    prior: float = 0.5,
    ridge: float = RIDGE,
) -> Calibration:
    """Minimise the prior-weighted cross-entropy (Cllr where the prior is 1/2) by Newton's method; it is convex.

    prior mean_tar softplus(-(llr + logit prior)) + (1 - prior) mean_non softplus(llr + logit prior) + ridge/2 |w|^2
    """
    f = _columns(features, len(names))
    is_target = np.asarray(is_target, bool)
    if not 0 < prior < 1:
        raise complain("calibration", f"prior {prior} is outside 0..1")
    if not np.isfinite(f).all():
        raise complain("calibration", "a score or a quality measure is NaN or infinite")
    if is_target.all() or not is_target.any():
        raise complain("calibration", "the trials are all of one class", "give a list with targets and non-targets")
    problem = _Problem(np.column_stack([f, np.ones(len(f))]), is_target, prior, ridge)
    # The optimum does not depend on units, but Newton's path does: start from standardised features.
    theta = np.append(np.full(f.shape[1], 1 / f.shape[1]) / np.maximum(f.std(axis=0), 1e-12), 0.0)
    theta[-1] = -theta[:-1] @ f.mean(axis=0)
    theta = problem.minimise(theta)
    return Calibration(theta[:-1], float(theta[-1]), names)


class _Problem:
    def __init__(self, x: Array, is_target: NDArray[np.bool_], prior: float, ridge: float) -> None:
        self.x, self.sign = x, np.where(is_target, 1.0, -1.0)
        self.weight = np.where(is_target, prior / is_target.sum(), (1 - prior) / (~is_target).sum())
        self.shift = np.log(prior / (1 - prior))
        self.ridge = np.append(np.full(x.shape[1] - 1, ridge), 0.0)

    def loss(self, theta: Array) -> float:
        margin = self.sign * (self.x @ theta + self.shift)
        return float(self.weight @ np.logaddexp(0, -margin) + 0.5 * self.ridge @ theta**2)

    def minimise(self, theta: Array) -> Array:
        loss = self.loss(theta)
        for _ in range(_STEPS):
            margin = self.sign * (self.x @ theta + self.shift)
            wrong = np.exp(-np.logaddexp(0, margin))  # sigmoid(-margin)
            gradient = -self.x.T @ (self.weight * self.sign * wrong) + self.ridge * theta
            if np.linalg.norm(gradient) < _TOLERANCE:
                break
            curvature = (self.x * (self.weight * wrong * (1 - wrong))[:, None]).T @ self.x + np.diag(self.ridge)
            step = np.linalg.lstsq(curvature, gradient, rcond=1e-15)[0]
            scale = 1.0
            while (tried := self.loss(theta - scale * step)) > loss and scale > 1e-10:
                scale /= 2
            if scale <= 1e-10:  # no descent left in double precision
                break
            theta, loss = theta - scale * step, tried
        return theta


def _columns(features: NDArray[Any], width: int) -> Array:
    f = np.asarray(features, np.float64)
    f = f[:, None] if f.ndim == 1 else f
    if f.ndim != 2 or f.shape[1] != width:
        raise complain("calibration", f"expected {width} features per trial, got the shape {f.shape}")
    return f
