from spkssl.stages.settings import Settings
from spkssl.stages.training_inputs import training_slice


def test_how_many_rounds_there_are_decides_nothing_in_a_round():
    tree = {"retrain": {"method": {"name": "lgl"}, "loop": {"epochs": 3}}}
    plain = training_slice(Settings(tree, "test"), "retrain")
    overrides = ("retrain.rounds=5", "retrain.stop.rule=stability", "retrain.stop.agreement=0.8")
    assert training_slice(Settings(tree, "test", overrides), "retrain") == plain
    assert training_slice(Settings(tree, "test", ("retrain.start=previous",)), "retrain") != plain
