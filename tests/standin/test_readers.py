"""The readers of configuration syntax: YAML, Alloy's, INI values, and times."""
from __future__ import annotations

import ast
import json
import random
import unittest
from datetime import timezone

import alloy_files
import alloy_time
import grafana_config
import river
import river_values
import yaml_subset
from common import Refusal, duration
from go_template import Template, TemplateError
from logql_stages import logfmt, size
from test_support import HERE

CHARACTERS = "ab \n\t:#-'\"{}[],&*!|>%@`\\é😀$~0\x07"


def text(source: random.Random) -> str:
    return "".join(source.choice(CHARACTERS) for _ in range(source.randrange(12)))


def value(source: random.Random, depth: int = 0):
    """Some JSON value."""
    kind = source.randrange(8 if depth < 4 else 5)
    if kind < 3:
        return [source.choice([True, False, None]), source.randint(-999, 999), source.choice([0.5, -3.75])][kind]
    if kind < 5:
        return text(source)
    if kind == 5:
        return [value(source, depth + 1) for _ in range(source.randrange(4))]
    return {text(source): value(source, depth + 1) for _ in range(source.randrange(4))}


class Yaml(unittest.TestCase):
    def test_block_style(self) -> None:
        for written, wanted in [
                ("a: 1\nb:\n- 1\n- 2.5\nc:\n  - x: 1\n    y: 2\n  - - 1\n    - 2\n  -\n    z: q\n",
                 {"a": 1, "b": [1, 2.5], "c": [{"x": 1, "y": 2}, [1, 2], {"z": "q"}]}),
                ("---\n# words\na:\nb: ~\nc: true\nd: 'it''s' # c\ne: x#y\nf: http://x:1/y\ng: \"a: b # c\"\n",
                 {"a": None, "b": None, "c": True, "d": "it's", "e": "x#y", "f": "http://x:1/y", "g": "a: b # c"}),
                ("a: |\n  x\n   y\n\n  z\nb: >-\n  one\n  two\n\n  three\nc: |-\n  end\n", {"a": "x\n y\n\nz\n", "b": "one two\nthree", "c": "end"}),
                ("a: {b: 1, \"c\": [1, two, {x: y}], url: http://x/y:3 }\nd: [1,\n  2]\n",
                 {"a": {"b": 1, "c": [1, "two", {"x": "y"}], "url": "http://x/y:3"}, "d": [1, 2]}),
                ("", None), ("a: '{{ $x }}: y'\n", {"a": "{{ $x }}: y"}), ("from: 2024-01-01\nn: 007\n", {"from": "2024-01-01", "n": "007"})]:
            with self.subTest(written):
                self.assertEqual(yaml_subset.load(written, "f"), wanted)

    def test_all_of_json_is_read(self) -> None:
        for seed in range(500):
            wanted = {"k": value(random.Random(seed))}
            for written in (json.dumps(wanted), json.dumps(wanted, indent=2, ensure_ascii=False)):
                self.assertEqual(yaml_subset.load(written, "f"), wanted, written)

    def test_what_it_does_not_know_is_refused_with_its_line(self) -> None:
        for written, words in [("a:\n\tb: 1", "`f`:2: a tab"), ("a: b: c", "`f`:1: `b: c` holds a second `:`"), ("a: &x 1", "`f`:1: `&`"),
                               ("a: *x", "`f`:1: `*`"), ("a: !!int 1", "`f`:1: `!`"), ("a: 1\na: 2", "`f`:2: `a` is given twice"),
                               ("a: x\n  y", "`f`:2: a value goes on"), ("a:\n  b: 1\n c: 2", "`f`:3:"), ("a: \"x", "`f`:1: a quoted value has no end"),
                               ("a: [1, 2\nb: 1", "`f`:2:"), ("a: {b: 1, b: 2}", "is given twice"), ("a: - b", "cannot start a value"), ("a: 1\nwords", "`f`:2:")]:
            with self.subTest(written), self.assertRaises(Refusal) as caught:
                yaml_subset.load(written, "f")
            self.assertIn(words, str(caught.exception))


