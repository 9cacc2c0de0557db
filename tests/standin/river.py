"""Reads the syntax of Alloy's configuration: blocks, attributes and expressions, each with its place."""
from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, NoReturn

from common import Refusal

TOKEN = re.compile(r"""
    (?P<newline>\n)
  | (?P<space>[ \t\r]+|//[^\n]*|/\*.*?\*/)
  | (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
  | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
  | (?P<name>[a-zA-Z_][a-zA-Z0-9_]*)
  | (?P<symbol>==|!=|<=|>=|&&|\|\||[-+*/%^!<>={}\[\]().,;])
""", re.X | re.S)
# After one of these a line end closes the statement, as in Go.
CLOSERS = ("string", "number", "name")
PRECEDENCE = {"||": 1, "&&": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "^": 6}
KEYWORDS = {"true": True, "false": False, "null": None}


class Place(NamedTuple):
    """Where something stands."""

    file: str
    line: int
    column: int

    def refuse(self, message: str) -> NoReturn:
        raise Refusal(f"`{self.file}`:{self.line}:{self.column}: {message}")


class Token(NamedTuple):
    """A word of the file."""

    kind: str
    text: str
    place: Place


class Node(NamedTuple):
    """An expression: a `literal`, `array`, `object`, `name`, `access`, `index`, `call`, `unary` or `binary`."""

    kind: str
    place: Place
    parts: Any


class Attribute(NamedTuple):
    """`name = value`."""

    name: str
    value: Node
    place: Place


class Block(NamedTuple):
    """`name "label" { ... }`."""

    name: str
    label: str
    attributes: list[Attribute]
    blocks: list["Block"]
    place: Place


def parse(text: str, name: str) -> Block:
    """The whole file as one block without a name."""
    parser = Parser(tokens(text, name))
    body = parser.body("", "", Place(name, 1, 1))
    if parser.token.kind != "end":
        parser.unexpected("the end of the file")
    return body


def tokens(text: str, name: str) -> list[Token]:
    found: list[Token] = []
    at, line, start = 0, 1, 0
    while at < len(text):
        place = Place(name, line, at - start + 1)
        match = TOKEN.match(text, at)
        if match is None:
            place.refuse(f"`{text[at]}` does not belong here" if text[at] not in '"`' else "the string has no end")
        closes = bool(found) and (found[-1].kind in CLOSERS or found[-1].text in (")", "]", "}"))
        if match.lastgroup == "newline" and closes:
            found.append(Token("terminator", "the line end", place))
        elif match.lastgroup not in ("newline", "space"):
            found.append(Token(match.lastgroup, match.group(), place))
        at = match.end()
        line += match.group().count("\n")
        start = text.rfind("\n", 0, at) + 1
    end = Place(name, line, at - start + 1)
    return found + [Token("terminator", "the end of the file", end), Token("end", "the end of the file", end)]


def unquote(token: Token) -> str:
    """The text that a string token stands for."""
    if token.text[0] == "`":
        return token.text[1:-1]
    named = {"a": "\\u0007", "v": "\\u000b", "'": "'"}
    body = re.sub(r"\\(?:([av'])|x([0-9a-fA-F]{2})|U([0-9a-fA-F]{8})|(.))", lambda match: _json_escape(match, named), token.text, flags=re.S)
    try:
        return json.loads(body, strict=False)
    except ValueError:
        token.place.refuse(f"{token.text} is not a string; look at its `\\`")


def _json_escape(match: re.Match, named: dict[str, str]) -> str:
    short, two, eight, other = match.groups()
    if eight:
        return json.dumps(chr(int(eight, 16)))[1:-1] if int(eight, 16) <= 0x10FFFF else "\\U"
    return named[short] if short else f"\\u00{two}" if two else "\\" + other


