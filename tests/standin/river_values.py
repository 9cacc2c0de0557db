"""Turns the expressions of an Alloy configuration into values."""
from __future__ import annotations

import json
import os
import socket
from typing import Any, Callable, NamedTuple

from river import Node, Place


class Secret(str):
    """A text that must not end in a plain attribute; it does not show itself."""

    def __repr__(self) -> str:
        return "(secret)"


class Reference(NamedTuple):
    """A name with dots, such as `loki.write.loki.receiver`, until something answers to it."""

    parts: tuple[str, ...]


# Finds what a reference means: gives the value and how many parts of the name it took, or None.
Lookup = Callable[[tuple[str, ...], Place], Any]

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sys.env": lambda name: os.environ.get(name, ""),
    "env": lambda name: os.environ.get(name, ""),
    "nonsensitive": str,
    "convert.nonsensitive": str,
    "coalesce": lambda *values: next((value for value in values if value), values[-1] if values else None),
    "concat": lambda *lists: [item for one in lists for item in one],
    "array.concat": lambda *lists: [item for one in lists for item in one],
    "file.path_join": lambda *parts: os.path.normpath(os.path.join(*parts)),
    "string.join": lambda items, separator: separator.join(items),
    "string.split": lambda text, separator: text.split(separator),
    "string.replace": lambda text, old, new: text.replace(old, new),
    "string.to_lower": str.lower,
    "string.to_upper": str.upper,
    "string.trim_space": str.strip,
    "string.trim_prefix": lambda text, prefix: text[len(prefix):] if text.startswith(prefix) else text,
    "string.trim_suffix": lambda text, suffix: text[:-len(suffix)] if suffix and text.endswith(suffix) else text,
    "string.format": lambda text, *values: text % values,
    "encoding.from_json": json.loads,
    "encoding.to_json": json.dumps,
}
CONSTANTS: dict[str, Callable[[], str]] = {"constants.hostname": socket.gethostname, "constants.os": lambda: "linux",
                                           "constants.arch": lambda: os.uname().machine}
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "%": lambda a, b: a % b, "^": lambda a, b: a ** b, "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    "&&": lambda a, b: a and b, "||": lambda a, b: a or b}


def evaluate(node: Node, lookup: Lookup) -> Any:
    """The value of an expression; a `Refusal` names the place where there is none."""
    value = partly(node, lookup)
    return resolved(value, node.place, lookup) if isinstance(value, Reference) else value


def partly(node: Node, lookup: Lookup) -> Any:
    """As `evaluate`, but a name with dots stays a `Reference` that may go on growing."""
    kind, place, parts = node
    if kind == "literal":
        return parts
    if kind == "name":
        return Reference((parts,))
    if kind == "array":
        return [evaluate(item, lookup) for item in parts]
    if kind == "object":
        return {name: evaluate(item, lookup) for name, item in parts}
    if kind == "access":
        return accessed(node, lookup)
    if kind == "call":
        return called(node, lookup)
    try:
        if kind == "index":
            return evaluate(parts[0], lookup)[evaluate(parts[1], lookup)]
        if kind == "unary":
            value = evaluate(parts[1], lookup)
            return not value if parts[0] == "!" else -value
        return OPERATORS[parts[0]](evaluate(parts[1], lookup), evaluate(parts[2], lookup))
    except (TypeError, LookupError, ArithmeticError) as error:
        place.refuse(f"this expression has no value: {error}")


def accessed(node: Node, lookup: Lookup) -> Any:
    owner, name = node.parts
    value = partly(owner, lookup)
    if isinstance(value, Reference):
        return Reference((*value.parts, name))
    if isinstance(value, dict) and name in value:
        return value[name]
    node.place.refuse(f"there is no `{name}` here")


def called(node: Node, lookup: Lookup) -> Any:
    callee, arguments = node.parts
    value = partly(callee, lookup)
    name = ".".join(value.parts) if isinstance(value, Reference) else "this value"
    if name not in FUNCTIONS:
        node.place.refuse(f"the stand-in knows no function `{name}`")
    values = [evaluate(argument, lookup) for argument in arguments]
    try:
        return FUNCTIONS[name](*values)
    except (TypeError, ValueError, AttributeError) as error:
        node.place.refuse(f"`{name}`: {error}")


def resolved(reference: Reference, place: Place, lookup: Lookup) -> Any:
    name = ".".join(reference.parts)
    if name in CONSTANTS:
        return CONSTANTS[name]()
    return lookup(reference.parts, place)
