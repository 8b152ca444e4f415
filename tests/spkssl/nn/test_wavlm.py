import pytest
import torch

from spkssl.contract import samples_of
from spkssl.errors import InputError
from spkssl.nn import wavlm
from spkssl.nn.ecapa import EcapaConfig
from spkssl.nn.embedder import load_embedder, make_embedder, save_embedder
from spkssl.nn.frontend import FrontendConfig
from spkssl.nn.wavlm import Wavlm, WavlmConfig

ECAPA = EcapaConfig(channels=16, embed_dim=6, se_channels=4, attention_channels=4, scale=4)


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Makes a config of a tiny WavLM whose random weights lie in a file."""
    torch.manual_seed(0)
    size = wavlm.Size("layer_norm", 32, 2, 2, 48, True, True)
    monkeypatch.setitem(wavlm.SIZES, "tiny", size)
    path = tmp_path / "wavlm.pth"
    torch.save(wavlm._architecture(size).state_dict(), path)
    return lambda **changes: WavlmConfig(**{"size": "tiny", "weights": str(path), "ecapa": ECAPA, **changes})


def waves(frames: int = 60) -> torch.Tensor:
    return 0.1 * torch.randn(3, samples_of(frames))


def test_pretrained_weights_arrive_and_travel_in_the_saved_embedder(tiny, tmp_path):
    model = make_embedder(tiny(), FrontendConfig()).eval()
    given = torch.load(tiny().weights, weights_only=True)
    assert all(torch.equal(value, given[name]) for name, value in model.network.wavlm.state_dict().items())
    save_embedder(tmp_path / "encoder.pt", model)
    (tmp_path / "wavlm.pth").unlink()
    back, x = load_embedder(tmp_path / "encoder.pt"), waves()
    assert back(x).shape == (3, 6)
    assert torch.equal(back(x), model(x))


def test_frozen_wavlm_takes_no_gradient_and_no_dropout_while_the_rest_learns(tiny):
    net = make_embedder(tiny(), FrontendConfig()).train().network
    assert not net.wavlm.training and net.ecapa.training
    net(waves()).square().sum().backward()
    assert all(p.grad is None for p in net.wavlm.parameters())
    assert net.layer_scores.grad.abs().max() > 0
    assert all(p.grad is not None for p in net.ecapa.parameters())


def test_unfrozen_wavlm_learns(tiny):
    net = make_embedder(tiny(frozen=False), FrontendConfig()).train().network
    net(waves()).square().sum().backward()
    assert net.wavlm.training
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in net.wavlm.parameters())


def test_layers_are_mixed_by_their_softmax_and_normalised_over_time(tiny):
    net = make_embedder(tiny(), FrontendConfig()).eval().network
    with torch.no_grad():
        net.layer_scores.copy_(torch.tensor([0.0, 3.0]).log().nan_to_num(neginf=-100.0))
    x = waves()
    only_last = net.wavlm.extract_features(torch.nn.functional.layer_norm(x, x.shape[-1:]))[0][1]
    var, mean = torch.var_mean(only_last, 1, keepdim=True, correction=0)
    normed = (only_last - mean) / (var + 1e-5).sqrt()
    torch.testing.assert_close(net(x), net.ecapa(normed), atol=1e-4, rtol=1e-4)


def test_loudness_does_not_matter_where_waves_are_normalised(tiny):
    model, x = make_embedder(tiny(), FrontendConfig()).eval(), waves()
    torch.testing.assert_close(model(x), model(3 * x), atol=1e-3, rtol=1e-3)


def test_the_shortest_wave_is_embedded(tiny):
    model = make_embedder(tiny(), FrontendConfig()).eval()
    assert model(waves(model.min_frames)).isfinite().all()
    with pytest.raises(InputError, match="too few frames"):
        model(waves(model.min_frames - 1))


def test_features_missing_weights_and_foreign_weights_are_refused(tiny, tmp_path):
    with pytest.raises(InputError, match="run with --input wave"):
        make_embedder(tiny(), FrontendConfig())(torch.zeros(2, 50, 80))
    with pytest.raises(InputError, match="no such file"):
        make_embedder(tiny(weights=""), FrontendConfig())
    with pytest.raises(InputError, match="did you mean large"):
        make_embedder(WavlmConfig(size="lagre"), FrontendConfig())
    other = tmp_path / "other.pth"
    for content, message in [({"x": torch.zeros(2)}, "do not fit"), ([1], "not a state_dict")]:
        torch.save(content, other)
        with pytest.raises(InputError, match=message):
            make_embedder(tiny(weights=str(other)), FrontendConfig())
    other.write_bytes(b"junk")
    with pytest.raises(InputError, match="cannot be read"):
        make_embedder(tiny(weights=str(other)), FrontendConfig())


@pytest.mark.parametrize(("size", "millions"), [("base", 94.4), ("large", 315.5)])
def test_published_sizes(size, millions):
    with torch.device("meta"):
        net = Wavlm(WavlmConfig(size=size, ecapa=ECAPA), 80).wavlm
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
