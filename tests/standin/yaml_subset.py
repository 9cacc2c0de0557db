"""Reads the part of YAML that configuration files use; anything else is refused with its place.

Block mappings and lists, plain and quoted scalars, block scalars (`|` and `>`), and JSON-like flow values.
Anchors, aliases, tags, several documents and plain scalars over several lines are refused.
"""
from __future__ import annotations

import re
from typing import Any, NoReturn

from common import Refusal

KEY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#\[\]{},&*!|>'"%@`-][^#]*?|-[^\s#][^#]*?)\s*:(?=\s|$)""")
NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "v": "\v",
           "N": "\x85", "_": "\xa0", '"': '"', "/": "/", "\\": "\\", " ": " "}


def load(text: str, name: str) -> Any:
    """The value that `text` holds; `name` is the file's name, for messages."""
    return Reader(text, name).document()


class Reader:
    """Walks over the lines of one document."""

    def __init__(self, text: str, name: str) -> None:
        self.name, self.at = name, 0
        self.lines = text.removesuffix("\n").split("\n")

    def refuse(self, message: str, line: int | None = None) -> NoReturn:
        raise Refusal(f"`{self.name}`:{(self.at if line is None else line) + 1}: {message}")

    def document(self) -> Any:
        if self.peek() and self.lines[self.at].rstrip() == "---":
            self.at += 1
        found = self.peek()
        if found is None:
            return None
        value = self.block(found[0])
        if self.peek() is not None:
            self.refuse("this line does not belong to what is above it; look at its indentation")
        return value

    def peek(self) -> tuple[int, str] | None:
        """The indentation and text of the next line that says something."""
        while self.at < len(self.lines):
            line = self.lines[self.at].rstrip()
            body = line.lstrip(" ")
            if body.startswith("\t"):
                self.refuse("a tab in the indentation; YAML wants spaces")
            if body and not body.startswith("#"):
                return len(line) - len(body), body
            self.at += 1
        return None

    def block(self, indent: int) -> Any:
        body = self.lines[self.at][indent:].rstrip()
        if body == "-" or body.startswith("- "):
            return self.sequence(indent)
        if KEY.match(body):
            return self.mapping(indent)
        return self.value(indent, body, indent)

    def sequence(self, indent: int) -> list[Any]:
        items = []
        while (found := self.peek()) and found[0] == indent and re.match(r"-(\s|$)", found[1]):
            rest = found[1][1:].lstrip()
            if rest == "" or rest.startswith("#"):
                self.at += 1
                items.append(self.nested(indent))
                continue
            # What follows the dash is a block of its own, as deep as it stands.
            column = indent + len(found[1]) - len(rest)
            self.lines[self.at] = " " * column + rest
            items.append(self.block(column))
        return items

    def mapping(self, indent: int) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while (found := self.peek()) and found[0] == indent:
            match = KEY.match(found[1])
            if match is None:
                if re.match(r"-(\s|$)", found[1]):
                    break
                self.refuse(f"found `{found[1][:40]}`, wanted `key: value`")
            key = scalar(match.group(1), self.refuse) if match.group(1)[0] in "\"'" else match.group(1)
            if key in items:
                self.refuse(f"`{key}` is given twice")
            rest = found[1][match.end():].lstrip()
            items[key] = self.value(indent, rest, indent + len(found[1]) - len(rest))
        return items

    def nested(self, indent: int) -> Any:
        found = self.peek()
        return self.block(found[0]) if found and found[0] > indent else None

    def value(self, indent: int, rest: str, column: int) -> Any:
        """The value that starts at `rest` in this line and belongs to something at `indent`."""
        if rest == "" or rest.startswith("#"):
            self.at += 1
            found = self.peek()
            if found and found[0] == indent and re.match(r"-(\s|$)", found[1]):
                return self.sequence(indent)
            return self.nested(indent)
        if rest[0] in "|>":
            return self.block_scalar(indent, rest)
        if rest[0] in "{[":
            return self.flow(column)
        if re.match(r"[-?](\s|$)", rest):
            self.refuse(f"`{rest[0]}` cannot start a value in this line")
        if rest[0] in "&*!%@`,]}":
            self.refuse(f"`{rest[0]}` cannot start a value here; this reader knows no anchors, aliases and tags")
        text = quoted(rest, self.refuse) if rest[0] in "\"'" else re.split(r"\s#", rest)[0].rstrip()
        if text[0] not in "\"'" and re.search(r":(\s|$)", text):
            self.refuse(f"`{text[:40]}` holds a second `:`; put the value in quotes")
        self.at += 1
        found = self.peek()
        if found and found[0] > indent and column > indent:
            self.refuse("a value goes on in this line; put it in quotes or use `|`")
        return scalar(text, self.refuse)

    def block_scalar(self, indent: int, head: str) -> str:
        match = re.fullmatch(r"([|>])([1-9]?)([-+]?)([1-9]?)(\s+#.*)?", head)
        if match is None:
            self.refuse(f"`{head}` does not start a block scalar")
        self.at += 1
        first, lines = self.at, []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
                break
            lines.append(line)
            self.at += 1
        depth = indent + int(match.group(2) or match.group(4) or 0)
        if depth == indent:
            depth = next((len(line) - len(line.lstrip(" ")) for line in lines if line.strip()), 0)
        for offset, line in enumerate(lines):
            if line.strip() and line[:depth].strip():
                self.refuse("this line stands less deep than the first one of its text", first + offset)
        return chomped(match.group(1), match.group(3), [line[depth:] for line in lines])

    def flow(self, column: int) -> Any:
        """A value in braces or brackets, over as many lines as it takes."""
        first = self.at
        text = "\n".join([self.lines[first][column:], *self.lines[first + 1:]])
        reader = Flow(text, lambda message, at: self.refuse(message, first + text.count("\n", 0, at)))
        value = reader.value()
        self.at = first + text.count("\n", 0, reader.at)
        rest = text[reader.at:].split("\n", 1)[0].strip()
        if rest and not rest.startswith("#"):
            self.refuse(f"found `{rest[:40]}` after the end of the value")
        self.at += 1
        return value


