import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spkssl.audio.synth.corpus import make_corpus
from spkssl.audio.synth.plan import Recording, Sizes
from spkssl.audio.synth.recorder import added_noises, channel_noises, num_samples, record
from spkssl.audio.synth.variation import STANDARD
from spkssl.errors import InputError
from spkssl.io.tables import read_lists, read_table
from spkssl.io.trials import read_trials

SHORT = replace(STANDARD, seconds=(0.5, 0.8))
TINY = Sizes(
    train_speakers=3, train_utts=5, dev_speakers=2, dev_utts=4, test_speakers=3, test_utts=4, noises=1, rirs=2
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    assert make_corpus(out, 11, SHORT, TINY) == {"train": 15, "dev": 8, "test": 12, "noise": 6, "rir": 2}
    return out


def _bytes(out: Path) -> dict[str, bytes]:
    """All files but wav.scp, which holds absolute paths."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name != "wav.scp"
    }


def _read(path: Path | str) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


def test_two_processes_write_the_bytes_of_one(corpus, tmp_path):
    make_corpus(tmp_path, 11, SHORT, TINY, nj=2)
    assert _bytes(tmp_path) == _bytes(corpus)


def test_larger_corpus_contains_the_smaller_byte_for_byte(corpus, tmp_path):
    make_corpus(tmp_path, 11, SHORT, replace(TINY, train_speakers=4, train_utts=6, test_utts=5, noises=2))
    mine, larger = _bytes(corpus), _bytes(tmp_path)
    audio = [name for name in mine if name.endswith(".wav")]
    assert len(audio) == 43 and all(larger[name] == mine[name] for name in audio)


def test_single_recording_is_made_again_out_of_order(corpus):
    later, earlier = record(11, SHORT, [Recording(20002, 3, 1)])[0], record(11, SHORT, [Recording(20001, 2, 1)])[0]
    wavs = read_table(corpus / "test" / "wav.scp")
    np.testing.assert_array_equal(_read(wavs["s20002-3-01"]), later)
    np.testing.assert_array_equal(_read(wavs["s20001-2-01"]), earlier)


def test_audio_is_sane(corpus):
    for name in ("train", "dev", "test"):
        durations = read_table(corpus / name / "utt2dur")
        for utterance, path in read_table(corpus / name / "wav.scp").items():
            pcm = _read(path).astype(float) / 32768
            assert Path(path).is_absolute() and len(pcm) / 16000 == float(durations[utterance])
            assert 0.5 <= float(durations[utterance]) + 1e-3 and float(durations[utterance]) <= 0.8
            assert 0.2 < np.abs(pcm).max() < 0.9 and 0.005 < np.sqrt(np.mean(pcm**2)) < 0.5
    for name in ("noise", "rir"):
        assert all(0.85 < np.abs(_read(p)).max() / 32768 < 0.9 for p in read_table(corpus / name / "wav.scp").values())


def test_tables_agree_and_speakers_are_disjoint(corpus):
    speakers = {}
    for name in ("train", "dev", "test"):
        folder = corpus / name
        utts = read_table(folder / "wav.scp").keys()
        reference = read_table(folder / "ref" / "utt2spk")
        tables = ("utt2spk", "utt2dur", "ref/utt2spk", "ref/utt2session")
        assert all(read_table(folder / table).keys() == utts for table in tables)
        listed = {utt: speaker for speaker, utts in read_lists(folder / "spk2utt").items() for utt in utts}
        assert listed == read_table(folder / "utt2spk")
        assert all(s.startswith(reference[u]) for u, s in read_table(folder / "ref" / "utt2session").items())
        speakers[name] = set(reference.values())
        assert read_table(folder / "ref" / "spk2gender").keys() == speakers[name]
    assert {name: len(ids) for name, ids in speakers.items()} == {"train": 3, "dev": 2, "test": 3}
    assert len(set.union(*speakers.values())) == 8


def test_training_set_shows_no_speaker_outside_ref(corpus):
    train = corpus / "train"
    assert all(utt == speaker for utt, speaker in read_table(train / "utt2spk").items())
    shown = "".join(path.read_text() for path in train.iterdir() if path.is_file())
    assert not any(speaker in shown for speaker in read_table(train / "ref" / "spk2gender"))
    assert not any(path.name in shown for path in (corpus / "wav" / "test").iterdir())


def test_trials_are_of_their_set_and_targets_cross_sessions(corpus):
    for name in ("dev", "test"):
        trials = read_trials(corpus / name / "trials" / name)
        speaker = read_table(corpus / name / "ref" / "utt2spk")
        session = read_table(corpus / name / "ref" / "utt2session")
        for row in range(len(trials)):
            enrol, test = trials.name(row).split()
            assert trials.target[row] == (speaker[enrol] == speaker[test])
            assert session[enrol] != session[test]
        assert 0 < trials.target.sum() < len(trials)


def test_noises_say_their_kind_and_are_not_those_of_the_recordings(corpus):
    kinds = read_table(corpus / "noise" / "utt2kind")
    assert kinds.keys() == read_table(corpus / "noise" / "wav.scp").keys()
    assert {utt.split("-")[0]: kind for utt, kind in kinds.items()} == {
        "white": "noise", "pink": "noise", "ambient": "noise", "hum": "noise",
        "music": "music", "babble": "speech",
    }  # fmt: skip
    inside, added = channel_noises(11, SHORT), added_noises(11, SHORT)
    for kind in ("pink", "hum", "music", "babble"):
        assert not any(np.array_equal(added.clip(kind, 0), inside.clip(kind, n)) for n in range(inside.per_kind))


def test_second_call_keeps_whole_files_and_makes_broken_ones_again(corpus):
    before = _bytes(corpus)
    kept, broken, gone = sorted((corpus / "wav" / "dev").iterdir())[:3]
    stamp = kept.stat().st_mtime_ns
    broken.write_bytes(broken.read_bytes()[:-100])
    gone.unlink()
    assert num_samples(broken) == num_samples(gone) == 0
    make_corpus(corpus, 11, SHORT, TINY)
    assert _bytes(corpus) == before
    assert kept.stat().st_mtime_ns == stamp


def test_folder_of_another_corpus_is_refused(corpus):
    before = _bytes(corpus)
    with pytest.raises(InputError, match=r"corpus\.json: .* another corpus: seed \(got 11, expected 12\)"):
        make_corpus(corpus, 12, SHORT, TINY)
    with pytest.raises(InputError, match="another corpus: variation"):
        make_corpus(corpus, 11, replace(SHORT, spread=1.0), TINY)
    assert _bytes(corpus) == before


def test_other_seeds_have_other_speakers_and_other_audio():
    one, two = (record(seed, SHORT, [Recording(1, 1, 1)])[0] for seed in (1, 2))
    assert len(one) != len(two) or not np.array_equal(one, two)


def test_progress_counts_every_file(corpus):
    told: list[int] = []
    make_corpus(corpus, 11, SHORT, TINY, advance=told.append)
    assert sum(told) == 43
