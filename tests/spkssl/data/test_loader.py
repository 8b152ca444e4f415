import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from spkssl.audio.augment.bank import open_noises, open_rirs
from spkssl.audio.augment.config import AUGMENTS
from spkssl.audio.fbank import Fbank, FbankConfig
from spkssl.contract import ViewSpec
from spkssl.data.dataset import Utterances
from spkssl.data.loader import Loader
from spkssl.data.samplers import SamplerConfig
from spkssl.errors import InputError
from spkssl.io.ark import read, read_scp

FBANK = FbankConfig(num_mel_bins=24)
PAIR = (ViewSpec("segment", 60, count=2, disjoint=True),)
TRIPLE = (ViewSpec("segment", 40, count=3, disjoint=True, crops=(0, 1, 1), profiles=(0, 0, 1)),)
MULTI = (
    ViewSpec("global", 100, group="g"),
    ViewSpec("local", 50, count=4),
    ViewSpec("short", 50, augment=False, group="g"),
)
LGL = AUGMENTS["lgl"]()


def loader(corpus, views=PAIR, mode="feats", batch_size=8, cache="auto", labels=True, augment=LGL, **more):
    utterances = Utterances.open(corpus / "train", mode, labels=corpus / "labels" if labels else None, cache=cache)
    banks = {"noises": open_noises(corpus / "noise", mode, cache), "rirs": open_rirs(corpus / "rir")}
    return Loader(utterances, views, augment, batch_size, fbank=FBANK, seed=3, **banks, **more)


def flat(batches):
    """All tensors of an epoch, in order."""
    found = []
    for batch in (batch for micros in batches for batch in micros):
        found += [*batch.views.values(), batch.index, *([] if batch.label is None else [batch.label])]
    return found


