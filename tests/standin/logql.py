"""Reads LogQL, the query language of Loki: the part that dashboards, alert rules and checks use."""
from __future__ import annotations

import json
import re
from typing import NoReturn

import logql_stages as stages
from common import BadRequest, duration
from logql_tree import Aggregate, Binary, Expression, Grouping, Log, Matcher, Number, Range, Stage, Unwrap

TOKEN = re.compile(r"""
    (?P<space>\s+|\#[^\n]*)
  | (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
  | (?P<duration>(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h|d|w|y))+(?![a-zA-Z0-9_]))
  | (?P<bytes>[0-9]+(?:\.[0-9]+)?(?:[kKMGTP]i?)?B(?![a-zA-Z0-9_]))
  | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
  | (?P<name>[a-zA-Z_][a-zA-Z0-9_]*)
  | (?P<symbol>\|=|\|~|=~|!=|!~|==|>=|<=|[-+*/%^(){}\[\],|=<>])
""", re.X)
RANGE_PLAIN = ("count_over_time", "rate", "bytes_over_time", "bytes_rate", "absent_over_time")
RANGE_UNWRAPPED = ("sum_over_time", "avg_over_time", "min_over_time", "max_over_time", "first_over_time",
                   "last_over_time", "quantile_over_time", "rate", "absent_over_time")
