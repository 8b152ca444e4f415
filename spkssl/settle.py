"""--set may replace a choice, such as a system's method, by another: what then becomes of the YAML's keys for it.

`--set retrain.method.name=aamsupcon` over the YAML of another method keeps what both know, such as the number of
frames, and drops what aamsupcon has no use for. A key that --set itself gives is never dropped.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from spkssl.config import fits, override


class Replaced(NamedTuple):
    """A choice whose name --set changed, and what became of the keys that the YAML gives it."""

    where: object
    key: str
    old: str
    new: str
    dropped: list[str]
    kept: list[str]

    def __str__(self) -> str:
        dropped, kept = (", ".join(keys) or "nothing" for keys in (self.dropped, self.kept))
        return f"{self.where}: {self.key} is {self.new} by --set, not {self.old}: dropped {dropped}; kept {kept}"


def settle(
    cls: type, file: Mapping[str, Any], settings: Sequence[str], key: str = "", where: object = "config"
) -> tuple[dict[str, Any], list[Replaced]]:
    """What `override` gives, without the keys of the file that suit only a choice which a setting replaced.

    Dropped is what the former Config understands and the new one does not; a key that neither knows is left for
    `build` to complain of, and so is one that --set itself gives. `key`: section of file and settings that `cls` is.
    """
    tree, given, replaced = override(file, settings), override({}, settings), []
    if key:
        tree, file, given = (_section(each, key) for each in (tree, file, given))
    _settle_fields(cls, tree, file, given, key, replaced)
    return tree, [each._replace(where=where) for each in replaced]


def _section(tree: Any, name: str) -> Any:
    return (tree.get(name) or {}) if isinstance(tree, Mapping) else {}


def _settle_fields(cls: type, tree: Any, file: Any, given: Any, key: str, replaced: list[Replaced]) -> None:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        below, place = [_section(each, field.name) for each in (tree, file, given)], _join(key, field.name)
        if not below[2] or not isinstance(below[0], dict):
            continue
        if "by_key" in field.metadata:
            for name in below[0]:
                _settle_choice(field.metadata, *(_section(each, name) for each in below), f"{place}.{name}", replaced)
        elif "table" in field.metadata:
            _settle_choice(field.metadata, *below, place, replaced)
        elif dataclasses.is_dataclass(hints[field.name]):
            _settle_fields(hints[field.name], *below, place, replaced)


def _settle_choice(chosen: Any, tree: Any, file: Any, given: Any, key: str, replaced: list[Replaced]) -> None:
    table = chosen["table"]()
    old = (file if isinstance(file, str) else _section(file, "name")) or chosen["default"]
    new = _section(given, "name") or old
    if not isinstance(tree, dict) or not all(isinstance(name, str) and name in table for name in (old, new)):
        return
    if new != old:
        found = Replaced("", key, old, new, [], [])
        _drop(table[old], table[new], tree, given, "", found)
        replaced += [found] if found.dropped or found.kept else []
    _settle_fields(table[new], tree, file, given, key, replaced)


def _drop(old: type, new: type, tree: dict[str, Any], given: Any, key: str, found: Replaced) -> None:
    """Take from the tree what `old` understands and `new` does not, where it is not given by --set."""
    for name in [name for name in tree if (key, name) != ("", "name")]:
        value, place = tree[name], _join(key, str(name))
        sections = [_field_kind(cls, name) for cls in (old, new)]
        both = all(map(dataclasses.is_dataclass, sections)) and isinstance(value, dict)
        ours = name not in given
        if both and (not ours or not fits(new, name, value)):
            _drop(*sections, value, _section(given, name), place, found)
        elif ours and fits(new, name, value):
            found.kept.append(place)
        elif ours and fits(old, name, value):
            found.dropped.append(place)
            del tree[name]


def _field_kind(cls: type, name: str) -> Any:
    return typing.get_type_hints(cls).get(name)


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
