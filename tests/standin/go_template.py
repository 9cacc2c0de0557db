"""The part of Go's templates that log pipelines use: fields, variables, `if`, pipes and some functions."""
from __future__ import annotations

import json
import re
from typing import Any, Callable

ACTION = re.compile(r"(\s*)\{\{(-(?=\s))?(.*?)((?<=\s)-)?\}\}(\s*)", re.S)
TOKEN = re.compile(r"""\s*(?:("(?:[^"\\]|\\.)*"|`[^`]*`)|(-?[0-9]+(?:\.[0-9]+)?)|(\$?[A-Za-z_]\w*|\$)|((?:\.[A-Za-z_]\w*)+|\.)|(:=|[()|=,]))""")
LITERALS = {"true": True, "false": False, "nil": None}


class TemplateError(ValueError):
    """A template that is wrong, or that the stand-in does not know, or that fails on its data."""


def text(value: Any) -> str:
    """A value as Go prints it."""
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)


def string(value: Any) -> str:
    if not isinstance(value, str):
        raise TemplateError(f"wrong type for value; expected string; got {text(value)}")
    return value


def printf(pattern: str, *values: Any) -> str:
    left = list(values)

    def one(match: re.Match) -> str:
        if match.group(1) == "%":
            return "%"
        if not left:
            return f"%!{match.group(1)}(MISSING)"
        value = left.pop(0)
        return json.dumps(string(value), ensure_ascii=False) if match.group(1) == "q" else text(value)
    return re.sub(r"%([vsdq%])", one, pattern)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "ToLower": lambda value: string(value).lower(), "lower": lambda value: string(value).lower(),
    "ToUpper": lambda value: string(value).upper(), "upper": lambda value: string(value).upper(),
    "TrimSpace": lambda value: string(value).strip(), "trim": lambda value: string(value).strip(),
    "TrimPrefix": lambda value, prefix: string(value)[len(prefix):] if value.startswith(prefix) else value,
    "trimPrefix": lambda prefix, value: string(value)[len(prefix):] if value.startswith(prefix) else value,
    "Replace": lambda value, old, new, count: string(value).replace(old, new, count),
    "replace": lambda old, new, value: string(value).replace(old, new),
    "contains": lambda part, value: part in string(value), "hasPrefix": lambda prefix, value: string(value).startswith(prefix),
    "eq": lambda first, *others: any(first == other for other in others), "ne": lambda first, other: first != other,
    "not": lambda value: not value, "len": lambda value: len(string(value)), "printf": printf,
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "or": lambda *values: next((value for value in values if value), values[-1]),
    "default": lambda other, value: value or other,
}


class Template:
    """A parsed template; `missing` is what a field that is not there prints."""

    def __init__(self, source: str, missing: str) -> None:
        self.missing = missing
        self.items = self._split(source)
        self.at = 0
        self.body, end = self._block()
        if end:
            raise TemplateError(f"unexpected {{{{{end}}}}}")

    def run(self, data: dict[str, Any]) -> str:
        return "".join(_run(self.body, {"": data}, self.missing))

    def _split(self, source: str) -> list[tuple[str, str]]:
        """Texts and actions in turn."""
        items, last = [], 0
        for match in ACTION.finditer(source):
            before, cut_left, action, cut_right, after = match.groups()
            items.append(("text", source[last:match.start()] + ("" if cut_left else before)))
            items.append(("action", action.strip()))
            last = match.end() if cut_right else match.end() - len(after)
        items.append(("text", source[last:]))
        if any("{{" in value for kind, value in items if kind == "text"):
            raise TemplateError("unclosed action")
        return items

    def _block(self) -> tuple[list, str]:
        """The nodes up to an `else` or `end`, and which of them it was."""
        nodes: list[Any] = []
        while self.at < len(self.items):
            kind, value = self.items[self.at]
            self.at += 1
            word = value.split(None, 1)[0] if value.split() else ""
            if kind == "text":
                nodes.append(("text", value))
            elif word in ("else", "end"):
                return nodes, value
            elif word == "if":
                nodes.append(self._condition(value[2:]))
            elif word in ("range", "with", "define", "template", "block"):
                raise TemplateError(f"the stand-in does not know {{{{{word}}}}}")
            elif not value.startswith("/*"):
                nodes.append(_Parser(value).statement())
        return nodes, ""

    def _condition(self, source: str) -> tuple:
        test = _Parser(source).whole()
        body, end = self._block()
        other: list[Any] = []
        if end.startswith("else if"):
            other = [self._condition(end[len("else if"):])]
        elif end == "else":
            other, end = self._block()
            if end != "end":
                raise TemplateError("an {{else}} wants its {{end}}")
        elif end != "end":
            raise TemplateError("an {{if}} wants its {{end}}")
        return "if", test, body, other