VECTOR = ("sum", "avg", "min", "max", "count", "topk", "bottomk", "sort", "sort_desc")
PRECEDENCE = {"or": 1, "and": 2, "unless": 2, "==": 3, "!=": 3, ">": 3, ">=": 3, "<": 3, "<=": 3,
              "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "^": 6}


def parse(text: str) -> Expression:
    """The expression that `text` says; a `BadRequest` names the place where it does not."""
    parser = Parser(text)
    value = parser.expression(0)
    if parser.kind != "end":
        parser.unexpected("the end")
    return value


class Parser:
    """A recursive descent parser over the tokens."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.at = text, [], 0
        position = 0
        while position < len(text):
            match = TOKEN.match(text, position)
            if match is None:
                self.fail(position, f"unexpected character `{text[position]}`")
            if match.lastgroup != "space":
                self.tokens.append((match.lastgroup, match.group(), position))
            position = match.end()
        self.tokens.append(("end", "the end", len(text)))

    kind = property(lambda self: self.tokens[self.at][0])
    word = property(lambda self: self.tokens[self.at][1])

    def fail(self, position: int, message: str) -> NoReturn:
        line = self.text.count("\n", 0, position) + 1
        column = position - self.text.rfind("\n", 0, position)
        raise BadRequest(f"parse error at line {line}, col {column}: {message}")

    def unexpected(self, wanted: str) -> NoReturn:
        self.fail(self.tokens[self.at][2], f"syntax error: unexpected `{self.word}`, expecting {wanted}")

    def take(self, *words: str) -> str | None:
        if self.kind in ("symbol", "name") and self.word in words:
            self.at += 1
            return self.tokens[self.at - 1][1]
        return None

    def want(self, *words: str) -> str:
        return self.take(*words) or self.unexpected(" or ".join(f"`{word}`" for word in words))

    def want_kind(self, kind: str) -> str:
        if self.kind != kind:
            self.unexpected(f"a {kind}")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def string(self) -> str:
        word = self.want_kind("string")
        if word[0] == "`":
            return word[1:-1]
        try:
            return json.loads(re.sub(r"\\([av']|x([0-9a-fA-F]{2}))", _go_escape, word), strict=False)
        except ValueError:
            self.fail(self.tokens[self.at - 1][2], f"invalid string {word}")

    def names(self) -> list[str]:
        self.want("(")
        found = []
        while not self.take(")"):
            found.append(self.want_kind("name"))
            if self.word != ")":
                self.want(",")
        return found

    def regex(self, text: str) -> str:
        try:
            re.compile(text)
        except re.error as error:
            self.fail(self.tokens[self.at - 1][2], f"error parsing regexp: {error}: `{text}`")
        return text

    # Metric expressions

    def expression(self, floor: int) -> Expression:
        left = self.primary()
        while self.kind in ("symbol", "name") and PRECEDENCE.get(self.word, 0) > floor:
            if isinstance(left, Log):
                self.unexpected("a stage")
            operator = self.want(self.word)
            as_bool = bool(self.take("bool"))
            if self.take("on", "ignoring", "group_left", "group_right"):
                self.at -= 1
                self.fail(self.tokens[self.at][2], f"the stand-in does not know `{self.word}`")
            right = self.expression(PRECEDENCE[operator] - (1 if operator == "^" else 0))
            left = Binary(operator, left, right, as_bool)
        return left

    def primary(self) -> Expression:
        if self.kind == "symbol" and self.word == "{":
            return self.log()
        if self.take("("):
            value = self.expression(0)
            self.want(")")
            return value
        if self.kind == "number":
            return Number(float(self.want_kind("number")), False)
        if self.take("-"):
            return Number(-float(self.want_kind("number")), False)
        if self.take("vector"):
            self.want("(")
            value = Number(float(self.want_kind("number")), True)
            self.want(")")
            return value
        if self.kind == "name" and self.word in VECTOR:
            return self.aggregate()
        if self.kind == "name" and self.word in RANGE_PLAIN + RANGE_UNWRAPPED:
            return self.range()
        if self.kind == "name":
            self.fail(self.tokens[self.at][2], f"syntax error: the stand-in does not know `{self.word}`")
        self.unexpected("a selector or a function")

    def grouping(self) -> Grouping | None:
        keyword = self.take("by", "without")
        return Grouping(keyword, self.names()) if keyword else None

    def parameter(self) -> float | None:
        if self.kind != "number":
            return None
        value = float(self.want_kind("number"))
        self.want(",")
        return value

    def aggregate(self) -> Aggregate:
        function, before = self.want_kind("name"), self.grouping()
        self.want("(")
        parameter = self.parameter()
        if (parameter is None) == (function in ("topk", "bottomk")):
            self.unexpected(f"the parameter of {function}" if parameter is None else "no parameter")
        inner = self.expression(0)
        if isinstance(inner, Log):
            self.unexpected("a range such as `[5m]`")
        self.want(")")
        return Aggregate(function, parameter, inner, before or self.grouping())

    def range(self) -> Range:
        start = self.tokens[self.at][2]
        function = self.want_kind("name")
        self.want("(")
        parameter = self.parameter()
        log, seconds, offset = self.ranged_log()
        self.want(")")
        grouping = self.grouping()
        if function not in (RANGE_UNWRAPPED if log.unwrap else RANGE_PLAIN):
            self.fail(start, f"invalid aggregation {function} {'with' if log.unwrap else 'without'} unwrap")
        if grouping and (log.unwrap is None or function in ("rate", "sum_over_time")):
            self.fail(start, f"grouping not allowed for {function} aggregation")
        if (parameter is None) == (function == "quantile_over_time"):
            self.fail(start, f"invalid parameter for {function}")
        return Range(function, parameter, log, seconds, offset, grouping)

    def ranged_log(self) -> tuple[Log, float, float]:
        wrapped = bool(self.take("("))
        log = self.log()
        if wrapped:
            self.want(")")
        self.want("[")
        seconds = duration(self.want_kind("duration"))
        self.want("]")
        offset = duration(self.want_kind("duration")) if self.take("offset") else 0.0
        # A range may also stand before the stages.
        more, unwrap = self.pipeline()
        return Log(log.matchers, log.stages + more, log.unwrap or unwrap), seconds, offset

    # Log expressions

    def log(self) -> Log:
        start = self.tokens[self.at][2]
        self.want("{")
        matchers = []
        while not self.take("}"):
            name, operator = self.want_kind("name"), self.want("=", "!=", "=~", "!~")
            value = self.string()
            matchers.append(Matcher(name, operator, self.regex(value) if "~" in operator else value))
            if self.word != "}":
                self.want(",") if self.word == "," else self.unexpected("`}` or `,`")
        if not any(one.operator in ("=", "=~") and not one.takes({}) for one in matchers):
            self.fail(start, "queries require at least one regexp or equality matcher that does not have an empty-compatible "
                             'value. For instance, app=~".*" does not meet this requirement, but app=~".+" will')
        found, unwrap = self.pipeline()
        return Log(matchers, found, unwrap)

    def pipeline(self) -> tuple[list[Stage], Unwrap | None]:
        found: list[Stage] = []
        unwrap = None
        while operator := self.take("|=", "!=", "|~", "!~", "|"):
            if operator != "|":
                found.append(self.line_filter(operator))
            elif self.take("unwrap"):
                unwrap = self.unwrap()
            else:
                found.append(stages.parse(self))
        return found, unwrap

    def line_filter(self, operator: str) -> Stage:
        texts = [self.string()]
        while self.take("or"):
            texts.append(self.string())
        if "~" in operator:
            texts = [self.regex(text) for text in texts]
        return stages.line_filter(operator, texts)

    def unwrap(self) -> Unwrap:
        name = self.want_kind("name")
        if not self.take("("):
            return Unwrap(name, float)
        converters = {"duration": duration, "duration_seconds": duration, "bytes": stages.size}
        if name not in converters:
            self.fail(self.tokens[self.at - 2][2], f"unknown conversion `{name}`")
        label = self.want_kind("name")
        self.want(")")
        return Unwrap(label, converters[name])


def _go_escape(match: re.Match) -> str:
    named = {"a": "\\u0007", "v": "\\u000b", "'": "'"}
    return named.get(match.group(1)) or f"\\u00{match.group(2)}"
