import pytest
import torch

from spkssl.audio.fbank import FbankConfig
from spkssl.contract import samples_of
from spkssl.errors import InputError
from spkssl.nn.ecapa import EcapaConfig
from spkssl.nn.embedder import ENCODERS, encoder_configs, load_embedder, make_embedder, save_embedder, start_from
from spkssl.nn.frontend import FrontendConfig
from spkssl.nn.resnet import ResNetConfig

SMALL = [
    EcapaConfig(channels=16, embed_dim=7, se_channels=4, attention_channels=4, scale=4, layout="lgl", embed_norm=True),
    ResNetConfig(width=4, blocks=(1, 1), embed_dim=7),
]
FRONTEND = FrontendConfig(FbankConfig(num_mel_bins=24), norm="mean_var")


@pytest.mark.parametrize("config", SMALL, ids=lambda c: c.name)
def test_waves_and_log_mels_become_embeddings(config):
    model = make_embedder(config, FRONTEND).eval()
    assert model.embed_dim == 7
    assert model(0.1 * torch.randn(3, samples_of(30))).shape == (3, 7)
    assert model(torch.randn(3, 30, 24)).shape == (3, 7)


@pytest.mark.parametrize("config", SMALL, ids=lambda c: c.name)
def test_a_saved_embedder_comes_back_bit_for_bit(config, tmp_path):
    model = make_embedder(config, FRONTEND)
    model(torch.randn(8, 30, 24))  # moves the BatchNorm statistics
    save_embedder(tmp_path / "encoder.pt", model)
    back = load_embedder(tmp_path / "encoder.pt")
    assert not back.training
    assert back.encoder_config == config and back.frontend.config == FRONTEND
    x = 0.1 * torch.randn(2, samples_of(40))
    assert torch.equal(back(x), model.eval()(x))


def test_every_encoder_is_found_under_its_own_name():
    assert list(ENCODERS) == [config().name for config in encoder_configs().values()]
    for name, config in encoder_configs().items():
        assert isinstance(config(), ENCODERS[name][0])


def saved(tmp_path, **changes):
    path = tmp_path / "encoder.pt"
    save_embedder(path, make_embedder(SMALL[1], FRONTEND))
    content = torch.load(path, weights_only=True)
    torch.save({**content, **changes}, path)
    return path, content


def test_a_missing_file_is_a_users_error(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_embedder(tmp_path / "none.pt")


@pytest.mark.parametrize("content", [b"", b"id1 3.5\n", b"PK\x03\x04 broken", b"\x80\x02]q\x00.", b"junk"])
def test_a_file_of_another_kind_is_a_users_error(content, tmp_path):
    path = tmp_path / "encoder.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="encoder.pt: "):
        load_embedder(path)


def test_a_truncated_file_is_a_users_error(tmp_path):
    path, _ = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="cannot be read as weights"):
        load_embedder(path)


class Foreign:
    pass


@pytest.mark.parametrize("content", [{"model": {}}, [1, 2], torch.zeros(3), Foreign()], ids=lambda c: type(c).__name__)
def test_a_foreign_checkpoint_is_a_users_error(content, tmp_path):
    torch.save(content, tmp_path / "encoder.pt")
    with pytest.raises(InputError, match="encoder"):
        load_embedder(tmp_path / "encoder.pt")


def test_missing_left_over_and_misshapen_weights_are_named(tmp_path):
    path, content = saved(tmp_path)
    weights = content["weights"]
    for wrong, message in [
        ({k: v for k, v in weights.items() if k != "linear.bias"}, "linear.bias missing or left over"),
        ({**weights, "extra": torch.zeros(1)}, "extra missing or left over"),
        ({**weights, "linear.bias": torch.zeros(3)}, r"linear.bias has the wrong shape \(got \(3,\)"),
    ]:
        path, _ = saved(tmp_path, weights=wrong)
        with pytest.raises(InputError, match=message):
            load_embedder(path)


def test_an_unknown_encoder_or_option_is_named(tmp_path):
    path, content = saved(tmp_path, encoder={"name": "ecpa"})
    with pytest.raises(InputError, match="did you mean ecapa"):
        load_embedder(path)
    path, _ = saved(tmp_path, encoder={**content["encoder"], "widht": 4})
    with pytest.raises(InputError, match="did you mean width"):
        load_embedder(path)
    path, _ = saved(tmp_path, weights=None)
    with pytest.raises(InputError, match="damaged: weights missing"):
        load_embedder(path)


def test_a_start_takes_the_weights_and_refuses_another_configuration(tmp_path):
    path, _ = saved(tmp_path)
    fresh = make_embedder(SMALL[1], FRONTEND)
    start_from(fresh, path)
    x = torch.randn(2, 30, 24)
    assert torch.equal(fresh.eval()(x), load_embedder(path)(x))
    with pytest.raises(InputError, match="its encoder is not this system's"):
        start_from(make_embedder(SMALL[0], FRONTEND), path)
    with pytest.raises(InputError, match="its front-end is not this system's"):
        start_from(make_embedder(SMALL[1], FrontendConfig(FRONTEND.features, norm="mean")), path)
