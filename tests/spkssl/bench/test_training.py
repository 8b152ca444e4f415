"""The bench trains what the mini recipe trains."""

from pathlib import Path

import pytest

from spkssl import config
from spkssl.bench.training import mini_encoder, mini_method

CONF = Path(__file__).parents[3] / "egs" / "mini" / "conf"


@pytest.mark.parametrize(
    "name, system, part",
    [("simclr", "simclr", "pretrain"), ("dino", "dino", "pretrain"), ("aam", "simclr", "retrain")],
)
def test_encoder_and_method_are_those_of_the_mini_recipe(name, system, part):
    tree = config.read_yaml(CONF / f"{system}.yaml")
    encoder, (method, batch) = mini_encoder(), mini_method(name)
    assert config.build(type(encoder), tree["encoder"]) == encoder
    assert config.build(type(method), tree[part]["method"]) == method
    assert batch == tree[part]["loop"]["batch_size"]