class _Parser:
    """Reads the expression of one action."""

    def __init__(self, source: str) -> None:
        self.words, at = [], 0
        while source[at:].strip():
            match = TOKEN.match(source, at)
            if match is None:
                raise TemplateError(f"unexpected `{source[at:].strip()[:10]}`")
            self.words.append(match.group().strip())
            at = match.end()

    def take(self, *wanted: str) -> str:
        return self.words.pop(0) if self.words and self.words[0] in wanted else ""

    def statement(self) -> tuple:
        if len(self.words) > 1 and self.words[0].startswith("$") and self.words[1] in (":=", "="):
            name = self.words.pop(0)
            self.words.pop(0)
            return "set", name, self.whole()
        return "print", self.whole()

    def whole(self) -> Callable:
        found = self.pipeline()
        if self.words:
            raise TemplateError(f"unexpected `{self.words[0]}`")
        return found

    def pipeline(self) -> Callable:
        found = self.command(None)
        while self.take("|"):
            found = self.command(found)
        return found

    def command(self, piped: Callable | None) -> Callable:
        name = self.words[0] if self.words else ""
        if re.fullmatch(r"[A-Za-z_]\w*", name) and name not in LITERALS:
            if name not in FUNCTIONS:
                raise TemplateError(f"function `{name}` not defined in the stand-in")
            self.words.pop(0)
            arguments = []
            while self.words and self.words[0] not in (")", "|"):
                arguments.append(self.operand())
            arguments += [piped] if piped else []
            return lambda scope: _call(name, [argument(scope) for argument in arguments])
        if piped:
            raise TemplateError(f"`{name}` is no function to pipe into")
        return self.operand()

    def operand(self) -> Callable:
        if self.take("("):
            inner = self.pipeline()
            if not self.take(")"):
                raise TemplateError("unclosed left parenthesis")
            return inner
        if not self.words or self.words[0] in (")", "|", ":=", "=", ","):
            raise TemplateError("missing value for command")
        word = self.words.pop(0)
        if word in LITERALS:
            return lambda scope: LITERALS[word]
        if word[0] in '"`':
            value = word[1:-1] if word[0] == "`" else json.loads(word, strict=False)
            return lambda scope: value
        if word[0] == "$" and len(word) > 1:
            return lambda scope: _variable(scope, word)
        if word[0] in "$.":
            return lambda scope: _field(scope[""], word.lstrip("$"))
        if re.fullmatch(r"-?[0-9.]+", word):
            number = float(word) if "." in word else int(word)
            return lambda scope: number
        return lambda scope: _call(word, [])


def _variable(scope: dict[str, Any], name: str) -> Any:
    if name not in scope:
        raise TemplateError(f"undefined variable `{name}`")
    return scope[name]


def _field(data: Any, path: str) -> Any:
    for name in filter(None, path.split(".")):
        data = data.get(name) if isinstance(data, dict) else None
    return data


def _call(name: str, values: list[Any]) -> Any:
    if name not in FUNCTIONS:
        raise TemplateError(f"function `{name}` not defined in the stand-in")
    try:
        return FUNCTIONS[name](*values)
    except (TypeError, IndexError, AttributeError) as error:
        raise TemplateError(f"error calling {name}: {error}") from error


def _run(nodes: list, scope: dict[str, Any], missing: str) -> list[str]:
    """What the nodes print; a variable set inside an `if` ends with it."""
    found: list[str] = []
    for node in nodes:
        if node[0] == "text":
            found.append(node[1])
        elif node[0] == "set":
            scope[node[1]] = node[2](scope)
        elif node[0] == "print":
            value = node[1](scope)
            found.append(missing if value is None else text(value))
        else:
            found += _run(node[2] if node[1](scope) else node[3], dict(scope), missing)
    return found
