"""YAML and `--set a.b=c` -> frozen dataclasses, strictly: an unknown key or a wrong type stops with the nearest.

Precedence: command line > YAML > default in the dataclass. A field whose kind is chosen by name (`method: {name:
dino, ...}`) is declared with `choice(table)`, where the table maps the name to its Config class.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml

from spkssl.errors import InputError, choose, complain

C = TypeVar("C")


def choice(table: Callable[[], Mapping[str, type]], default: str) -> Any:
    """A dataclass field holding one of the Config classes of a table, told apart by the key `name`."""
    return dataclasses.field(default_factory=lambda: table()[default](), metadata={"table": table, "default": default})


def choices(table: Callable[[], Mapping[str, type]], default: str) -> Any:
    """A dataclass field that maps keys of the user's to such choices; empty by default."""
    return dataclasses.field(default_factory=dict, metadata={"table": table, "default": default, "by_key": True})


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping a YAML file holds, over that of the file its key `base` names, if it has one."""
    return _over_base(Path(path), ())


def origin(path: str | Path) -> str:
    """The file for a message, with those it stands on, as a mistake may be in any of them."""
    below = _read(Path(path)).get("base")
    return f"{path}, over {origin(Path(path).parent / below)}" if below else str(path)


def _over_base(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """`above`: the files that stand on this one, which it cannot stand on in turn."""
    found = _read(path)
    if "base" not in found:
        return found
    base = found.pop("base")
    if not isinstance(base, str) or not base:
        raise complain(path, f"base: expected the path of a YAML file, got {base!r}")
    below = path.parent / base
    line = (*above, path)
    if below.resolve() in [file.resolve() for file in line]:
        raise complain(path, f"base: {base} stands on this file already")
    if not below.is_file():
        raise complain(path, f"base: no such file {below}", "give it relative to this file")
    return _merge(_over_base(below, line), found)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Sections are merged and values replaced; so is a section whose other `name` gives its keys another meaning."""
    out = _copy(below)
    for key, value in above.items():
        old = out.get(key)
        sections = isinstance(value, Mapping) and isinstance(old, Mapping)
        renamed = sections and "name" in value and value["name"] != old.get("name")
        out[key] = _merge(old, value) if sections and not renamed else _copy(value)
    return out


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise complain(path, "no such configuration file", "name an existing YAML with --config") from None
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise complain(path, f"not valid YAML ({' '.join(str(error).split())})") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise complain(path, f"expected sections at the top level, got a {type(found).__name__}")
    return found


def override(tree: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """A copy of the tree with every `a.b=value` set; values are read as YAML."""
    out = _copy(tree)
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign or not all(key.split(".")):
            raise complain("--set", f"expected a.b=value, got {setting!r}")
        node, *rest = out, *key.split(".")
        for name in rest[:-1]:
            if isinstance(node.get(name), str):
                node[name] = {"name": node[name]}  # a choice written as its name alone
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                raise complain("--set", f"{name} in {key} is a value, not a section")
        node[rest[-1]] = _scalar(key, value)
    return out


def build(cls: type[C], tree: Mapping[str, Any], where: object = "config") -> C:
    """The dataclass the tree describes. Unknown keys and wrong types are errors."""
    return _convert(cls, tree, "", where)


def fits(cls: type, name: str, value: Any) -> bool:
    """Whether the dataclass has such a field, for a value of this kind."""
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    if name not in fields:
        return False
    try:
        _convert_field(fields[name], typing.get_type_hints(cls)[name], value, name, "")
    except InputError:
        return False
    return True


def to_dict(config: Any) -> Any:
    """The tree `build` would read back: the resolved configuration."""
    if dataclasses.is_dataclass(config):
        return {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, tuple | list):
        return [to_dict(item) for item in config]
    if isinstance(config, Mapping):
        return {key: to_dict(value) for key, value in config.items()}
    return config


def dump_yaml(config: Any) -> str:
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True, width=100)


def _copy(tree: Any) -> Any:
    return {key: _copy(value) for key, value in tree.items()} if isinstance(tree, Mapping) else tree


def _scalar(key: str, text: str) -> Any:
    try:
        return yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        raise complain("--set", f"{key}: cannot read the value {text!r}", "quote it as in YAML") from None


def _build_fields(cls: type, tree: Any, key: str, where: object) -> Any:
    if not isinstance(tree, Mapping):
        raise complain(where, f"{key or 'top level'}: expected a section, got {tree!r}")
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    hints = typing.get_type_hints(cls)
    for name in tree:
        if name not in fields:
            near = get_close_matches(str(name), fields, n=1)
            hint = f"did you mean {_join(key, near[0])}?" if near else f"valid here: {', '.join(fields)}"
            raise complain(where, f"unknown key {_join(key, str(name))}", hint)
    values = {}
    for name, value in tree.items():
        values[name] = _convert_field(fields[name], hints[name], value, _join(key, name), where)
    missing = [n for n, f in fields.items() if n not in values and _required(f)]
    if missing:
        raise complain(where, f"missing key {_join(key, missing[0])}")
    try:
        return cls(**values)
    except ValueError as error:  # a dataclass that checks its own values
        raise complain(where, f"{key or cls.__name__}: {error}") from None


def _convert_field(field: dataclasses.Field, kind: Any, value: Any, key: str, where: object) -> Any:
    chosen = field.metadata
    if "by_key" in chosen:
        return _choose_each(chosen["table"](), chosen["default"], value, key, where)
    if "table" in chosen:
        return _choose(chosen["table"](), chosen["default"], value, key, where)
    return _convert(kind, value, key, where)


def _choose(table: Mapping[str, type], default: str, value: Any, key: str, where: object) -> Any:
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping):
        raise complain(where, f"{key}: expected a section with a name, got {value!r}")
    name = choose(f"{where}: {key}.name", value.get("name", default), table)
    return _build_fields(table[name], {**value, "name": name}, key, where)


def _choose_each(table: Mapping[str, type], default: str, tree: Any, key: str, where: object) -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        raise complain(where, f"{key}: expected a section for each name, got {tree!r}")
    return {str(name): _choose(table, default, value, _join(key, str(name)), where) for name, value in tree.items()}


def _convert(kind: Any, value: Any, key: str, where: object) -> Any:
    if dataclasses.is_dataclass(kind):
        return _build_fields(kind, value, key, where)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(args, value, key, where)
    if origin is typing.Literal:
        return choose(f"{where}: {key}", value, args) if value not in args else value
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(kinds) == len(value):
            pairs = zip(kinds, value, strict=True)
            return tuple(_convert(k, v, f"{key}[{i}]", where) for i, (k, v) in enumerate(pairs))
    if origin is dict and isinstance(value, Mapping):
        return {str(k): _convert(args[1], v, _join(key, str(k)), where) for k, v in value.items()}
    return _plain(kind, value, key, where)


def _convert_union(kinds: Sequence[Any], value: Any, key: str, where: object) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = [kind for kind in kinds if kind is not type(None)]
    exact = [kind for kind in kinds if isinstance(kind, type) and type(value) is kind]
    return _convert((exact or kinds)[0], value, key, where)


def _plain(kind: Any, value: Any, key: str, where: object) -> Any:
    if kind is Any:
        return value
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 as a string
        try:
            return float(value)
        except ValueError:
            pass
    if kind in (int, str, bool) and type(value) is kind:
        return value
    name = getattr(kind, "__name__", str(kind))
    raise complain(where, f"{key}: expected {name}, got {value!r}")


def _required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
