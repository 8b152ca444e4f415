"""Any part of any system may be exchanged by its name alone, over the YAML of another one."""

from pathlib import Path

import pytest

from spkssl.audio.augment.config import AUGMENTS
from spkssl.cluster import CLUSTERERS
from spkssl.config import read_yaml
from spkssl.errors import InputError
from spkssl.methods import METHODS
from spkssl.nn.embedder import ENCODERS
from spkssl.stages.settings import Settings
from spkssl.stages.system import build_system, tell_replaced

CONF = Path(__file__).parents[3] / "egs" / "mini" / "conf"
PARTS = [
    *(f"{kind}.method.name={name}" for name, (_, _, kind) in METHODS.items()),
    *(f"cluster.algorithm.name={name}" for name in CLUSTERERS),
    *(f"encoder.name={name}" for name in ENCODERS),
    *(f"{kind}.augment.name={name}" for name in AUGMENTS for kind in ("pretrain", "retrain")),
    *(f"retrain.loop.optim.name={name}" for name in ("sgd", "adam", "adamw")),
]
# What both methods know keeps the YAML's value, and that one does not suit the other: this has to be said by --set too.
CLASHES = {"pretrain.method.name=rdino": "pretrain.method.head.wide=64"}


@pytest.mark.parametrize("yaml", ["dino", "lgl", "ssrl", "sdpn"])
def test_every_part_fits_every_system(yaml):
    path = CONF / f"{yaml}.yaml"
    file = read_yaml(path)
    for part in PARTS:
        also = (CLASHES[part],) if part in CLASHES else ()
        system = build_system(Settings(file, str(path), (part, *also)))
        found, (key, name) = system, part.split("=")
        for word in key.split("."):
            found = getattr(found, word)
        assert found == name


def test_a_shared_key_whose_value_does_not_suit_is_named():
    path = CONF / "dino.yaml"
    with pytest.raises(InputError, match="pretrain.method: head.wide must be positive"):
        build_system(Settings(read_yaml(path), str(path), ("pretrain.method.name=rdino",)))


def test_a_stage_tells_of_its_own_sections_alone(capsys):
    path = CONF / "lgl.yaml"
    settings = Settings(read_yaml(path), "lgl.yaml", ("encoder.name=resnet", "retrain.method.name=aamsupcon"))
    tell_replaced(settings, "pretrain", "encoder")
    dropped = "dropped channels, aggregation, se_channels, attention_channels, scale; kept embed_dim, stride"
    assert capsys.readouterr().out == f"lgl.yaml: encoder is resnet by --set, not ecapa: {dropped}\n"
    tell_replaced(settings, "retrain")
    dropped = "dropped gate, ungated_epochs, rates; kept frames, margin, scale, margin_ramp"
    assert capsys.readouterr().out == f"lgl.yaml: retrain.method is aamsupcon by --set, not lgl: {dropped}\n"