class River(unittest.TestCase):
    def read(self, expression: str):
        block = river.parse(f"a = {expression}\n", "f")
        return river_values.evaluate(block.attributes[0].value, lambda parts, place: place.refuse(".".join(parts)))

    def test_expressions_have_values(self) -> None:
        for written, wanted in [("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("2 ^ 3 ^ 2", 512), ("-1", -1), ("!true || 1 < 2", True), ("null", None),
                                ('"a" + "b"', "ab"), ("[1, 2,][1]", 2), ('{ a = 1, "b-c" = [true] }["b-c"]', [True]), ("{a = {b = 5}}.a.b", 5),
                                ('string.to_upper("x")', "X"), ('concat([1], [2])', [1, 2]), ("`raw\\n`", "raw\\n"), (r'"\x41\u00e9\U0001F600\t\""', "Aé😀\t\""),
                                ('coalesce("", "x")', "x"), ("[\n  1,\n  2,\n]", [1, 2])]:
            with self.subTest(written):
                self.assertEqual(self.read(written), wanted)

    def test_every_string_can_be_written(self) -> None:
        for seed in range(500):
            wanted = text(random.Random(seed))
            self.assertEqual(self.read(json.dumps(wanted, ensure_ascii=False)), wanted)

    def test_faults_have_a_place(self) -> None:
        for written, words in [("a = 1\na = 2", "`f`:2:1: attribute `a` may only be provided once"), ("a = [1\n]", "`f`:1:7: missing `,`"),
                               ("a {\n", "`f`:2:1:"), ("a = \"x", "`f`:1:5: the string has no end"), ("a = 1 b = 2", "`f`:1:7: found `b`, wanted the line end"),
                               ('a "x-y" {}', "`f`:1:3: `x-y` is no label"), ("a.b = 1", "has no dots"), (r'a = "\q"', "is not a string"), ("a = ~", "`~` does not belong"),
                               ("a = x.y.z", "`f`:1:5: x.y.z"), ('a = nope("x")', "the stand-in knows no function `nope`"), ("a = 1 / 0", "`f`:1:7: this expression")]:
            with self.subTest(written), self.assertRaises(Refusal) as caught:
                block = river.parse(written, "f")
                river_values.evaluate(block.attributes[0].value, lambda parts, place: place.refuse(".".join(parts)))
            self.assertIn(words, str(caught.exception))


class Small(unittest.TestCase):
    def test_durations_and_sizes(self) -> None:
        for written, wanted in [("1h30m", 5400), ("250ms", 0.25), ("1.5s", 1.5), ("7d", 604800), ("0", 0), ("0s", 0)]:
            self.assertEqual(duration(written), wanted)
        for written in ("", "s", "5", "5x", "1h 3m", "-1s"):
            self.assertRaises(ValueError, duration, written)
        for written, wanted in [("5KB", 5000), ("1MiB", 2**20), ("1.5KiB", 1536), ("12", 12), ("3B", 3)]:
            self.assertEqual(size(written), wanted)
        self.assertRaises(ValueError, size, "big")

    def test_ini_values_end_at_a_comment_unless_quoted(self) -> None:
        for written, wanted in [("a b", "a b"), ("pw;x", "pw"), ("pw # x", "pw"), ('\"\"\"a;b#"c"\"\"\"', 'a;b#"c"'), ("`a;b`", "a;b"), ('"a#b"', '"a'), ('"a b"', "a b"), ("'x'", "x"), ("", "")]:
            self.assertEqual(grafana_config.ini_value(written, "f"), wanted)

    def test_ini_values_that_grafana_would_join_are_refused(self) -> None:
        for written in ("pass\\", "`open"):
            self.assertRaises(Refusal, grafana_config.ini_value, written, "f")

    def test_dollar_signs_of_provisioning(self) -> None:
        given = {"url": "$$x $NOT_SET_HERE.${NOT_SET_HERE}", "model": {"expr": "[$__interval]"}, "annotations": {"a": "$x $$y ${NOT_SET_HERE}"}}
        self.assertEqual(grafana_config.interpolated(given, "f"), {"url": "$x .", "model": {"expr": "[$__interval]"}, "annotations": {"a": "$x $y "}})

    def test_braces_in_paths(self) -> None:
        self.assertEqual(set(alloy_files.braces("/l/{a,b}/{c,d{e,f}}.log")),
                         {"/l/a/c.log", "/l/b/c.log", "/l/a/de.log", "/l/b/de.log", "/l/a/df.log", "/l/b/df.log"})

    def test_times_in_many_layouts(self) -> None:
        seconds = 1_700_000_000 * alloy_time.NANO
        for layout, written, wanted in [
                ("RFC3339", "2023-11-14T22:13:20Z", seconds), ("RFC3339", "2023-11-15T00:13:20.000000005+02:00", seconds + 5),
                ("RFC3339Nano", "2023-11-14T22:13:20.5Z", seconds + 500_000_000), ("Unix", "1700000000", seconds), ("UnixMs", "1700000000000", seconds),
                ("Unix", "1700000000.25", seconds + 250_000_000), ("02/Jan/2006:15:04:05 -0700", "14/Nov/2023:22:13:20 +0000", seconds),
                ("2006-01-02 15:04:05.000", "2023-11-14 22:13:20.001", seconds + 1_000_000), ("2006/01/02 15:04:05", "2023/11/14 22:13:20", seconds),
                ("RFC3339", "yesterday", None), ("RFC3339", "2023-13-14T22:13:20Z", None), ("Unix", "x", None), ("Unix", "9" * 23, None),
                ("RFC3339", "0001-01-01T00:00:00Z", None)]:
            with self.subTest(written):
                self.assertEqual(alloy_time.reader(layout, timezone.utc, None)(written), wanted)

    def test_templates(self) -> None:
        level = '{{ $l := ToLower (printf "%v" .Value) }}{{ if eq $l "warn" "warning" }}warning{{ else if eq $l "err" }}error{{ else }}info{{ end }}'
        for source, data, wanted in [(level, {"Value": "WARN"}, "warning"), (level, {"Value": "Err"}, "error"), (level, {}, "info"),
                                     ("a {{- .x -}} b {{ .none }}", {"x": "1"}, "a1b -"), ('{{ .x | ToUpper | printf "%q" }}', {"x": "q"}, '"Q"'),
                                     ("{{ if and .x (not .none) }}yes{{ end }}{{/* words */}}", {"x": "1"}, "yes"), ("plain", {}, "plain")]:
            self.assertEqual(Template(source, "-").run(data), wanted)
        for source in ("{{", "{{ if .x }}", "{{ end }}", "{{ range .x }}{{ end }}", "{{ nope .x }}", '{{ "x" | .y }}', "{{ (.x }}", "{{ else }}", "{{ }}"):
            with self.subTest(source):
                self.assertRaises(TemplateError, Template, source, "")
        self.assertRaises(TemplateError, Template("{{ ToLower .none }}", "").run, {})

    def test_logfmt(self) -> None:
        self.assertEqual(logfmt('a=1 b="x \\"y\\" z" c= d e=f=g'), {"a": "1", "b": 'x "y" z', "e": "f=g"})

    def test_the_sources_are_python_3_9(self) -> None:
        for path in [*HERE.glob("*.py"), HERE / "loki", HERE / "grafana", HERE / "alloy", HERE / "bundle"]:
            ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 9))


if __name__ == "__main__":
    unittest.main()
