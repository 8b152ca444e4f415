"""What a user did wrong, said in one line: where, what is wrong, what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

_SHOWN = 3  # offenders named in a message; the rest is counted


class InputError(Exception):
    """The user's error. The command line prints it without a traceback and exits with 2."""


def complain(where: object, what: str, do: str = "") -> InputError:
    """An InputError reading `where: what; do`."""
    return InputError(f"{where}: {what}; {do}" if do else f"{where}: {what}")


def some(items: Iterable[object]) -> str:
    """The first few items and how many there are: `a, b, c (3 of 17)`."""
    items = [str(item) for item in items]
    if len(items) <= _SHOWN:
        return ", ".join(items)
    return f"{', '.join(items[:_SHOWN])} ({_SHOWN} of {len(items)})"


def choose(where: object, name: str, choices: Iterable[str]) -> str:
    """`name` if it is one of the choices, else an InputError that names the nearest and lists all."""
    choices = sorted(choices)
    if name in choices:
        return name
    near = get_close_matches(str(name), choices, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(choices)}"
    raise complain(where, f"unknown name {name!r} (expected one of {', '.join(choices)})", hint)
