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


def files(folder, **texts):
    (folder / "deep").mkdir()
    for name, text in texts.items():
        (folder / f"{name.replace('__', '/')}.yaml").write_text(text)
    return folder


def test_a_file_stands_on_its_base_and_overrides_it_section_by_section(tmp_path):
    files(
        tmp_path,
        low="inner: {steps: 3, kind: b}\nflag: true\npair: [1, 2]\n",
        middle="base: low.yaml\ninner: {limit: 0.5}\npair: [3, 4]\n",
        deep__top="base: ../middle.yaml\ninner: {steps: 7}\n",
    )
    tree = config.read_yaml(tmp_path / "deep/top.yaml")
    assert tree == {"inner": {"steps": 7, "kind": "b", "limit": 0.5}, "flag": True, "pair": [3, 4]}
    assert config.read_yaml(tmp_path / "low.yaml") == {"inner": {"steps": 3, "kind": "b"}, "flag": True, "pair": [1, 2]}


def test_another_method_than_the_base_has_takes_none_of_its_keys(tmp_path):
    files(
        tmp_path,
        low="method: {name: small, rate: 0.5}\n",
        same="base: low.yaml\nmethod: {name: small}\n",
        other="base: low.yaml\nmethod: {name: large}\n",
    )
    assert config.build(Outer, config.read_yaml(tmp_path / "same.yaml")).method == Small(rate=0.5)
    assert config.build(Outer, config.read_yaml(tmp_path / "other.yaml")).method == Large()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"top": "base: top.yaml\n"}, "top.yaml: base: top.yaml stands on this file already"),
        (
            {"top": "base: deep/low.yaml\n", "deep__low": "base: ../top.yaml\n"},
            "deep/low.yaml: base: ../top.yaml stands on this file already",
        ),
        ({"top": "base: none.yaml\n"}, "none.yaml; give it relative to this file"),
        ({"top": "base: [a.yaml]\n"}, "top.yaml: base: expected the path of a YAML file, got ['a.yaml']"),
        ({"top": "base: low.yaml\n", "low": "- 1\n"}, "low.yaml: expected sections at the top level, got a list"),
    ],
)
def test_a_base_that_cannot_be_used_is_named(tmp_path, texts, message):
    with pytest.raises(InputError) as error:
        config.read_yaml(files(tmp_path, **texts) / "top.yaml")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_mistake_is_looked_for_in_the_file_and_in_its_base(tmp_path):
    files(tmp_path, low="inner: {stps: 3}\n", top="base: low.yaml\nflag: true\n")
    path = tmp_path / "top.yaml"
    assert config.origin(tmp_path / "low.yaml") == str(tmp_path / "low.yaml")
    with pytest.raises(InputError, match=r"top\.yaml, over .*low\.yaml: unknown key inner\.stps"):
        config.build(Outer, config.read_yaml(path), config.origin(path))