def same(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("mode", ["feats", "wave"])
def test_epochs_are_deterministic_and_differ(corpus, mode):
    first, second = loader(corpus, mode=mode), loader(corpus, mode=mode)
    epoch = flat(first.epoch(0))
    assert first.steps_per_epoch == 5
    assert same(epoch, flat(second.epoch(0)))
    assert not same(epoch, flat(first.epoch(1)))
    assert not same(epoch, flat(loader(corpus, mode=mode, labels=False).epoch(0)))  # without labels there is less


@pytest.mark.parametrize("mode", ["feats", "wave"])
def test_resuming_in_an_epoch_gives_the_rest_of_it(corpus, mode):
    one = loader(corpus, mode=mode)
    whole = list(one.epoch(2))
    assert same(flat(whole[3:]), flat(loader(corpus, mode=mode).epoch(2, first_step=3)))
    assert list(one.epoch(2, first_step=5)) == []


@pytest.mark.parametrize("mode", ["feats", "wave"])
def test_worker_processes_change_nothing(corpus, mode):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    worked = flat(loader(corpus, MULTI, mode, workers=2).epoch(1, first_step=1))
    assert torch.equal(before, torch.get_rng_state())  # nor do they draw from the global stream
    assert same(worked, flat(loader(corpus, MULTI, mode).epoch(1, first_step=1)))


@pytest.mark.parametrize("mode", ["feats", "wave"])
def test_the_cache_changes_nothing(corpus, mode):
    kept, read_anew = (loader(corpus, MULTI, mode, cache=cache) for cache in ("ram", "none"))
    assert same(flat(kept.epoch(0)), flat(read_anew.epoch(0)))


@pytest.mark.parametrize("mode", ["feats", "wave"])
def test_ranks_and_micro_batches_are_the_global_batch_in_pieces(corpus, mode):
    whole = [b for [b] in loader(corpus, MULTI, mode).epoch(0)]
    pieces = [list(loader(corpus, MULTI, mode, rank=r, world=2, accumulate=2).epoch(0)) for r in range(2)]
    for step, batch in enumerate(whole):
        micros = [micro for rank in pieces for micro in rank[step]]
        assert len(micros) == 4 and all(len(micro.index) == 2 for micro in micros)
        assert torch.equal(torch.cat([m.index for m in micros]), batch.index)
        assert torch.equal(torch.cat([m.label for m in micros]), batch.label)
        for name, view in batch.views.items():
            torch.testing.assert_close(torch.cat([m.views[name] for m in micros]), view, rtol=1e-5, atol=1e-5)


def test_views_of_an_utterance_do_not_depend_on_its_batch(corpus):
    small = {}
    for [batch] in loader(corpus, batch_size=4).epoch(0):
        small.update(zip(batch.index.tolist(), batch.views["segment"], strict=True))
    for [batch] in loader(corpus, batch_size=20).epoch(0):
        for i, view in zip(batch.index, batch.views["segment"], strict=True):
            torch.testing.assert_close(view, small[int(i)], rtol=1e-5, atol=1e-5)


def test_clean_crops_are_pieces_of_their_utterance_and_labels_are_theirs(corpus):
    names = sorted(read_scp(corpus / "train" / "feats.scp"))
    mels = [read(read_scp(corpus / "train" / "feats.scp")[name]) for name in names]
    for [batch] in loader(corpus, MULTI, augment=None).epoch(0):
        for place, row in enumerate(batch.index.tolist()):
            assert int(batch.label[place]) == row % 8
            tiled = np.tile(mels[row], (4, 1))
            for name, frames in (("global", 100), ("short", 50), ("local", 50)):
                for crop in batch.views[name][place].numpy():
                    at = np.flatnonzero((tiled[: len(mels[row]) + 1] == crop[0]).all(1))
                    assert any(np.array_equal(tiled[a : a + frames], crop) for a in at)
            np.testing.assert_array_equal(batch.views["global"][place, 0, :50], batch.views["short"][place, 0])


def test_audio_crops_are_the_feature_crops(corpus):
    fbank = Fbank(FBANK)
    both = zip(loader(corpus, augment=None).epoch(0), loader(corpus, mode="wave", augment=None).epoch(0), strict=True)
    for [mels], [waves] in both:
        long = mels.index >= 12  # shorter ones are repeated, and a seam in audio spreads over frames
        torch.testing.assert_close(fbank(waves.views["segment"])[long], mels.views["segment"][long], rtol=0, atol=2e-3)


def test_unaugmented_kinds_stay_clean_and_augment_may_differ_by_kind(corpus):
    clean = list(loader(corpus, MULTI, augment=None).epoch(0))
    part = list(loader(corpus, MULTI, augment={"local": AUGMENTS["always"]()}).epoch(0))
    for [a], [b] in zip(clean, part, strict=True):
        assert torch.equal(a.views["global"], b.views["global"]) and torch.equal(a.views["short"], b.views["short"])
        assert not (a.views["local"] == b.views["local"]).flatten(2).all(2).any()
    whole = list(loader(corpus, MULTI, augment=AUGMENTS["always"]()).epoch(0))
    assert all(torch.equal(a.views["short"], b.views["short"]) for [a], [b] in zip(clean, whole, strict=True))


def test_thousand_triples_share_the_noise_file_and_never_overlap(corpus):
    one = loader(corpus, TRIPLE, augment=AUGMENTS["lgl_pretrain"](), sampler=SamplerConfig(min_frames=90))
    augmenter, seen, first_is_earlier, noisy = one._augmenters["segment"], 0, 0, 0
    gathered, cut = [], []
    augmenter.gather = lambda plan, frames: gathered.append(plan) or []
    store = one.utterances.store
    store.crop = lambda out, row, start, repeat: cut.append(start)
    epoch = 0
    while seen < 1000:
        order, again = one._sampler.order(epoch)
        one.draft(epoch, order, again)
        plan, starts = gathered.pop(), np.array(cut).reshape(-1, 3)
        cut.clear()
        assert (starts[:, 1] == starts[:, 2]).all()
        # 40 frames are 6640 samples: starts 42 frames apart share no sample.
        assert (np.abs(starts[:, 0] - starts[:, 1]) * 160 >= 6640).all()
        first_is_earlier += int((starts[:, 0] < starts[:, 1]).sum())
        noise, rir, snr = plan.noise[:, 0].reshape(-1, 3), plan.rir.reshape(-1, 3), plan.snr[:, 0].reshape(-1, 3)
        assert (noise[:, 0] == noise[:, 1]).all() and (rir[:, 0] == rir[:, 1]).all() and (snr[:, 0] == snr[:, 1]).all()
        moved = plan.start[:, 0].reshape(-1, 3)
        assert (moved[:, 0] != moved[:, 1]).all()
        noisy += int((noise[:, 0] != noise[:, 2]).sum())
        seen, epoch = seen + len(starts), epoch + 1
    assert abs(first_is_earlier / seen - 0.5) < 0.06
    assert noisy > 0.5 * seen  # the second profile is another one


def test_a_repeated_utterance_of_an_epoch_gets_other_crops(corpus):
    one = loader(corpus, batch_size=32, sampler=SamplerConfig("pk", utts_per_class=8))
    [[batch]] = one.epoch(0)
    rows = batch.index.tolist()
    twice = [row for row in set(rows) if rows.count(row) > 1]
    assert twice
    for row in twice:
        a, b, *_ = (batch.views["segment"][place] for place, other in enumerate(rows) if other == row)
        assert not torch.equal(a, b)


def test_last_batch_is_completed_without_drop_last(corpus):
    one = loader(corpus, batch_size=16, drop_last=False)
    index = torch.cat([b.index for [b] in one.epoch(0)])
    assert one.steps_per_epoch == 3 and len(index) == 48
    assert len(set(index[:40].tolist())) == 40 and torch.equal(index[40:], index[:8])


def test_short_utterances_end_in_silence_if_asked(corpus):
    views = (ViewSpec("all", 500),)
    [[batch], *_] = loader(corpus, views, augment=None, short="silence").epoch(0)
    lengths = Utterances.open(corpus / "train").num_frames
    for crop, row in zip(batch.views["all"][:, 0], batch.index.tolist(), strict=True):
        assert (crop[lengths[row] :] < -15.9).all() and (crop[: lengths[row]] > -15.9).all()


def test_loader_pickles(corpus):
    one = loader(corpus)
    list(one.epoch(0))
    assert same(flat(pickle.loads(pickle.dumps(one)).epoch(0)), flat(one.epoch(0)))


def test_user_errors(corpus):
    with pytest.raises(InputError, match="batch_size: 8 does not divide by 3 ranks times 1 micro-batches"):
        loader(corpus, world=3)
    with pytest.raises(InputError, match="40 utterances do not fill one batch of 64"):
        loader(corpus, batch_size=64)
    with pytest.raises(InputError, match="no such kind of view: globl"):
        loader(corpus, augment={"globl": AUGMENTS["lgl"]()})
    with pytest.raises(InputError, match="names must differ"):
        loader(corpus, PAIR * 2)
    with pytest.raises(InputError, match="noises are opened as wave, the input is feats"):
        utterances = Utterances.open(corpus / "train")
        banks = {"noises": open_noises(corpus / "noise", "wave"), "rirs": open_rirs(corpus / "rir")}
        Loader(utterances, PAIR, AUGMENTS["lgl"](), 8, fbank=FBANK, **banks)
    with pytest.raises(InputError, match=r"noise features have 24 bands \(expected 80\)"):
        banks = {"noises": open_noises(corpus / "noise", "feats"), "rirs": open_rirs(corpus / "rir")}
        Loader(Utterances.open(corpus / "train"), PAIR, AUGMENTS["lgl"](), 8, **banks)
    with pytest.raises(InputError, match="mask_fill mean needs log-mels"):
        loader(corpus, mode="wave", augment=replace(AUGMENTS["sdpn"](), mask_fill="mean"))
