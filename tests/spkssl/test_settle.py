"""A choice that --set replaces: shared keys stay, the others of the YAML go and are named."""

from dataclasses import dataclass
from typing import Any

import pytest

from spkssl import config
from spkssl.errors import InputError
from spkssl.settle import settle


@dataclass(frozen=True)
class Small:
    name: str = "small"
    rate: float = 0.1


@dataclass(frozen=True)
class Large:
    name: str = "large"
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Loop:
    steps: int = 10


@dataclass(frozen=True)
class Head:
    out: int = 8
    wide: int = 0


@dataclass(frozen=True)
class Narrow:
    out: int = 8


@dataclass(frozen=True)
class First:
    name: str = "first"
    rate: float = 0.1
    ramp: tuple[float, float] = (0.0, 1.0)
    gate: str = "none"
    head: Head = Head()
    inner: Any = config.choice(lambda: {"small": Small, "large": Large}, "small")


@dataclass(frozen=True)
class Second:
    name: str = "second"
    rate: float = 0.2
    ramp: float = 0.5
    head: Narrow = Narrow()
    attention: bool = False
    inner: Any = config.choice(lambda: {"small": Small, "large": Large}, "small")


@dataclass(frozen=True)
class Part:
    method: Any = config.choice(lambda: {"first": First, "second": Second}, "first")
    each: Any = config.choices(lambda: {"first": First, "second": Second}, "first")
    loop: Loop = Loop()


@dataclass(frozen=True)
class Whole:
    part: Part = Part()


FILE = {"part": {"method": {"name": "first", "rate": 0.7, "gate": "x", "ramp": [0, 2], "head": {"out": 3, "wide": 4}}}}


def settled(settings, file=FILE):
    tree, replaced = settle(Whole, file, settings, where="a.yaml")
    return config.build(Whole, tree, "a.yaml").part, [str(each) for each in replaced]


@pytest.mark.parametrize("order", [1, -1])
def test_a_choice_that_a_setting_replaces_keeps_what_both_know(order):
    settings = ["part.method.name=second", "part.method.attention=true", "part.method.head.out=5"]
    part, lines = settled(settings[::order])
    assert part.method == Second(rate=0.7, head=Narrow(5), attention=True)
    # ramp is a pair for the one and a number for the other; head.out is no longer the file's
    said = "part.method is second by --set, not first: dropped gate, ramp, head.wide; kept rate"
    assert lines == [f"a.yaml: {said}"]


def test_keys_of_the_file_that_suit_neither_choice_and_keys_of_settings_stay_errors():
    with pytest.raises(InputError, match=r"^a.yaml: unknown key part.method.gate; did you mean part.method.rate\?$"):
        settled(["part.method.gate=y", "part.method.name=second"])
    typo = {"part": {"method": {"rat": 1}}}
    with pytest.raises(InputError, match=r"^a.yaml: unknown key part.method.rat; did you mean part.method.rate\?$"):
        settled(["part.method.name=second"], typo)
    with pytest.raises(InputError, match="unknown key part.method.attention"):
        settled([], {"part": {"method": {"name": "first", "attention": True}}})
    with pytest.raises(InputError, match=r"part.method.name: unknown name 'third'"):
        settled(["part.method.name=third"])


def test_a_name_that_stays_the_same_drops_nothing():
    part, lines = settled(["part.method.name=first", "part.loop.steps=3"])
    assert part == Part(config.build(First, FILE["part"]["method"]), loop=Loop(3)) and lines == []
    wrong = {"part": {"method": {"attention": True}}}  # first, unless it says otherwise
    with pytest.raises(InputError, match="unknown key part.method.attention"):
        settled(["part.method.name=first"], wrong)


def test_a_section_that_a_setting_replaces_whole_keeps_nothing_and_has_nothing_to_say():
    part, lines = settled(["part.method={name: second, rate: 0.3}"])
    assert part.method == Second(rate=0.3) and lines == []


def test_a_choice_that_the_file_writes_as_its_name_alone_is_replaced_like_any_other():
    file = {"part": {"method": "second"}}
    assert settled(["part.method.rate=0.3"], file) == (Part(Second(rate=0.3)), [])
    assert settled(["part.method.name=first", "part.method.gate=x"], file) == (Part(First(gate="x")), [])


def test_choices_inside_choices_and_by_key_are_replaced_too():
    file = {"part": {"method": {"inner": {"name": "small", "rate": 9.0}}, "each": {"a": {"gate": "x", "rate": 0.3}}}}
    part, lines = settled(["part.method.inner.name=large", "part.each.a.name=second"], file)
    assert part.method == First(inner=Large()) and part.each == {"a": Second(rate=0.3)}
    assert lines == [
        "a.yaml: part.method.inner is large by --set, not small: dropped rate; kept nothing",
        "a.yaml: part.each.a is second by --set, not first: dropped gate; kept rate",
    ]


def test_a_section_is_settled_by_itself():
    tree, replaced = settle(Part, FILE, ["part.method.name=second"], "part", "a.yaml")
    assert config.build(Part, tree).method == Second(rate=0.7, head=Narrow(3))
    assert replaced[0].key == "part.method" and replaced[0].dropped == ["gate", "ramp", "head.wide"]
    assert FILE["part"]["method"]["gate"] == "x"