class Parser:
    """A recursive descent parser over the tokens."""

    def __init__(self, found: list[Token]) -> None:
        self.tokens, self.at = found, 0

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def unexpected(self, wanted: str) -> NoReturn:
        self.token.place.refuse(f"found `{self.token.text}`, wanted {wanted}")

    def take(self, text: str) -> bool:
        fits = self.token.text == text and self.token.kind == "symbol"
        self.at += fits
        return fits

    def want(self, text: str) -> None:
        if not self.take(text):
            self.unexpected(f"`{text}`")

    def want_name(self) -> str:
        if self.token.kind != "name":
            self.unexpected("a name")
        self.at += 1
        return self.tokens[self.at - 1].text

    def body(self, name: str, label: str, place: Place) -> Block:
        block = Block(name, label, [], [], place)
        while self.token.text != "}" and self.token.kind != "end":
            if self.token.kind == "terminator":
                self.at += 1
                continue
            self.statement(block)
            if self.token.text != "}" and self.token.kind != "terminator" and not self.take(";"):
                self.unexpected("the line end")
        return block

    def statement(self, block: Block) -> None:
        place = self.token.place
        name = self.want_name()
        while self.take("."):
            name += "." + self.want_name()
        if self.take("="):
            if "." in name:
                place.refuse(f"`{name}`: the name of an attribute has no dots")
            if any(name == known.name for known in block.attributes):
                place.refuse(f"attribute `{name}` may only be provided once")
            block.attributes.append(Attribute(name, self.expression(0), place))
            return
        label = ""
        if self.token.kind == "string":
            label = unquote(self.token)
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", label) or self.token.text[0] == "`":
                self.token.place.refuse(f"`{label}` is no label; wanted letters, digits and `_` in double quotes")
            self.at += 1
        if not self.take("{"):
            self.unexpected("`=` or `{`" if not label else "`{`")
        block.blocks.append(self.body(name, label, place))
        self.want("}")

    def expression(self, floor: int) -> Node:
        left = self.unary()
        while self.token.kind == "symbol" and PRECEDENCE.get(self.token.text, 0) > floor:
            operator, place = self.token.text, self.token.place
            self.at += 1
            right = self.expression(PRECEDENCE[operator] - (1 if operator == "^" else 0))
            left = Node("binary", place, (operator, left, right))
        return left

    def unary(self) -> Node:
        place = self.token.place
        for operator in ("!", "-"):
            if self.take(operator):
                return Node("unary", place, (operator, self.unary()))
        return self.suffixes(self.primary())

    def suffixes(self, node: Node) -> Node:
        while True:
            # All of it stands where its first word stands.
            if self.take("."):
                node = Node("access", node.place, (node, self.want_name()))
            elif self.take("["):
                node = Node("index", node.place, (node, self.expression(0)))
                self.want("]")
            elif self.take("("):
                node = Node("call", node.place, (node, self.items(")")))
            else:
                return node

    def primary(self) -> Node:
        token = self.token
        self.at += 1
        if token.kind == "string":
            return Node("literal", token.place, unquote(token))
        if token.kind == "number":
            return Node("literal", token.place, int(token.text) if token.text.isdigit() else float(token.text))
        if token.kind == "name":
            known = token.text in KEYWORDS
            return Node("literal" if known else "name", token.place, KEYWORDS[token.text] if known else token.text)
        if token.text == "(" and token.kind == "symbol":
            inner = self.expression(0)
            self.want(")")
            return inner
        if token.text == "[":
            return Node("array", token.place, self.items("]"))
        if token.text == "{":
            return Node("object", token.place, self.fields())
        self.at -= 1
        self.unexpected("a value")

    def items(self, end: str) -> list[Node]:
        found = []
        while not self.take(end):
            found.append(self.expression(0))
            if self.token.text != end:
                self.comma(end)
        return found

    def fields(self) -> list[tuple[str, Node]]:
        found: list[tuple[str, Node]] = []
        while not self.take("}"):
            token = self.token
            name = unquote(token) if token.kind == "string" else token.text
            if token.kind not in ("string", "name"):
                self.unexpected("a field's name")
            self.at += 1
            self.want("=")
            if any(name == known for known, _ in found):
                token.place.refuse(f"field `{name}` may only be provided once")
            found.append((name, self.expression(0)))
            if self.token.text != "}":
                self.comma("}")
        return found

    def comma(self, end: str) -> None:
        if self.token.kind == "terminator":
            self.token.place.refuse(f"missing `,` at the line end; the last item before `{end}` in a line of its own wants one too")
        self.want(",")
