import pytest

from spkssl.errors import InputError
from spkssl.stages.settings import Settings
from spkssl.stages.training_inputs import training_slice

FILE = {"seed": 3, "data": {"workers": 2}, "retrain": {"rounds": 2, "loop": {"epochs": 4, "keep": 1}}}


def test_what_decides_the_weights_is_told_from_how_a_training_is_watched():
    found = training_slice(Settings(FILE, "x.yaml"), "retrain")
    assert found["retrain"] == {"loop": {"epochs": 4}} and found["seed"] == 3
    assert found["data"] == {"input": "feats"}


def test_what_training_reads_is_the_same_whether_said_or_left_to_the_default():
    silent, said, other = ({"data": data} for data in ({}, {"input": "feats"}, {"input": "wave"}))
    slices = [training_slice(Settings(tree, "x.yaml"), "pretrain") for tree in (silent, said, other)]
    assert slices[0] == slices[1] != slices[2]


def test_number_for_a_section_is_an_error():
    with pytest.raises(InputError, match="x.yaml: retrain.loop: expected a section, got 3"):
        training_slice(Settings(FILE, "x.yaml", ("retrain.loop=3",)), "retrain")
