"""A mixture of two Gaussians on a line, fitted by EM in float64 without any random start."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_MIN_COUNT = 1e-12  # a component that owns nothing keeps its place instead of dividing by zero


class Mixture(NamedTuple):
    """weights, means and stds, float64 (2,) each; component 0 has the smaller mean."""

    weights: Tensor
    means: Tensor
    stds: Tensor

    def log_joint(self, x: Tensor) -> Tensor:
        """ln( w_k N(x; m_k, s_k) ): (..., 2)."""
        z = (x.unsqueeze(-1).double() - self.means) / self.stds
        return self.weights.log() - self.stds.log() - 0.5 * math.log(2 * math.pi) - 0.5 * z.square()

    def log_odds(self) -> tuple[float, float, float]:
        """a, b, c with ln(component 0 / component 1)(x) = a x^2 + b x + c."""
        (w1, w2), (m1, m2), (s1, s2) = (part.tolist() for part in self)
        a = 1 / (2 * s2**2) - 1 / (2 * s1**2)
        b = m1 / s1**2 - m2 / s2**2
        c = m2**2 / (2 * s2**2) - m1**2 / (2 * s1**2) + math.log(w1 * s2 / (w2 * s1))
        return a, b, c

    def separation(self) -> float:
        """Distance of the means in pooled standard deviations."""
        pooled = (self.weights * self.stds.square()).sum().sqrt()
        return float((self.means[1] - self.means[0]) / pooled)


@torch.no_grad()
def fit_mixture(x: Tensor, tol: float = 1e-5, max_iter: int = 500, variance_floor: float = 1e-6) -> Mixture:
    """Fit to all elements of x; stops when the mean log-likelihood gains less than `tol`.

    The start is the best 2-means partition, which on a line is a cut of the sorted values. As x is sorted first, the
    fit does not depend on the order of the values, to the last bit. Non-finite values are left out.
    """
    x = x.detach().double().flatten()
    x = x[x.isfinite()].sort().values
    if len(x) < 2:
        raise ValueError(f"a mixture of two needs at least two finite values (got {len(x)})")
    shift = x.mean()  # sums of squares are taken about the mean, else they cancel
    x = x - shift
    square = x.square()
    totals = torch.stack([x.new_tensor(float(len(x))), x.sum(), square.sum()])  # (3,)
    upper = (torch.arange(len(x), device=x.device) >= _best_cut(x)).double()
    mixture = _maximise(upper, x, square, totals, variance_floor)
    likelihood = -math.inf
    for _ in range(max_iter):
        first, second = mixture.log_joint(x).unbind(-1)  # (N,) each
        mixture = _maximise((second - first).sigmoid(), x, square, totals, variance_floor)
        before, likelihood = likelihood, float(torch.logaddexp(first, second).mean())
        if abs(likelihood - before) < tol:
            break
    order = mixture.means.argsort(stable=True)
    return Mixture(mixture.weights[order], mixture.means[order] + shift, mixture.stds[order])


@torch.no_grad()
def clip_percentiles(x: Tensor, low: float, high: float, floor: float = -math.inf) -> tuple[Tensor, Tensor]:
    """x (float64) clipped to its `low` and `high` percentiles (0..100) and to `floor`, and which values lay inside.

    Percentiles interpolate linearly and are taken over the values that are not NaN.
    """
    x = x.detach().double()
    ordered = x[~x.isnan()].sort().values
    lo = max(_percentile(ordered, low), floor)
    hi = max(_percentile(ordered, high), lo)
    return x.clamp(lo, hi), (x >= lo) & (x <= hi)


def _percentile(ordered: Tensor, percent: float) -> float:
    place = percent / 100 * (len(ordered) - 1)
    below = float(ordered[math.floor(place)])
    above = float(ordered[math.ceil(place)])
    part = place - math.floor(place)
    return below if part == 0 or below == above else below + part * (above - below)


def _best_cut(ordered: Tensor) -> int:
    """Index at which the second group of the best 2-means partition of sorted values starts."""
    count = torch.arange(1, len(ordered), dtype=torch.float64, device=ordered.device)  # (N - 1,)
    left = ordered.cumsum(0)[:-1]
    right = ordered.sum() - left
    # The within-group scatter is smallest where (sum of group)^2 / (size of group), added up, is largest.
    return int((left.square() / count + right.square() / (len(ordered) - count)).argmax()) + 1


def _maximise(upper: Tensor, x: Tensor, square: Tensor, totals: Tensor, variance_floor: float) -> Mixture:
    """Weights, means and stds from the responsibilities of the second component (N,)."""
    second = torch.stack([upper.sum(), upper.dot(x), upper.dot(square)])  # count, sum, sum of squares
    moments = torch.stack([totals - second, second])  # (2, 3)
    count = moments[:, 0].clamp_min(_MIN_COUNT)
    means = moments[:, 1] / count
    variances = (moments[:, 2] / count - means.square()).clamp_min(variance_floor)
    return Mixture(count / count.sum(), means, variances.sqrt())
