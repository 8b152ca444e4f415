"""Strict configuration: what is not understood is not ignored."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from spkssl import config
from spkssl.errors import InputError


@dataclass(frozen=True)
class Small:
    name: str = "small"
    rate: float = 0.1


@dataclass(frozen=True)
class Large:
    name: str = "large"
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Inner:
    steps: int = 10
    kind: Literal["a", "b"] = "a"
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps must not be negative (got {self.steps})")


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    method: Any = config.choice(lambda: {"small": Small, "large": Large}, "small")
    pair: tuple[float, float] = (0.0, 1.0)
    flag: bool = False
    each: Any = config.choices(lambda: {"small": Small, "large": Large}, "small")


def test_defaults_are_used_where_nothing_is_said():
    assert config.build(Outer, {}) == Outer()


def test_command_line_beats_yaml_and_yaml_beats_default(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("inner: {steps: 3, kind: b}\nmethod: {name: large}\n")
    tree = config.override(config.read_yaml(path), ["inner.steps=7", "method.sizes=[4, 5, 6]", "flag=true"])
    assert config.build(Outer, tree) == Outer(Inner(7, "b"), Large(sizes=(4, 5, 6)), flag=True)


def test_what_is_written_reads_back_the_same():
    value = Outer(Inner(1, "b", 0.5), Large(sizes=(9,)), (2.0, 3.0), True)
    import yaml

    assert config.build(Outer, yaml.safe_load(config.dump_yaml(value))) == value


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"iner": {}}, "unknown key iner; did you mean inner?"),
        ({"inner": {"stps": 1}}, "unknown key inner.stps; did you mean inner.steps?"),
        ({"inner": {"steps": "many"}}, "inner.steps: expected int, got 'many'"),
        ({"inner": {"steps": True}}, "inner.steps: expected int, got True"),
        ({"inner": {"kind": "c"}}, "inner.kind: unknown name 'c' (expected one of a, b)"),
        ({"inner": 3}, "inner: expected a section, got 3"),
        ({"inner": {"steps": -1}}, "steps must not be negative (got -1)"),
        ({"method": {"name": "smal"}}, "did you mean small?"),
        ({"method": {"name": "small", "sizes": [1]}}, "unknown key method.sizes"),
        ({"pair": [1.0]}, "pair: expected tuple"),
        ({"each": "small"}, "each: expected a section for each name, got 'small'"),
        ({"each": {"one": {"name": "smal"}}}, "each.one.name: unknown name 'smal'"),
    ],
)
def test_what_is_not_understood_stops_with_a_hint(tree, message):
    with pytest.raises(InputError) as error:
        config.build(Outer, tree, "some.yaml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_numbers_in_scientific_notation_are_numbers():
    assert config.build(Inner, {"limit": "1e-3"}).limit == 1e-3  # YAML 1.1 reads 1e-3 as a string
    assert config.build(Inner, {"limit": 2}).limit == 2.0


def test_choices_are_made_for_each_key_and_read_back():
    value = config.build(Outer, {"each": {"one": "large", "two": {"rate": 0.5}}})
    assert value.each == {"one": Large(), "two": Small(rate=0.5)} and Outer().each == {}
    assert config.build(Outer, config.to_dict(value)) == value


@pytest.mark.parametrize("setting", ["inner.steps", "=3", "inner..steps=3"])
def test_a_malformed_setting_is_named(setting):
    with pytest.raises(InputError, match="expected a.b=value"):
        config.override({}, [setting])


def test_override_leaves_the_tree_it_was_given_alone():
    tree = {"inner": {"steps": 1}}
    assert config.override(tree, ["inner.steps=2"]) == {"inner": {"steps": 2}}
    assert tree == {"inner": {"steps": 1}}
