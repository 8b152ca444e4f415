"""MUSAN and RIRS_NOISES as the noise and RIR sets that augmentation opens."""

import shutil

import pytest

from spkssl.audio.augment.bank import open_noises, open_rirs
from spkssl.corpora.musan_rirs import REAL, prepare_musan, prepare_rirs
from spkssl.errors import InputError
from spkssl.io.tables import read_table
from spkssl.io.validate import validate


def test_musan_becomes_a_noise_set(corpora, tmp_path):
    out = tmp_path / "noise"
    assert prepare_musan(corpora / "musan", out) == {"music": 2, "noise": 2, "speech": 2}
    assert validate(out) == []
    assert read_table(out / "utt2kind")["speech-librivox-0001"] == "speech"
    assert float(read_table(out / "utt2dur")["music-fma-0000"]) == 3
    assert sorted(open_noises(out, "wave").kinds) == ["music", "noise", "speech"]


def test_rooms_of_one_name_are_told_apart(corpora, tmp_path):
    out = tmp_path / "rir"
    assert prepare_rirs(corpora / "RIRS_NOISES", out) == {"smallroom": 2, "mediumroom": 2, "largeroom": 2}
    assert validate(out) == []
    assert {"smallroom-Room001-00001", "largeroom-Room001-00001"} <= read_table(out / "wav.scp").keys()
    assert len(open_rirs(out)) == 6
    assert prepare_rirs(corpora / "RIRS_NOISES", out, ["mediumroom"]) == {"mediumroom": 2}


def test_measured_responses_come_from_their_list_alone(corpora, tmp_path):
    out = tmp_path / "rir_real"
    assert prepare_rirs(corpora / "RIRS_NOISES", out, [REAL]) == {"real": 2}
    assert not any("noise" in name for name in read_table(out / "wav.scp"))


@pytest.mark.parametrize(
    ("gone", "what"),
    [
        ("musan", "musan: no such folder; unpack musan.tar.gz"),
        ("musan/speech", "musan/speech: no such folder; unpack musan.tar.gz"),
        ("musan/speech/librivox", "musan/speech: holds no <source>/<file>.wav"),
        ("RIRS_NOISES", "RIRS_NOISES: no such folder; unpack rirs_noises.zip"),
        ("RIRS_NOISES/simulated_rirs/largeroom", "largeroom: holds no <room>/<file>.wav"),
    ],
)
def test_what_is_missing_is_named(corpora, tmp_path, gone, what):
    shutil.rmtree(corpora / gone)
    with pytest.raises(InputError, match=what):
        prepare_musan(corpora / "musan", tmp_path / "noise")
        prepare_rirs(corpora / "RIRS_NOISES", tmp_path / "rir")


def test_a_list_of_responses_that_are_not_there_is_refused(corpora, tmp_path):
    (corpora / "RIRS_NOISES/real_rirs_isotropic_noises/RVB2014_type1_rir_2.wav").unlink()
    with pytest.raises(InputError, match="rir_list:2: .*RVB2014_type1_rir_2.wav does not exist"):
        prepare_rirs(corpora / "RIRS_NOISES", tmp_path / "rir", [REAL])
