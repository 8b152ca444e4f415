"""Embeddings: batching changes nothing, count in = count out, baselines need no training."""

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from spkssl import rng
from spkssl.contract import samples_of
from spkssl.data.embed import Eval, Utterance, batches, embed, mean_and_std
from spkssl.errors import InputError
from spkssl.io.ark import read_vectors, write_ark
from spkssl.io.tables import write_table
from spkssl.nn import wavlm
from spkssl.nn.ecapa import EcapaConfig
from spkssl.nn.embedder import make_embedder, save_embedder
from spkssl.nn.frontend import FrontendConfig
from spkssl.stages.extract import extract

LENGTHS = (40, 25, 40, 33, 40, 25, 3)  # the last is shorter than the network can take
TINY = EcapaConfig(channels=16, embed_dim=8, se_channels=4, attention_channels=4)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "dev"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    mels = {f"u{i}": draw.normal(size=(n, 80)).astype(np.float32) for i, n in enumerate(LENGTHS)}
    write_ark(folder / "feats.ark", folder / "feats.scp", mels)
    write_table(folder / "utt2num_frames", {name: str(len(value)) for name, value in mels.items()})
    return folder, mels


@pytest.fixture
def model():
    rng.seed_torch(0, "test")
    return make_embedder(TINY, FrontendConfig())


def test_batches_hold_one_length_within_the_budget():
    work = [Utterance(f"u{i}", "", n) for i, n in enumerate(LENGTHS)]
    groups = batches(work, max_frames=80)
    assert sorted(u for group in groups for u in group) == sorted(work)
    assert all(len({u.frames for u in group}) == 1 for group in groups)
    assert [len(group) for group in groups if group[0].frames == 40] == [2, 1]
    assert [len(group) for group in batches(work, max_frames=1)] == [1] * len(work)


def test_batched_extraction_equals_one_by_one(data, model):
    folder, mels = data
    work = [Utterance(name, f"{line.split()[1]}", len(mels[name])) for name, line in _scp(folder)]
    found = dict(embed(batches(work, 10_000), Eval(model, "cpu"), "cpu"))
    model.eval()
    for name, value in mels.items():
        if len(value) < model.min_frames:
            value = np.tile(value, (model.min_frames // len(value) + 1, 1))[: model.min_frames]
        with torch.no_grad():
            alone = model(torch.from_numpy(value)[None])[0].numpy()
        np.testing.assert_allclose(found[name], alone, rtol=1e-4, atol=1e-5)


def _scp(folder):
    return [(line.split()[0], line) for line in (folder / "feats.scp").read_text().splitlines()]


def test_an_embedding_that_is_not_finite_names_its_utterance(data):
    folder, mels = data
    work = [[Utterance(name, line.split()[1], len(mels[name]))] for name, line in _scp(folder)]
    with pytest.raises(InputError, match="the embedding of u0 is not finite"):
        list(embed(work, lambda x: x.mean(1) * float("nan"), "cpu"))


def test_stage_writes_one_embedding_for_each_utterance_and_then_nothing(data, model, tmp_path):
    folder, mels = data
    exp = tmp_path / "exp"
    save_embedder_at(exp / "pretrain", model)
    options = ["--exp", str(exp), "--data", str(folder.parent), "--sets", "dev"]
    first = CliRunner().invoke(extract, options, catch_exceptions=False)
    assert "7 embeddings of dimension 8" in first.output
    keys, vectors = read_vectors(exp / "pretrain/emb/dev/xvector.scp")
    assert keys == sorted(mels) and vectors.shape == (7, 8)
    assert "up to date" in CliRunner().invoke(extract, options, catch_exceptions=False).output


def save_embedder_at(folder, model):
    folder.mkdir(parents=True)
    save_embedder(folder / "encoder.pt", model)


def test_the_baseline_of_feature_statistics_needs_no_encoder(data, tmp_path):
    folder, mels = data
    exp = tmp_path / "exp"
    options = ["--exp", str(exp), "--data", str(folder.parent), "--sets", "dev", "--at", "fbank_stats"]
    CliRunner().invoke(extract, options, catch_exceptions=False)
    keys, vectors = read_vectors(exp / "fbank_stats/emb/dev/xvector.scp")
    expected = np.concatenate([mels["u0"].mean(0), mels["u0"].std(0)])
    np.testing.assert_allclose(vectors[keys.index("u0")], expected, rtol=1e-4, atol=1e-5)
    assert mean_and_std(torch.ones(2, 5, 3)).tolist() == [[1.0] * 3 + [0.0] * 3] * 2


def test_an_encoder_that_reads_audio_gets_as_many_samples_as_the_features_stand_for(data, tmp_path, monkeypatch):
    folder, mels = data
    monkeypatch.setitem(wavlm.SIZES, "tiny", wavlm.Size("layer_norm", 32, 2, 2, 48, True, True))
    monkeypatch.setattr(wavlm.Wavlm, "load_pretrained", lambda self: None)
    rng.seed_torch(0, "test")
    model = make_embedder(wavlm.WavlmConfig(size="tiny", ecapa=TINY), FrontendConfig()).eval()
    save_embedder_at(tmp_path / "exp/pretrain", model)
    draw = np.random.default_rng(1)
    waves = {name: draw.uniform(-0.5, 0.5, samples_of(len(mel)) + i) for i, (name, mel) in enumerate(mels.items())}
    for name, wave in waves.items():
        soundfile.write(folder / f"{name}.wav", wave, 16000, "FLOAT")
    write_table(folder / "wav.scp", {name: str(folder / f"{name}.wav") for name in waves})
    options = ["--exp", str(tmp_path / "exp"), "--data", str(folder.parent), "--sets", "dev"]
    CliRunner().invoke(extract, options, catch_exceptions=False)  # over a YAML that says nothing of the encoder
    keys, vectors = read_vectors(tmp_path / "exp/pretrain/emb/dev/xvector.scp")
    for name in ("u0", "u2", "u5"):
        wave = torch.from_numpy(waves[name][: samples_of(len(mels[name]))]).float()[None]
        least = samples_of(model.min_frames)
        wave = torch.cat([wave] * -(-least // wave.shape[1]), dim=1)[:, : max(least, samples_of(len(mels[name])))]
        with torch.no_grad():
            np.testing.assert_allclose(vectors[keys.index(name)], model(wave)[0].numpy(), rtol=1e-4, atol=1e-5)


def test_an_encoder_gets_features_even_where_the_yaml_names_one_that_reads_audio(data, model, tmp_path):
    folder, mels = data
    save_embedder_at(tmp_path / "exp/pretrain", model)
    options = ["--exp", str(tmp_path / "exp"), "--data", str(folder.parent), "--sets", "dev"]
    done = CliRunner().invoke(extract, [*options, "--set", "encoder.name=wavlm"], catch_exceptions=False)
    assert "7 embeddings of dimension 8" in done.output


def test_missing_encoder_and_features_are_named(data, tmp_path):
    folder, _ = data
    options = ["--exp", str(tmp_path / "exp"), "--data", str(folder.parent), "--sets"]
    with pytest.raises(InputError, match="encoder.pt: no such file or directory; train it first: pretrain"):
        CliRunner().invoke(extract, [*options, "dev"], catch_exceptions=False)
    with pytest.raises(InputError, match="feats.scp: no such file or directory"):
        CliRunner().invoke(extract, [*options, "nowhere"], catch_exceptions=False)
