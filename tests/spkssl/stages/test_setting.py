"""`spkssl setting` prints one value, after --set."""

from click.testing import CliRunner

from spkssl.stages.setting import setting


def test_a_value_of_the_yaml_an_override_and_a_default_are_printed(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("retrain: {rounds: 1}\n")
    options = ["--config", str(path)]
    run = lambda *more: CliRunner().invoke(setting, [*more, *options])  # noqa: E731
    assert run("retrain.rounds").output == "1\n"
    assert run("retrain.rounds", "--set", "retrain.rounds=3").output == "3\n"
    assert run("retrain.other", "--default", "2").output == "2\n"
    missing = run("retrain.other")
    assert missing.exit_code != 0 and "says nothing of retrain.other" in missing.output
