"""Mean and variance normalisation of features: over the whole utterance or speaker, or over a sliding window.

Sums are cumulative and in float64, so the cost does not depend on the window.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SLIDING_FLOOR = 1e-10  # variance floor of Kaldi's apply-cmvn-sliding
_STATS_FLOOR = 1e-20  # and of its apply-cmvn


def sliding_cmn(
    features: Tensor, window: int = 300, center: bool = True, norm_vars: bool = False, min_window: int = 100
) -> Tensor:
    """(..., T, F) minus the mean of each frame's window, as Kaldi's apply-cmvn-sliding; its dtype is kept.

    Centred, the window of `window` frames moves inwards at the ends. Otherwise it covers the `window` frames before
    and the frame itself, and at least `min_window` frames at the start.
    """
    frames = features.shape[-2]
    if window < 1 or min_window < 1:
        raise ValueError(f"windows must have at least one frame, got {window} and {min_window}")
    if not center and min_window > window:
        raise ValueError(f"min_window must not exceed window = {window}, got {min_window}")
    if frames == 0:
        return features.clone()
    start, stop = _window_edges(frames, window, center, min_window, features.device)
    size = (stop - start).double()[:, None]  # (T, 1)
    x = features.double()
    mean = _window_sum(x, start, stop) / size  # (..., T, F)
    out = x - mean
    if norm_vars:
        variance = _window_sum(x.square(), start, stop) / size - mean.square()
        out = out * variance.clamp_min(_SLIDING_FLOOR).rsqrt()
    return out.to(features.dtype)


def cmvn_stats(features: Tensor) -> Tensor:
    """(T, F) -> (2, F + 1) float64: sums with the frame count at their end, sums of squares; stats add up."""
    x = features.double()
    count = x.new_tensor([len(x)])
    return torch.stack([torch.cat([x.sum(0), count]), torch.cat([x.square().sum(0), count * 0])])


def apply_cmvn(features: Tensor, stats: Tensor, norm_vars: bool = False) -> Tensor:
    """(..., T, F) normalised with stats of the utterance or of its speaker, as Kaldi's apply-cmvn; dtype is kept."""
    count = stats[0, -1]
    if count <= 0:
        raise ValueError("statistics of no frames")
    mean = stats[0, :-1] / count
    out = features.double() - mean
    if norm_vars:
        variance = stats[1, :-1] / count - mean.square()
        out = out * variance.clamp_min(_STATS_FLOOR).rsqrt()
    return out.to(features.dtype)


def _window_edges(
    frames: int, window: int, center: bool, min_window: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """First frame and end of every frame's window, both (T,)."""
    t = torch.arange(frames, device=device)
    start = t - window // 2 if center else t - window
    stop = start + window if center else t + 1
    stop, start = stop + (-start).clamp_min(0), start.clamp_min(0)  # shifted inside at the beginning
    if not center:
        stop = torch.where(stop > t, (t + 1).clamp_min(min_window), stop)
    over = (stop - frames).clamp_min(0)  # and at the end
    return (start - over).clamp_min(0), stop - over


def _window_sum(x: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    sums = torch.cat([torch.zeros_like(x[..., :1, :]), x.cumsum(-2)], -2)  # (..., T + 1, F)
    return sums[..., stop, :] - sums[..., start, :]
