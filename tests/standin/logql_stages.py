"""What a log line goes through in a LogQL pipeline: filters, parsers and formats."""
from __future__ import annotations

import json
import re
from typing import Any, Callable

from common import BadRequest, duration, well_formed
from go_template import Template, TemplateError
from logql_tree import Row, Stage, compare

SIZES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
ORDERS = {">": lambda a, b: a > b, ">=": lambda a, b: a >= b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
          "=": lambda a, b: a == b, "==": lambda a, b: a == b, "!=": lambda a, b: a != b}


def size(text: str) -> float:
    """Reads a size such as `5KB` or `1.5MiB`, in bytes."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*([kKMGTP]?)(i?)B?\s*", text)
    if match is None:
        raise ValueError(f"`{text}` is not a size")
    power = list(SIZES).index(match.group(2).upper() or "") - (1 if match.group(2) else 0)
    return float(match.group(1)) * (1024 ** power if match.group(3) else SIZES[match.group(2)])


def line_filter(operator: str, texts: list[str]) -> Stage:
    """Keeps the lines that hold one of the texts, or those that hold none."""
    patterns = [re.compile(text if "~" in operator else re.escape(text)) for text in texts]
    wanted = operator[0] == "|"
    return Stage(lambda row: any(pattern.search(row.line) for pattern in patterns) == wanted, False)


def parse(parser: Any) -> Stage:
    """Reads the stage that follows a `|`."""
    following = parser.tokens[min(parser.at + 1, len(parser.tokens) - 1)][1]
    if parser.kind == "name" and parser.word in STAGES and following not in ORDERS and following not in ("=~", "!~"):
        return STAGES[parser.want_kind("name")](parser)
    test = label_test(parser)
    return Stage(test, True)


# Conditions on labels

def label_test(parser: Any) -> Callable[[Row], bool]:
    tests = [label_conjunction(parser)]
    while parser.take("or"):
        tests.append(label_conjunction(parser))
    return tests[0] if len(tests) == 1 else lambda row: any(test(row) for test in tests)


def label_conjunction(parser: Any) -> Callable[[Row], bool]:
    tests = [label_condition(parser)]
    while parser.take("and", ","):
        tests.append(label_condition(parser))
    return tests[0] if len(tests) == 1 else lambda row: all(test(row) for test in tests)


def label_condition(parser: Any) -> Callable[[Row], bool]:
    if parser.take("("):
        test = label_test(parser)
        parser.want(")")
        return test
    name = parser.want_kind("name")
    operator = parser.want("=~", "!~", *ORDERS)
    if parser.kind == "string" and operator in ("=", "!=", "=~", "!~"):
        value = parser.string()
        wanted = parser.regex(value) if "~" in operator else value
        return lambda row: compare(operator, row.labels.get(name, ""), wanted)
    converters = {"number": float, "duration": duration, "bytes": size}
    if parser.kind not in converters or "~" in operator:
        parser.unexpected("a string, a number, a duration or a size")
    convert = converters[parser.kind]
    return numeric_test(name, operator, convert, convert(parser.want_kind(parser.kind)))


def numeric_test(name: str, operator: str, convert: Callable[[str], float], wanted: float) -> Callable[[Row], bool]:
    def test(row: Row) -> bool:
        if name not in row.labels:
            return False
        try:
            return "__error__" in row.labels or ORDERS[operator](convert(row.labels[name]), wanted)
        except ValueError as error:
            row.fail("LabelFilterErr", str(error))
            return True
    return test


# Parsers

def fields(parser: Any) -> dict[str, str]:
    """The list after `| json` or `| logfmt`: `name="path", other`; empty means all."""
    found: dict[str, str] = {}
    while parser.kind == "name":
        name = parser.want_kind("name")
        found[name] = parser.string() if parser.take("=") else name
        if not parser.take(","):
            break
    return found


def json_stage(parser: Any) -> Stage:
    wanted = fields(parser)

    def run(row: Row) -> bool:
        try:
            value = json.loads(row.line, parse_float=str, parse_int=str)
        except ValueError:
            value = None
        if not isinstance(value, dict) and not (wanted and isinstance(value, list)):
            # One text for all, for the details are labels and would part the lines into many series.
            row.fail("JSONParserErr", "the line is not a JSON object")
        elif wanted:
            for name, path in wanted.items():
                row.extract(name, as_text(step_into(value, path)))
        else:
            flatten(row, "", value)
        return True
    return Stage(run, False)


def flatten(row: Row, prefix: str, value: dict[str, Any]) -> None:
    for name, inner in value.items():
        if isinstance(inner, dict):
            flatten(row, f"{prefix}{name}_", inner)
        elif inner is not None and not isinstance(inner, list):
            row.extract(prefix + name, as_text(inner))


def step_into(value: Any, path: str) -> Any:
    for name, quoted, index in re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)|\["([^"]*)"\]|\[([0-9]+)\]', path):
        if isinstance(value, dict):
            value = value.get(name or quoted)
        else:
            value = value[int(index)] if isinstance(value, list) and index and int(index) < len(value) else None
    return value


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    return well_formed(value) if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def logfmt(line: str) -> dict[str, str]:
    """The `key=value` pairs of a line; a key without a value is left out."""
    found = {}
    for key, quoted, bare in re.findall(r'([^\s="]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))', line):
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted else bare
        if value:
            found[key] = value
    return found


def logfmt_stage(parser: Any) -> Stage:
    wanted = fields(parser)

    def run(row: Row) -> bool:
        found = logfmt(row.line)
        for name, value in ({name: found.get(key, "") for name, key in wanted.items()} if wanted else found).items():
            row.extract(name, value)
        return True
    return Stage(run, False)


def regexp_stage(parser: Any) -> Stage:
    pattern = re.compile(parser.regex(parser.string()))
    if not pattern.groupindex:
        parser.fail(parser.tokens[parser.at - 1][2], "at least one named capture must be supplied")
    return Stage(lambda row: captured(row, pattern.search(row.line)), False)


def pattern_stage(parser: Any) -> Stage:
    """`<name>` takes what stands before the text that follows it, or the rest of the line where that text is missing."""
    first, *rest = re.split(r"<([a-zA-Z_][a-zA-Z0-9_]*)>", parser.string())
    pairs = list(zip(rest[::2], rest[1::2]))

    def run(row: Row) -> bool:
        left = row.line[len(first):] if row.line.startswith(first) else ""
        for name, text in pairs:
            value, _, left = left.partition(text) if text else (left, "", "")
            if value and name != "_":
                row.extract(name, value)
        return True
    return Stage(run, False)


def captured(row: Row, match: re.Match | None) -> bool:
    for name, value in (match.groupdict() if match else {}).items():
        if value:
            row.extract(name, value)
    return True


# Formats

def template(text: str) -> Callable[[Row], str | None]:
    """A Go template over the labels; where it fails the row carries the error."""
    try:
        parsed = Template(text, "")
    except ValueError as error:
        raise BadRequest(f"parse error: invalid template: {error}") from error

    def run(row: Row) -> str | None:
        try:
            return parsed.run(row.labels)
        except TemplateError as error:
            row.fail("TemplateFormatErr", str(error))
            return None
    return run


def line_format_stage(parser: Any) -> Stage:
    make = template(parser.string())

    def run(row: Row) -> bool:
        made = make(row)
        row.line = row.line if made is None else made
        return True
    return Stage(run, True)


def label_format_stage(parser: Any) -> Stage:
    changes: list[tuple[str, Any]] = []
    while not changes or parser.take(","):
        name = parser.want_kind("name")
        parser.want("=")
        changes.append((name, template(parser.string()) if parser.kind == "string" else parser.want_kind("name")))

    def run(row: Row) -> bool:
        for name, source in changes:
            if callable(source):
                made = source(row)
                row.labels.update({} if made is None else {name: made})
            elif source in row.labels:
                row.labels[name] = row.labels.pop(source)
        return True
    return Stage(run, True)


def drop_stage(parser: Any) -> Stage:
    tests = listed_labels(parser)

    def run(row: Row) -> bool:
        for name in [name for name in row.labels if name in tests and tests[name](row)]:
            del row.labels[name]
        return True
    return Stage(run, False)


def keep_stage(parser: Any) -> Stage:
    tests = listed_labels(parser)

    def run(row: Row) -> bool:
        row.labels = {name: value for name, value in row.labels.items()
                      if name.startswith("__error") or name in tests and tests[name](row)}
        return True
    return Stage(run, True)


def listed_labels(parser: Any) -> dict[str, Callable[[Row], bool]]:
    tests: dict[str, Callable[[Row], bool]] = {}
    while not tests or parser.take(","):
        name = parser.want_kind("name")
        operator = parser.take("=~", "!~", "=", "!=")
        value = parser.string() if operator else ""
        tests[name] = (lambda row, name=name, operator=operator, value=value:
                       operator is None or compare(operator, row.labels[name], value))
    return tests


def decolorize_stage(_parser: Any) -> Stage:
    def run(row: Row) -> bool:
        row.line = re.sub(r"\x1b\[[0-9;]*m", "", row.line)
        return True
    return Stage(run, False)


STAGES = {"json": json_stage, "logfmt": logfmt_stage, "regexp": regexp_stage, "pattern": pattern_stage,
          "line_format": line_format_stage, "label_format": label_format_stage, "drop": drop_stage, "keep": keep_stage,
          "decolorize": decolorize_stage}
