"""Loss gates: which samples may teach, judged by their own loss (LGL, arXiv 2110.03869; DLG, arXiv 2208.01928)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spkssl.losses.gmm1d import Mixture, fit_mixture
from spkssl.losses.precision import full_precision


@torch.no_grad()
def keep_below(losses: Tensor, threshold: float) -> Tensor:
    """mask_i = [l_i <= tau], inclusive; NaN is never kept."""
    return losses.detach() <= threshold


@torch.no_grad()
def acceptance_threshold(losses: Tensor, rate: float) -> float:
    """The loss at which `keep_below` keeps a share `rate` of these losses (rounded up, at least one)."""
    if not 0 < rate <= 1:
        raise ValueError(f"an acceptance rate lies in (0, 1] (got {rate})")
    # The guard keeps 0.7 * 10 = 7.000000000000001 from becoming 8.
    place = max(1, math.ceil(rate * losses.numel() - 1e-9))
    return float(losses.detach().flatten().kthvalue(place).values)


@full_precision
def gated_mean(losses: Tensor, mask: Tensor) -> Tensor:
    """sum_i mask_i l_i / sum_i mask_i; 0 with zero gradient where nothing is kept.

    Taken over one process's batch, as in the public code: not invariant to the split.
    """
    # where, not a product: an infinite loss that was rejected must not give 0 * inf
    return torch.where(mask, losses, 0.0).sum() / mask.sum().clamp_min(1)


def crossing(mixture: Mixture) -> float | None:
    """Where the two weighted densities are equal between the two means; None where they do not cross there.

    Between the means the log odds only fall, so there is at most one such point.
    """
    a, b, c = mixture.log_odds()
    low, high = mixture.means.tolist()
    if not (a * low + b) * low + c > 0 > (a * high + b) * high + c:
        return None
    # Roots of a x^2 + b x + c without cancellation, also for a -> 0 (equal variances)
    q = -0.5 * (b + math.copysign(math.sqrt(max(b * b - 4 * a * c, 0.0)), b))
    roots = [c / q] + ([q / a] if a else [])
    middle = 0.5 * (low + high)
    return min(roots, key=lambda root: abs(root - middle))


@torch.no_grad()
def dynamic_threshold(
    losses: Tensor,
    *,
    floor: float = -14.0,  # of ln l: what lies below is clean beyond doubt and would claim a component of its own
    min_count: int = 500,  # fewer losses above the floor than this do not support a fit
    min_separation: float = 1.0,  # means closer than this many pooled stds are one mode
    acceptance: tuple[float, float] = (0.10, 0.95),  # a gate that keeps less or more than this is a failed fit
) -> float | None:
    """DLG's threshold on ln l from last epoch's losses (N,), or None where the fit cannot be trusted.

    The caller then keeps its previous threshold, or no gate. Use it as `keep_below(log_loss(l), threshold)`.
    """
    x = log_loss(losses)
    x = x[x.isfinite()]
    # Left out rather than clipped: values piled up on the floor are a spike, which EM takes for a component.
    fitted = x[x > floor]
    if len(fitted) < max(min_count, 2):
        return None
    mixture = fit_mixture(fitted, tol=1e-5, max_iter=1000)
    threshold = crossing(mixture) if mixture.separation() > min_separation else None
    if threshold is None:
        return None
    kept = float((x <= threshold).double().mean())
    return threshold if acceptance[0] <= kept <= acceptance[1] else None


@torch.no_grad()
def log_loss(losses: Tensor) -> Tensor:
    """ln(l + 1e-12) in float64: finite for a loss of exactly zero."""
    return (losses.detach().double() + 1e-12).log()