def chomped(style: str, chomp: str, lines: list[str]) -> str:
    """The text of a block scalar: folded for `>`, its end cut as `-` or `+` say."""
    body = list(lines)
    while body and not body[-1].strip():
        body.pop()
    text = folded(body) if style == ">" else "\n".join(body)
    if chomp == "+":
        return text + "\n" * (len(lines) - len(body) + (1 if body else 0))
    return text + ("" if chomp == "-" or not body else "\n")


def folded(lines: list[str]) -> str:
    """Joins lines by spaces; empty lines and deeper ones keep their line ends."""
    text, last, empty = "", None, 0
    for line in lines:
        if not line.strip():
            empty += 1
            continue
        if last is None:
            joint = "\n" * empty
        elif line[0] == " " or last[0] == " ":
            joint = "\n" * (empty + 1)
        else:
            joint = "\n" * empty or " "
        text, last, empty = text + joint + line, line, 0
    return text


def quoted(text: str, refuse: Any) -> str:
    """The quoted scalar at the start of `text`, with its quotes; only a comment may follow it."""
    match = re.match(r'"(?:[^"\\]|\\.)*"' if text[0] == '"' else r"'(?:[^']|'')*'", text)
    if match is None:
        refuse("a quoted value has no end in its line")
    rest = text[match.end():]
    if rest.strip() and not re.match(r"\s+#", rest):
        refuse(f"found `{rest.strip()[:40]}` after a quoted value")
    return match.group()


def scalar(text: str, refuse: Any) -> Any:
    """The value of one scalar as it stands in the file."""
    if text[:1] == '"':
        return unescaped(text[1:-1], refuse)
    if text[:1] == "'":
        return text[1:-1].replace("''", "'")
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if NUMBER.fullmatch(text):
        return int(text)
    return float(text) if FLOAT.fullmatch(text) else text


def unescaped(text: str, refuse: Any) -> str:
    """Resolves the escapes of a double-quoted scalar; a pair such as `\\uD83D\\uDE00`, as JSON has it, is one character."""
    def one(match: re.Match) -> str:
        escape = match.group(1)
        if len(escape) > 1:
            return chr(int(escape[1:], 16))
        if escape not in ESCAPES:
            refuse(f"`\\{escape}` is not an escape")
        return ESCAPES[escape]

    joined = re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", one, text, flags=re.S)
    return joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Flow:
    """Reads one value in flow style, of which JSON is a part."""

    def __init__(self, text: str, refuse: Any) -> None:
        self.text, self.at, self._refuse = text, 0, refuse

    def refuse(self, message: str) -> NoReturn:
        raise self._refuse(message, self.at)

    def skip(self) -> str:
        match = re.compile(r"(?:\s|(?<=\s)#[^\n]*)*").match(self.text, self.at)
        self.at = match.end()
        return self.text[self.at:self.at + 1]

    def value(self) -> Any:
        start = self.skip()
        if start == "{":
            return self.mapping()
        if start == "[":
            return self.sequence()
        return scalar(self.scalar_text(), self.refuse)

    def scalar_text(self) -> str:
        pattern = r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s,\[\]{}"':&*!#](?:[^,\[\]{}:\n#]|:(?![\s,\[\]{}])|(?<=\S)#)*)"""
        match = re.compile(pattern, re.S).match(self.text, self.at)
        if match is None:
            self.refuse(f"found `{self.text[self.at:self.at + 20].strip()}`, wanted a value")
        self.at = match.end()
        return match.group(1).rstrip()

    def mapping(self) -> dict[str, Any]:
        items: dict[str, Any] = {}
        self.at += 1
        while self.skip() != "}":
            key = scalar(self.scalar_text(), self.refuse)
            if self.skip() != ":":
                self.refuse(f"found `{self.text[self.at:self.at + 20].strip()}`, wanted `:` after `{key}`")
            self.at += 1
            if str(key) in items:
                self.refuse(f"`{key}` is given twice")
            items[str(key)] = None if self.skip() in (",", "}") else self.value()
            self.separator("}")
        self.at += 1
        return items

    def sequence(self) -> list[Any]:
        items = []
        self.at += 1
        while self.skip() != "]":
            items.append(self.value())
            self.separator("]")
        self.at += 1
        return items

    def separator(self, end: str) -> None:
        found = self.skip()
        if found == ",":
            self.at += 1
        elif found != end:
            self.refuse(f"found `{self.text[self.at:self.at + 20].strip() or 'the end'}`, wanted `,` or `{end}`")
