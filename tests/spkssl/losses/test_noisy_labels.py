"""Gate, noise model and vote together on Gaussian classes: what the parts are for."""

import copy

import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from spkssl.losses.aam import aam_logits, aam_losses, class_cosines, cross_entropies, weighted_mean
from spkssl.losses.gate import acceptance_threshold, gated_mean, keep_below
from spkssl.losses.noise_model import fit_clean, push, start_queue, vote


def classes(generator, count, per_class, dims, within):
    centres = torch.randn(count, dims, generator=generator)
    label = torch.arange(count).repeat_interleave(per_class)
    return centres[label] + within * torch.randn(len(label), dims, generator=generator), label


def flip(label, share, num_classes, generator):
    flipped = torch.rand(len(label), generator=generator) < share
    shift = torch.randint(1, num_classes, label.shape, generator=generator)
    return torch.where(flipped, (label + shift) % num_classes, label), flipped


class Toy(torch.nn.Module):
    """A linear encoder under a margin head."""

    def __init__(self, dims, num_classes, generator, embed=32):
        super().__init__()
        self.encoder = torch.nn.Parameter(torch.randn(dims, embed, generator=generator) / dims**0.5)
        self.head = torch.nn.Parameter(torch.randn(num_classes, embed, generator=generator))

    def cosines(self, x):
        return class_cosines(x @ self.encoder, self.head)


def batches(count, size, generator):
    return torch.randperm(count, generator=generator).split(size)


def test_gate_at_the_loss_quantile_selects_clean_labels():
    generator = torch.Generator().manual_seed(0)
    x, truth = classes(generator, 20, 60, 32, 0.5)
    label, flipped = flip(truth, 0.3, 20, generator)
    toy = Toy(32, 20, generator)
    optimiser = torch.optim.Adam(toy.parameters(), 1e-2)
    for _ in range(8):
        for rows in batches(len(x), 50, generator):
            optimiser.zero_grad()
            aam_losses(x[rows] @ toy.encoder, toy.head, label[rows], 0.2, 30.0).mean().backward()
            optimiser.step()
    losses = aam_losses(x @ toy.encoder, toy.head, label, 0.2, 30.0).detach()
    kept = keep_below(losses, acceptance_threshold(losses, 0.6))
    assert losses[flipped].median() > 3 * losses[~flipped].median()
    assert float((~flipped)[kept].double().mean()) >= 0.98  # 0.70 of all are clean
    assert gated_mean(losses, kept) < losses.mean()


def reflect(seed, epochs, *, margin_in_teacher=False, early_loss_of="label in use"):
    """SSRL on a linear toy: NMI before and after, and mean weights of clean and flipped labels after epoch 3."""
    generator = torch.Generator().manual_seed(seed)
    x, truth = classes(generator, 10, 60, 32, 1.2)
    found = KMeans(20, n_init=3, random_state=seed).fit(x.numpy())
    label, flipped = flip(torch.from_numpy(found.labels_).long(), 0.1, 20, generator)
    student = Toy(32, 20, generator)
    with torch.no_grad():
        student.head.copy_(torch.from_numpy(found.cluster_centers_) @ student.encoder)
    teacher = copy.deepcopy(student)
    optimiser = torch.optim.Adam(student.parameters(), 5e-3)
    queue, weight, active = start_queue(label, 5), torch.ones(len(x)), torch.ones(20, dtype=torch.bool)
    initial, early, step, total = label.clone(), None, 0, epochs * 30
    for epoch in range(epochs):
        guess, loss = label.clone(), torch.zeros(len(x))
        for rows in batches(len(x), 20, generator):
            with torch.no_grad():
                margin = label[rows] if margin_in_teacher else None
                logits = aam_logits(teacher.cosines(x[rows]), margin, 0.2, 32.0, ~active)
                guess[rows] = logits.argmax(-1)
                candidate = vote(push(queue[rows], guess[rows]))
                if epoch < 4:
                    candidate = label[rows] if early_loss_of == "label in use" else guess[rows]
                loss[rows] = cross_entropies(logits, candidate)
            noisy = x[rows] + 0.5 * torch.randn(x[rows].shape, generator=generator)
            losses = cross_entropies(aam_logits(student.cosines(noisy), label[rows], 0.2, 32.0, ~active), label[rows])
            optimiser.zero_grad()
            weighted_mean(losses, weight[rows]).backward()
            optimiser.step()
            decay = 0.999 - 0.009 * (1 - step / total)
            step += 1
            for t, s in zip(teacher.parameters(), student.parameters(), strict=True):
                t.data.lerp_(s.data, 1 - decay)
        if epoch >= 2:
            queue = push(queue, guess)
            weight = fit_clean(loss, (0.5, 99.5), variance_floor=1e-3, monotone=True).probability.float()
        if epoch == 2:
            early = float(weight[~flipped].mean()), float(weight[flipped].mean())
        if epoch >= 4:
            label = vote(queue)
            active = torch.zeros(20, dtype=torch.bool).index_fill(0, label.unique(), True)
    nmi = [normalized_mutual_info_score(truth, labels) for labels in (initial, label)]
    return nmi, early


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("margin_in_teacher", [False, True])
def test_reflective_learning_improves_the_labels(seed, margin_in_teacher):
    (before, after), _ = reflect(seed, 25, margin_in_teacher=margin_in_teacher)
    assert after > before + 0.05


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_early_weights_favour_clean_labels_only_when_they_judge_the_label_in_use(seed):
    _, (clean, flipped) = reflect(seed, 3)
    assert clean > flipped
    _, (clean, flipped) = reflect(seed, 3, margin_in_teacher=True, early_loss_of="own guess")
    assert clean < flipped


def rounds(seed, gated):
    """NMI of the first clustering and of those after each of three rounds on labels of which 30 % are flipped."""
    generator = torch.Generator().manual_seed(seed)
    x, truth = classes(generator, 10, 60, 32, 1.2)
    space, scores = x, []
    for _ in range(4):
        found = KMeans(12, n_init=5, random_state=seed).fit(torch.nn.functional.normalize(space, dim=-1).numpy())
        scores.append(normalized_mutual_info_score(truth, found.labels_))
        label, _ = flip(torch.from_numpy(found.labels_).long(), 0.3, 12, generator)
        toy = Toy(32, 12, generator)
        optimiser = torch.optim.Adam(toy.parameters(), 5e-3)
        for epoch in range(10):
            with torch.no_grad():
                every = aam_losses(x @ toy.encoder, toy.head, label, 0.2, 30.0)
            tau = acceptance_threshold(every, 0.6) if gated and epoch >= 4 else float("inf")
            for rows in batches(len(x), 20, generator):
                losses = aam_losses(x[rows] @ toy.encoder, toy.head, label[rows], 0.2, 30.0)
                optimiser.zero_grad()
                gated_mean(losses, keep_below(losses, tau)).backward()
                optimiser.step()
        space = (x @ toy.encoder).detach()
    return scores


@pytest.mark.parametrize("seed", [0, 1])
def test_rounds_with_a_gate_keep_better_clusters_than_rounds_without(seed):
    gated, ungated = rounds(seed, True), rounds(seed, False)
    assert gated[0] == ungated[0]
    assert all(with_gate > without for with_gate, without in zip(gated[1:], ungated[1:], strict=True))
