"""Starts each stand-in on loopback and asks it what monstack asks the real one; Loki's own tests run on the real one too."""
from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import unittest
from pathlib import Path

from test_support import HERE, NANO, Case, Loki, ask, basic, end, free_port, loki_config, real

JSON_LINES = [
    '{"level":"ERROR","status":503,"seconds":0.25,"nested":{"user":"ann"},"flag":true,"none":null,"list":[1]}',
    '{"level":"INFO","status":200,"seconds":0.05,"job":"other"}',
    "plain error text",
    "level=warn status=404 took=1.5s",
]


HALF_A_PAIR = '{"streams":[{"stream":{"job":"half"},"values":[["%s","a\\ud800b"]]}]}'


class LokiAsked:
    """What holds for any Loki; the classes below say which."""

    program: str | Path | None = None
    loki: Loki

    @classmethod
    def setUpClass(cls) -> None:
        cls.case = Case()
        cls.case.setUp()
        cls.addClassCleanup(cls.case.doCleanups)
        cls.loki = Loki(cls.case.start_loki(cls.program))
        cls.now = time.time_ns() // NANO * NANO
        for index, line in enumerate(JSON_LINES):
            reply = cls.loki.push({"job": "mixed", "host": f"h{index % 2}"}, (str(cls.now - (40 - index) * NANO), line))
            assert reply.status == 204, reply.text
        values = [(str(cls.now - (60 - i) * NANO), json.dumps({"v": i, "level": ["INFO", "ERROR"][i % 4 == 0]})) for i in range(40)]
        body = {"streams": [{"stream": {"job": "numbers", "path": f"/{'abc'[i % 3]}"}, "values": [value]} for i, value in enumerate(values)]}
        reply = cls.loki.push_packed(body)
        assert reply.status == 204, reply.text

    def at(self, query: str) -> dict[tuple, float]:
        return self.loki.vector(query, time=str(self.now))

    def test_a_pushed_line_is_found_at_once(self) -> None:
        line = f"needle {os.urandom(8).hex()}"
        self.assertEqual(self.loki.push({"job": "fresh"}, (str(time.time_ns()), line)).status, 204)
        self.assertEqual(self.loki.lines(f'{{job="fresh"}} |= "{line}"'), [line])

    def test_streams_are_chosen_by_all_four_operators(self) -> None:
        for selector, count in [('{job="mixed"}', 4), ('{job=~"mix.*"}', 4), ('{job="mixed",host!="h1"}', 2),
                                ('{job=~"mixed|numbers",host!~"h.*"}', 40), ('{job="none"}', 0)]:
            with self.subTest(selector):
                self.assertEqual(len(self.loki.lines(selector)), count)

    def test_lines_are_filtered(self) -> None:
        for filters, indexes in [('|= "error"', [2]), ('!= "level"', [2]), ('|~ "[45]0[0-9]"', [0, 3]), ('!~ "(?i)LEVEL"', [2]),
                                 ('|= `"ERROR"`', [0]), ('|= "plain" or "warn"', [2, 3]), ('|= "level" != "warn" |= "INFO"', [1])]:
            with self.subTest(filters):
                self.assertEqual(self.loki.lines('{job="mixed"} ' + filters), [JSON_LINES[index] for index in indexes])

    def test_fields_of_json_and_logfmt_become_labels(self) -> None:
        for stages, indexes in [('| json | level="ERROR"', [0]), ('| json | level=~"ERR.*|INFO"', [0, 1]), ("| json | status >= 500", [0]),
                                ('| json | nested_user="ann"', [0]), ('| json | flag="true"', [0]), ('| json | job_extracted="other"', [1]),
                                ('| json | __error__=""', [0, 1]), ('| json | __error__="JSONParserErr"', [2, 3]),
                                ("| logfmt | took > 1s", [3]), ('| json user="nested.user" | user="ann"', [0]),
                                ('| json | (status < 500 and seconds < 0.1) or level="ERROR"', [0, 1]),
                                ('| regexp "(?P<word>[a-z]+) text" | word="error"', [2]), ('| pattern "<a> <b> <c>" | b="error"', [2])]:
            with self.subTest(stages):
                self.assertEqual(self.loki.lines('{job="mixed"} ' + stages), [JSON_LINES[index] for index in indexes])

    def test_a_line_can_be_formatted(self) -> None:
        self.assertEqual(self.loki.lines('{job="mixed"} | json | __error__="" | line_format "{{.level}}:{{.status}}"'), ["ERROR:503", "INFO:200"])
        for template, wanted in [('{{ ToLower .level }}{{ if eq .level "INFO" }}!{{ end }}', ["error", "info!"]), ("{{ .level | lower }}{{.none}}", ["error", "info"]),
                                 ('{{ $x := .status }}{{ printf "%s-%s" $x .level }}', ["503-ERROR", "200-INFO"]),
                                 ('{{ if eq .level "WARN" }}w{{ else if contains "ERR" .level }}e{{ else }}i{{ end }}', ["e", "i"])]:
            with self.subTest(template):
                self.assertEqual(self.loki.lines(f'{{job="mixed"}} | json | __error__="" | line_format `{template}`'), wanted)
        self.assertEqual(self.loki.get("query_range", query='{job="mixed"} | line_format "{{"').status, 400)

    def test_results_carry_the_labels(self) -> None:
        found = self.loki.get("query_range", query='{job="mixed"} | json | level="ERROR"').json["data"]
        self.assertEqual(found["resultType"], "streams")
        self.assertEqual(found["result"][0]["stream"], {
            "job": "mixed", "host": "h0", "service_name": "mixed", "detected_level": "error", "level": "ERROR", "status": "503",
            "seconds": "0.25", "nested_user": "ann", "flag": "true"})

    def test_limit_and_direction_choose_the_end(self) -> None:
        for direction, wanted in [("backward", JSON_LINES[2:]), ("forward", JSON_LINES[:2])]:
            self.assertEqual(self.loki.lines('{job="mixed"}', limit=2, direction=direction), wanted)

    def test_start_counts_and_end_does_not(self) -> None:
        moments = [self.now - (40 - index) * NANO for index in range(4)]
        self.assertEqual(self.loki.lines('{job="mixed"}', start=moments[1], end=moments[3]), JSON_LINES[1:3])
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moments[1] // NANO))
        self.assertEqual(self.loki.lines('{job="mixed"}', start=stamp, end=moments[3] // NANO), JSON_LINES[1:3])

    def test_lines_are_counted_by_label(self) -> None:
        self.assertEqual(self.at('sum by (path) (count_over_time({job="numbers"}[5m]))'),
                         {(("path", "/a"),): 14, (("path", "/b"),): 13, (("path", "/c"),): 13})
        self.assertEqual(self.at('sum by (level) (count_over_time({job="numbers"} | json [5m]))'),
                         {(("level", "ERROR"),): 10, (("level", "INFO"),): 30})
        self.assertEqual(self.at('sum(count_over_time({job="mixed", host="h0"}[5m]))'), {(): 2})
        self.assertEqual(self.at('sum without (path, detected_level, service_name) (count_over_time({job="numbers"}[5m]))'),
                         {(("job", "numbers"),): 40})

    def test_rates_windows_and_operators(self) -> None:
        for query, value in [('sum(rate({job="numbers"}[1m]))', 39 / 60), ('sum(count_over_time({job="numbers"}[30s]))', 9),
                             ('sum(count_over_time({job="numbers"}[5m] offset 40s))', 21), ('max(count_over_time({job="numbers"} | json [5m]))', 1),
                             ('sum(rate({job="numbers"} |= "ERROR" [5m])) / sum(rate({job="numbers"}[5m])) * 100', 25),
                             ('sum(count_over_time({job="none"}[5m])) or vector(0)', 0), ("vector(1)+vector(1)", 2),
                             ('sum(count_over_time({job="numbers"}[5m])) > 39', 40), ('sum(bytes_over_time({job="mixed"} |= "plain" [5m]))', 16),
                             ('topk(1, sum by (job) (count_over_time({job=~"mixed|numbers"}[5m])))', 40)]:
            with self.subTest(query):
                self.assertAlmostEqual(list(self.at(query).values())[0], value)
        self.assertEqual(self.at('sum(count_over_time({job="none"}[5m]))'), {})
        self.assertEqual(self.at('sum(count_over_time({job="numbers"}[5m])) > 40'), {})
        self.assertEqual(self.at('absent_over_time({job="none"}[5m])'), {(("job", "none"),): 1})

    def test_numbers_are_taken_out_of_lines(self) -> None:
        for query, value in [('quantile_over_time(0.5, {job="numbers"} | json | unwrap v [5m]) by (job)', 19.5),
                             ('max_over_time({job="numbers"} | json | unwrap v [5m]) by (job)', 39),
                             ('avg_over_time({job="numbers"} | json | unwrap v [5m]) by (job)', 19.5),
                             ('sum by (job) (sum_over_time({job="numbers"} | json | unwrap v [5m]))', 780),
                             ('sum(sum_over_time({job="mixed"} | logfmt | unwrap duration(took) [5m]))', 1.5)]:
            with self.subTest(query):
                self.assertAlmostEqual(list(self.at(query).values())[0], value)

    def test_a_range_has_a_value_at_every_step(self) -> None:
        first = self.now // NANO // 15 * 15 - 60
        data = self.loki.get("query_range", query='sum(count_over_time({job="numbers"}[1h]))', start=first, end=first + 60, step="15s").json["data"]
        self.assertEqual(data["resultType"], "matrix")
        self.assertEqual(len(data["result"]), 1)
        for moment, value in data["result"][0]["values"]:
            self.assertEqual(moment % 15, 0)
            written = min(max(moment - (self.now // NANO - 60) + 1, 0), 40)
            self.assertEqual(int(value), written)

    def test_a_metric_of_lines_that_do_not_parse_is_an_error(self) -> None:
        for query in ('count_over_time({job="mixed"} | json [5m])', 'sum by (level) (count_over_time({job="mixed"} | json [5m]))'):
            reply = self.loki.get("query", query=query)
            self.assertEqual(reply.status, 400)
            self.assertIn("pipeline error: 'JSONParserErr' for series", reply.text)
        self.assertEqual(self.at('sum(count_over_time({job="mixed"} | json [5m]))'), {(): 4})

    def test_wrong_queries_are_refused(self) -> None:
        for query, words in [("{}", "empty-compatible"), ('{job=~".*"}', "empty-compatible"), ('{job="x"', "line 1, col 9"),
                             ('{job="x"} | nonsense', "parse error"), ('{job="x"} |~ "["', "error parsing regexp"), ("", "parse error"),
                             ('count_over_time({job="x"})', "parse error"), ('sum({job="x"})', "parse error"),
                             ('nonsense({job="x"}[5m])', "parse error"), ('count_over_time({job="x"}[5m]) by (a)', "grouping not allowed"),
                             ('{job="x"} | regexp "none"', "at least one named capture"), ('{job=x}', "line 1, col 6")]:
            with self.subTest(query):
                reply = self.loki.get("query_range", query=query)
                self.assertEqual(reply.status, 400)
                self.assertIn(words, reply.text)

    def test_wrong_parameters_are_refused(self) -> None:
        for values, words in [({"start": "abc"}, "could not parse 'start'"), ({"limit": "0"}, "limit must be a positive value"),
                              ({"direction": "up"}, "invalid direction"), ({"start": 20, "end": 10}, "end timestamp must not be before"),
                              ({"limit": "6000"}, "max entries limit")]:
            with self.subTest(values):
                reply = self.loki.get("query_range", query='{job="mixed"}', **values)
                self.assertEqual(reply.status, 400)
                self.assertIn(words, reply.text)
        self.assertIn("not supported as an instant query", self.loki.get("query", query='{job="mixed"}').text)

    def test_wrong_pushes_are_refused(self) -> None:
        now = str(time.time_ns())
        for body, status in [('{"streams":1}', 400), ("{bad", 400), ("{}", 422), ('{"streams":[]}', 422), (HALF_A_PAIR % now, 400),
                             ('{"streams":[{"stream":{"a":"b"},"values":[[%s,"x"]]}]}' % now, 400),
                             ('{"streams":[{"stream":{"a-b":"b"},"values":[["%s","x"]]}]}' % now, 400),
                             ('{"streams":[{"stream":{"a":"b"},"values":[["%s",5]]}]}' % now, 400),
                             ('{"streams":[{"stream":{"a":"b"},"values":[["1","old"]]}]}', 400),
                             ('{"streams":[{"stream":{"a":"b"},"values":[["%d","new"]]}]}' % (time.time_ns() + 3600 * NANO), 400)]:
            with self.subTest(body):
                self.assertEqual(ask(f"{self.loki.address}/loki/api/v1/push", body).status, status)
        self.assertIn("timestamp too old", self.loki.push({"a": "b"}, ("1", "old")).text)

    def test_the_same_line_at_the_same_time_counts_once(self) -> None:
        moment = str(time.time_ns())
        for _ in range(2):
            self.loki.push({"job": "twice"}, (moment, "same"))
        self.loki.push({"job": "twice"}, (moment, "other"))
        self.assertEqual(sorted(self.loki.lines('{job="twice"}')), ["other", "same"])

    def test_lines_may_come_out_of_order(self) -> None:
        now = time.time_ns()
        for offset in (3, 1, 2):
            self.loki.push({"job": "unordered"}, (str(now - 10 * NANO + offset), f"line {offset}"))
        self.assertEqual(self.loki.lines('{job="unordered"}'), ["line 1", "line 2", "line 3"])

    def test_labels_values_and_series_are_listed(self) -> None:
        self.assertLessEqual({"host", "job", "path", "service_name"}, set(self.loki.get("labels").json["data"]))
        self.assertLessEqual({"mixed", "numbers"}, set(self.loki.get("label/job/values").json["data"]))
        found = self.loki.get("series", **{"match[]": '{job="mixed"}'}).json["data"]
        self.assertEqual(sorted(one["host"] for one in found), ["h0", "h1"])

    def test_metrics_count_lines_and_requests(self) -> None:
        text = ask(f"{self.loki.address}/metrics").text
        self.assertRegex(text, r"(?m)^loki_build_info\{.*\} 1$")
        self.assertRegex(text, r"(?m)^loki_distributor_lines_received_total\{.*tenant=\"fake\".*\} [1-9]")
        self.assertRegex(text, r'(?m)^loki_request_duration_seconds_count\{.*route="loki_api_v1_push".*status_code="204".*\} [1-9]')
        self.assertRegex(text, r'(?m)^loki_ingester_memory_streams\{tenant="fake"\} [1-9]')

    def test_other_paths_and_methods_are_told(self) -> None:
        self.assertEqual(ask(f"{self.loki.address}/nope").status, 404)
        # The real one answers either, from run to run.
        self.assertIn(ask(f"{self.loki.address}/loki/api/v1/push").status, (404, 405))
        self.assertIn("http_listen_port", ask(f"{self.loki.address}/config").text)


class LokiStandIn(LokiAsked, unittest.TestCase):
    program = HERE / "loki"

    def test_it_says_what_it_is(self) -> None:
        self.assertEqual(self.loki.get("status/buildinfo").json["version"], "stand-in")
        self.assertIn('loki_build_info{version="stand-in"} 1', ask(f"{self.loki.address}/metrics").text)


@unittest.skipUnless(real("loki"), "skipped: no real `loki` in MONSTACK_TEST_BIN")
class LokiItself(LokiAsked, unittest.TestCase):
    program = real("loki")


class LokiLife(Case):
    """How the stand-in keeps lines, and what it does not start with."""

    def test_lines_outlive_it_also_a_kill(self) -> None:
        loki = Loki(self.start_loki())
        loki.push({"job": "kept"}, (str(time.time_ns()), "première ligne"))
        self.loki.kill()
        self.loki.wait()
        with open(self.folder / "loki-data/standin/entries.jsonl", "ab") as file:
            file.write(b'["fake", {"job": "kept"}, 12')
        loki = Loki(self.start_loki())
        self.assertEqual(loki.lines('{job="kept"}'), ["première ligne"])
        loki.push({"job": "kept"}, (str(time.time_ns()), "second"))
        end(self.loki)
        self.assertEqual(self.loki.returncode, 0)
        self.assertEqual(Loki(self.start_loki()).lines('{job="kept"}'), ["première ligne", "second"])

    def test_readiness_can_be_made_to_wait(self) -> None:
        port = free_port()
        config = self.write("loki.yml", loki_config(port, self.folder / "data"))
        self.start(HERE / "loki", f"-config.file={config}", MONSTACK_STANDIN_READY_SECONDS="1.5")
        self.until(lambda: ask(f"http://127.0.0.1:{port}/ready").status == 503, "the answer 503")
        self.until(lambda: ask(f"http://127.0.0.1:{port}/ready").status == 200, "readiness")

    def test_the_port_of_grpc_is_held(self) -> None:
        port, door = free_port(), free_port()
        config = self.write("loki.yml", loki_config(port, self.folder / "data").replace("grpc_listen_port: 0", f"grpc_listen_port: {door}"))
        self.start(HERE / "loki", f"-config.file={config}")
        self.until(lambda: ask(f"http://127.0.0.1:{port}/ready").status == 200, "readiness")
        with socket.create_connection(("127.0.0.1", door), 5) as visitor:
            self.assertEqual(visitor.recv(1), b"")
        self.assertIn("cannot listen on", self.refused(HERE / "loki", f"-config.file={config}"))

    def test_tenants_are_kept_apart(self) -> None:
        address = self.start_loki()
        end(self.loki)
        port = free_port()
        config = self.write("tenants.yml", loki_config(port, self.folder / "data").replace("auth_enabled: false", "auth_enabled: true"))
        self.start(HERE / "loki", f"-config.file={config}")
        address = f"http://127.0.0.1:{port}"
        self.until(lambda: ask(f"{address}/ready").status == 200, "readiness")
        body = {"streams": [{"stream": {"job": "x"}, "values": [[str(time.time_ns()), "one"]]}]}
        self.assertEqual(ask(f"{address}/loki/api/v1/push", body).status, 401)
        self.assertEqual(ask(f"{address}/loki/api/v1/push", body, {"X-Scope-OrgID": "a"}).status, 204)
        for tenant, values in [("a", {"data": ["x"]}), ("b", {})]:
            reply = ask(f"{address}/loki/api/v1/label/job/values", headers={"X-Scope-OrgID": tenant})
            self.assertEqual(reply.json, {"status": "success", **values})

    def test_wrong_configurations_are_refused(self) -> None:
        good = loki_config(3100, self.folder / "data")
        for change, words in [(("server:", "server:\n\thttp: 1\n#"), "a tab in the indentation"), (("auth_enabled", "auth_enable"), "`auth_enable` not found"),
                              (("  http_listen_port: 3100", "  http_listen_port: many"), "`server.http_listen_port` is `many`"),
                              (("http_listen_port: 3100", "http_port: 1"), "`http_port` not found in `server`"),
                              (("path_prefix", "scratch_path"), "`common.path_prefix` is missing"), (("period: 24h", "period: 12h"), "`24h`"),
                              (("schema_config:", "ruler:"), "without a schema"), (("auth_enabled: false", "auth_enabled: maybe"), "wanted true or false")]:
            with self.subTest(words):
                config = self.write("bad.yml", good.replace(*change))
                for words_of_command in ([f"-config.file={config}"], ["-verify-config", "-config.file", config]):
                    said = self.refused(HERE / "loki", *words_of_command)
                    self.assertIn(words, said)
                    self.assertIn("bad.yml", said)
        self.assertIn("cannot read `none.yml`", self.refused(HERE / "loki", "-config.file=none.yml"))
        self.assertIn("no configuration", self.refused(HERE / "loki"))
        self.assertIn("unknown flag `-nonsense`", self.refused(HERE / "loki", "-nonsense"))

    def test_a_good_configuration_is_verified(self) -> None:
        config = self.write("good.yml", loki_config(3100, self.folder / "data"))
        for program in filter(None, [str(HERE / "loki"), real("loki")]):
            done = subprocess.run([program, "-verify-config", f"-config.file={config}"], capture_output=True, timeout=60, cwd=self.folder)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse((self.folder / "data/standin").exists())

    def test_a_busy_port_is_named(self) -> None:
        with socket.socket() as busy:
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            config = self.write("loki.yml", loki_config(busy.getsockname()[1], self.folder / "data"))
            self.assertIn(f"cannot listen on `127.0.0.1:{busy.getsockname()[1]}`", self.refused(HERE / "loki", f"-config.file={config}"))


ALLOY = """\
// Ships the logs of one folder.
logging {{
  level = "info"
}}

loki.source.file "app" {{
  targets    = [{{ __path__ = "{folder}/{{one,two}}/*.log", "job" = "app" }}]
  forward_to = [loki.process.app.receiver]

  file_match {{
    enabled     = true
    sync_period = "200ms"
  }}
}}

loki.process "app" {{
  forward_to = [loki.write.loki.receiver]

  stage.json {{
    expressions = {{ level = "", when = "time", user = "who.name" }}
  }}

  stage.labels {{
    values = {{ level = "" }}
  }}

  stage.structured_metadata {{
    values = {{ user = "" }}
  }}

  stage.timestamp {{
    source            = "when"
    format            = "RFC3339"
    action_on_failure = "skip"
  }}

  stage.drop {{
    expression = "health-check"
  }}

  stage.static_labels {{
    values = {{ stack = "test" }}
  }}

  stage.label_drop {{
    values = ["filename"]
  }}
}}

loki.write "loki" {{
  endpoint {{
    url                 = "{address}/loki/api/v1/push"
    max_backoff_retries = 0
    min_backoff_period  = "100ms"
    max_backoff_period  = "200ms"
  }}
}}
"""


class Alloy(Case):
    """The chain from a file through Alloy into Loki."""

    def setUp(self) -> None:
        super().setUp()
        for name in ("one", "two"):
            (self.folder / name).mkdir()
        self.address = self.start_loki()
        self.found = Loki(self.address)
        self.port = free_port()
        self.config = self.write("config.alloy", ALLOY.format(folder=self.folder, address=self.address))

    def start_alloy(self, **variables: str) -> subprocess.Popen:
        child = self.start(HERE / "alloy", "run", f"--server.http.listen-addr=127.0.0.1:{self.port}", f"--storage.path={self.folder}/alloy",
                           "--disable-reporting", self.config, **variables)
        self.until(lambda: ask(f"http://127.0.0.1:{self.port}/-/ready").status == 200, "Alloy's readiness")
        return child

    def append(self, name: str, *lines: str) -> None:
        with open(self.folder / name, "a", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))

    def await_lines(self, *lines: str, query: str = '{job="app"}') -> None:
        self.until(lambda: sorted(self.found.lines(query)) == sorted(lines), f"{lines} in Loki", 15)

    def metric(self, name: str) -> float:
        text = ask(f"http://127.0.0.1:{self.port}/metrics").text
        return sum(float(value) for value in re.findall(rf"(?m)^{name}(?:\{{[^}}]*\}})? (\S+)$", text))

    def test_a_line_goes_through_the_stages_into_loki(self) -> None:
        moment = time.time_ns() // 1000 * 1000 - 5 * NANO
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment // NANO)) + f".{moment % NANO // 1000:06d}Z"
        line = json.dumps({"level": "ERROR", "time": stamp, "who": {"name": "ann"}})
        self.append("one/app.log", line, '{"msg":"health-check"}')
        self.append("two/other.log", "no JSON")
        self.append("two/other.txt", "not matched")
        self.start_alloy()
        self.await_lines(line, "no JSON")
        found = self.found.get("query_range", query='{job="app", level="ERROR"}').json["data"]["result"]
        self.assertEqual(found[0]["stream"], {"job": "app", "level": "ERROR", "stack": "test", "service_name": "app",
                                              "detected_level": "error", "user": "ann"})
        self.assertEqual(found[0]["values"][0][0], str(moment))
        self.assertEqual(self.found.get("series", **{"match[]": '{user="ann"}'}).json["data"], [])
        self.assertEqual(self.metric("loki_source_file_read_lines_total"), 3)
        self.assertEqual(self.metric("loki_write_sent_entries_total"), 2)
        self.assertEqual(self.metric("loki_write_dropped_entries_total"), 0)
        self.assertEqual(self.metric("loki_process_dropped_lines_total"), 1)
        self.assertEqual(self.metric('alloy_component_controller_running_components'), 3)
        self.assertEqual(self.metric("alloy_build_info"), 1)
        self.assertEqual(ask(f"http://127.0.0.1:{self.port}/-/healthy").status, 200)

    def test_odd_bytes_reach_loki_as_text(self) -> None:
        with open(self.folder / "one/app.log", "wb") as file:
            file.write(b'\xff\xfe odd\n{"level":"\\ud800"}\n\n\x00zero\r\n')
        self.start_alloy()
        self.await_lines("\ufffd\ufffd odd", '{"level":"\\ud800"}', "", "\x00zero")
        self.assertEqual(self.found.lines('{level="\ufffd"}'), ['{"level":"\\ud800"}'])

    def test_levels_and_times_of_many_writers_become_one(self) -> None:
        start, end_of_process = self.config.read_text().index("  stage.json"), self.config.read_text().index("loki.write \"loki\"")
        stages = """
  stage.match {
    selector = `{job=~".+"} |~ "^\\\\s*\\\\{"`

    stage.json {
      expressions = { level = "", stamp = "msec || time" }
    }
  }
  stage.match {
    selector = `{job=~".+"} |~ "(^|\\\\s)level="`

    stage.logfmt {
      mapping = { level = "", stamp = "ts" }
    }
  }
  stage.template {
    source   = "level"
    template = `{{ $level := ToLower (printf "%v" .Value) }}{{ if eq $level "warn" "warning" }}warning{{ else if eq $level "error" "err" }}error{{ else }}info{{ end }}`
  }
  stage.labels {
    values = { level = "" }
  }
  stage.timestamp {
    source            = "stamp"
    format            = "RFC3339Nano"
    fallback_formats  = ["Unix", "2006/01/02 15:04:05"]
    location          = "Local"
    action_on_failure = "skip"
  }
}

"""
        text = self.config.read_text()
        self.config.write_text(text[:start] + stages.lstrip("\n") + text[end_of_process:])
        second = time.time_ns() // NANO - 30
        utc, local = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)), time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(second))
        lines = {f'{{"level":"WARN","time":"{utc}Z"}}': ("warning", second * NANO), f'{{"level":"err","msec":{second}.250}}': ("error", second * NANO + 250_000_000),
                 f"ts={utc}.000000007Z level=warning msg=x": ("warning", second * NANO + 7), f'{{"time":"{local}"}}': ("info", second * NANO)}
        self.append("one/app.log", *lines)
        self.start_alloy()
        self.await_lines(*lines)
        found = self.found.get("query_range", query='{job="app"}').json["data"]["result"]
        self.assertEqual({value[1]: (one["stream"]["level"], int(value[0])) for one in found for value in one["values"]}, lines)

    def test_rotation_by_rename_loses_nothing(self) -> None:
        self.append("one/app.log", "first")
        self.start_alloy()
        self.await_lines("first")
        old = open(self.folder / "one/app.log", "a", encoding="utf-8")
        with old:
            os.rename(self.folder / "one/app.log", self.folder / "one/app.log.1")
            self.append("one/app.log", "new file")
            self.await_lines("first", "new file")
            old.write("late, to the old file\n")
            old.write("without a line end")
        self.await_lines("first", "new file", "late, to the old file", "without a line end")

    def test_a_truncated_file_is_read_from_its_start(self) -> None:
        self.append("one/app.log", "before, and rather long")
        self.start_alloy()
        self.await_lines("before, and rather long")
        with open(self.folder / "one/app.log", "w", encoding="utf-8") as file:
            file.write("after\n")
        self.await_lines("before, and rather long", "after")

    def test_half_a_line_waits_for_its_end(self) -> None:
        self.start_alloy()
        with open(self.folder / "one/app.log", "a", encoding="utf-8") as file:
            file.write("one\nhalf")
            file.flush()
            self.await_lines("one")
            file.write(" and whole\n")
        self.await_lines("one", "half and whole")

    def test_a_restart_repeats_and_loses_nothing(self) -> None:
        self.append("one/app.log", "first")
        child = self.start_alloy()
        self.await_lines("first")
        end(child)
        self.assertEqual(child.returncode, 0)
        self.append("one/app.log", "second")
        child = self.start_alloy()
        self.await_lines("first", "second")
        child.kill()
        child.wait()
        self.append("one/app.log", "third")
        self.start_alloy()
        # A line whose position was not written down before the kill comes twice.
        wanted = {"first", "second", "third"}
        self.until(lambda: set(self.found.lines('{job="app"}')) == wanted, f"{wanted} in Loki", 15)

    def test_lines_wait_for_loki(self) -> None:
        end(self.loki)
        self.append("one/app.log", *[f"line {number}" for number in range(500)])
        self.start_alloy()
        self.until(lambda: self.metric("loki_write_batch_retries_total") >= 2, "a second try")
        self.append("one/app.log", "line 500")
        config = self.folder / "loki.yml"
        self.start(HERE / "loki", f"-config.file={config}")
        self.await_lines(*[f"line {number}" for number in range(501)])
        self.assertEqual(self.metric("loki_write_dropped_entries_total"), 0)

    def test_what_loki_refuses_is_dropped_and_counted(self) -> None:
        self.append("one/app.log", '{"time":"2001-01-01T00:00:00Z"}', "good")
        self.start_alloy()
        self.until(lambda: self.metric("loki_write_dropped_entries_total") == 2, "two dropped lines")

    def test_a_signal_reads_the_configuration_again(self) -> None:
        child = self.start_alloy()
        self.append("one/app.log", "first")
        self.await_lines("first")
        text = self.config.read_text()
        self.config.write_text(text.replace("stage.drop {", "stage.nonsense {"))
        child.send_signal(signal.SIGHUP)
        self.until(lambda: "unrecognized block name `stage.nonsense`" in (self.folder / "log").read_text(), "the complaint")
        self.append("one/app.log", "second")
        self.await_lines("first", "second")
        self.config.write_text(text.replace('stack = "test"', 'stack = "changed"'))
        child.send_signal(signal.SIGHUP)
        self.until(lambda: "reload: done" in (self.folder / "log").read_text(), "the reload")
        self.append("one/app.log", "third")
        self.await_lines("third", query='{stack="changed"}')
        self.await_lines("first", "second", query='{stack="test"}')
        self.assertEqual(ask(f"http://127.0.0.1:{self.port}/-/reload", "").status, 200)

    def test_the_journal_is_followed(self) -> None:
        fields = [{"__CURSOR": f"c{number}", "__REALTIME_TIMESTAMP": str((time.time_ns() - (9 - number) * NANO) // 1000), "MESSAGE": message,
                   "PRIORITY": "3", "_SYSTEMD_UNIT": unit} for number, (message, unit) in
                  enumerate([("it failed", "app.service"), (list("é".encode()), "app.service"), ("noise", "other.service")])]
        journal = self.write("bin/journalctl", "#!/bin/sh\necho \"$@\" >> arguments\n"
                             + "".join(f"echo '{json.dumps(one)}'\n" for one in fields) + "exec sleep 60\n")
        journal.chmod(0o755)
        self.config = self.write("config.alloy", f"""\
loki.relabel "journal" {{
  forward_to = []
  rule {{
    source_labels = ["__journal__systemd_unit"]
    regex         = "(.*)\\\\.service"
    target_label  = "unit"
  }}
  rule {{
    source_labels = ["__journal_priority_keyword"]
    target_label  = "level"
  }}
  rule {{
    source_labels = ["unit"]
    regex         = "other"
    action        = "drop"
  }}
}}
loki.source.journal "all" {{
  forward_to    = [loki.write.loki.receiver]
  relabel_rules = loki.relabel.journal.rules
  labels        = {{ node = "app1" }}
  max_age       = "1h"
}}
loki.write "loki" {{
  endpoint {{
    url = "{self.address}/loki/api/v1/push"
  }}
}}
""")
        path = f"{journal.parent}:{os.environ['PATH']}"
        child = self.start_alloy(PATH=path)
        self.await_lines("it failed", "é", query='{job="loki.source.journal.all", unit="app", level="error", node="app1"}')
        self.assertEqual(self.found.lines('{unit="other"}'), [])
        self.until(lambda: "c2" in (self.folder / "alloy/standin-positions.json").read_text(), "the cursor")
        end(child)
        self.start_alloy(PATH=path)
        self.until(lambda: "--after-cursor=c2" in (self.folder / "arguments").read_text(), "the cursor in the arguments")
        self.assertIn("--since=-3600s", (self.folder / "arguments").read_text().splitlines()[0])


class AlloyConfiguration(Case):
    """What the Alloy stand-in says of a configuration."""

    good = ALLOY.format(folder="/logs", address="http://127.0.0.1:1")

    def test_a_good_one_is_valid(self) -> None:
        more = """
local.file "password" {
  filename  = "/not/there/yet"
  is_secret = true
}
local.file_match "all" {
  path_targets = [{"__path__" = "/var/log/*.log", job = sys.env("NOTHING") + "system", host = constants.hostname}]
}
loki.source.file "all" {
  targets    = local.file_match.all.targets
  forward_to = [loki.write.other.receiver, loki.process.app.receiver]
}
loki.write "other" {
  external_labels = { cluster = string.format("%s-%d", "a", 1 + 2) } /* a
  comment */
  endpoint {
    url = `http://127.0.0.1:1/loki/api/v1/push`
    basic_auth {
      username = "alloy"
      password = local.file.password.content
    }
  }
}
"""
        config = self.write("good.alloy", self.good + more)
        done = subprocess.run([HERE / "alloy", "validate", config], capture_output=True, text=True, timeout=30)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_wrong_ones_are_refused_with_their_place(self) -> None:
        self.write("x", "secret")
        secret = 'local.file "s" {\n  filename = "x"\n  is_secret = true\n}\n'
        for change, words in [(("loki.process \"app\"", "loki.proces \"app\""), ":16:1: the stand-in knows no component `loki.proces`"),
                              (("loki.process \"app\"", "nonsense.thing \"app\""), ":16:1: cannot find the definition of component name `nonsense.thing`"),
                              (("loki.process \"app\"", "loki.process"), ":16:1: component `loki.process` must have a label"),
                              (("stage.drop {", "stage.dropp {"), ":37:3: unrecognized block name `stage.dropp` in `loki.process`"),
                              (("stage.drop {", "stage.geoip {"), ":37:3: the stand-in does not do `stage.geoip`"),
                              (("  expression = \"health-check\"", "  expresion = \"x\""), ":38:5: unrecognized attribute name `expresion`"),
                              (("health-check", "health-(check"), ":38:18: `health-(check` is not a regular expression"),
                              (("loki.write.loki.receiver", "loki.write.lokii.receiver"), ":17:17: component `loki.write.lokii` does not exist"),
                              (("loki.write.loki.receiver", "loki.write.loki.recv"), ":17:17: `loki.write.loki` exports no `recv`"),
                              (("[loki.write.loki.receiver]", "loki.write.loki.receiver"), ":17:16: `forward_to` wants a receiver"),
                              (('sync_period = "200ms"', 'sync_period = "soon"'), ":12:19: `sync_period`: `soon` is not a duration"),
                              (('enabled     = true', 'enabled     = "yes"'), ":11:19: `enabled` wants a bool, found `'yes'`"),
                              (("url   ", "#url  "), "`#` does not belong here"), (('source            = "when"\n', "\n"), "missing required attribute `source`"),
                              (('"RFC3339"', '"3PM"'), "does not know the time format `3PM`"), (('max_backoff_retries = 0', 'max_backoff_retries = "0"'), "wants a number"),
                              (('who.name', 'who[*].name'), "the stand-in knows JMESPath with names"),
                              (("max_backoff_retries = 0", "queue_config {}"), "`queue_config` is experimental"), (("http://127.0.0.1:1", "127.0.0.1:1"), "wanted `http://HOST:PORT"),
                              (('["filename"]', '[\n"filename"\n]'), "missing `,` at the line end"), (("}\n\nloki.process", "\n\nloki.process"), "wanted `}`"),
                              (('level = "info"', 'level = "info'), ":3:11: the string has no end"), (('{ stack = "test" }', "{ stack = 5 }"), "`values` wants a map of strings"),
                              (("// Ships", secret + 'loki.write "s" {\n  endpoint {\n    url = local.file.s.content\n  }\n}\n//'), "cannot take a secret"),
                              (("// Ships", 'loki.write "loki" {}\n//'), "block `loki.write.loki` already declared at line 1")]:
            with self.subTest(words):
                self.assertIn(change[0], self.good)
                config = self.write("bad.alloy", self.good.replace(*change))
                said = self.refused(HERE / "alloy", "validate", config)
                self.assertIn(words, said)
                self.assertIn("bad.alloy", said)
                self.assertIn(words, self.refused(HERE / "alloy", "run", f"--storage.path={self.folder}/s", "--server.http.listen-addr=127.0.0.1:0", config))

    def test_wrong_command_lines_are_refused(self) -> None:
        config = self.write("good.alloy", self.good)
        for words, said in [(["run"], "found 0 configuration files"), (["run", "--nonsense", config], "unknown flag: --nonsense"),
                            (["run", "none.alloy"], "cannot read `none.alloy`"), (["fly"], "unknown command `fly`"),
                            (["run", "--server.http.listen-addr=nowhere", config], "wanted ADDRESS:PORT")]:
            with self.subTest(said):
                self.assertIn(said, self.refused(HERE / "alloy", *words))

    def test_a_file_that_is_not_there_stops_the_start(self) -> None:
        config = self.write("file.alloy", 'local.file "x" {\n  filename = "/not/there"\n}\n')
        self.assertIn("file.alloy`:1:1: cannot read `/not/there`", self.refused(HERE / "alloy", "run", config))


GRAFANA = """\
app_mode = production
[server]
protocol = {protocol}
http_addr = 127.0.0.1
http_port = {port}
cert_file = {folder}/cert.pem
cert_key = {folder}/key.pem
[paths]
data = {folder}/grafana-data
provisioning = {folder}/provisioning
[security]
admin_user = admin
admin_password = $__file{{{folder}/password}}
"""
SOURCES = """\
apiVersion: 1
prune: true
datasources:
  - name: Loki
    uid: loki
    type: loki
    access: proxy
    url: {address}
    editable: false
    jsonData:
      maxLines: 1000
    secureJsonData: {{"httpHeaderValue1": "pa$$word"}}
  - {{"name": "Prometheus", "uid": "prometheus", "type": "prometheus", "url": "http://127.0.0.1:1", "isDefault": true}}
"""
PROVIDERS = """\
apiVersion: 1
providers:
- name: monstack
  folder: Monstack
  type: file
  options: {{path: "{folder}/dashboards"}}
"""
RULES = """\
apiVersion: 1
groups:
  - orgId: 1
    name: logs
    folder: Monstack
    interval: 10s
    rules:
      - uid: errors-in-logs
        title: ErrorsInLogs
        condition: B
        data:
          - refId: A
            datasourceUid: loki
            relativeTimeRange: {from: 300, to: 0}
            model: {expr: 'sum(count_over_time({job="app"} |= "error" [$__interval]))', refId: A}
          - refId: B
            datasourceUid: __expr__
            model: {type: threshold, expression: A, refId: B}
        for: 1m
        labels: {severity: warning}
        annotations:
          summary: "{{ $labels.job }} logs errors"
          description: |
            Look at
            the log.
"""


class Grafana(Case):
    """The Grafana stand-in, with the Loki stand-in behind it."""

    login = basic("admin", "s3cret;#$")

    def setUp(self) -> None:
        super().setUp()
        self.address = self.start_loki()
        self.port = free_port()
        self.write("password", "s3cret;#$\n")
        self.write("provisioning/datasources/monstack.yml", SOURCES.format(address=self.address))
        self.write("provisioning/dashboards/monstack.yml", PROVIDERS.format(folder=self.folder))
        self.write("provisioning/alerting/logs.yml", RULES)
        self.write("dashboards/hosts.json", json.dumps({"uid": "hosts", "title": "Hosts", "tags": ["monstack"], "panels": [{"id": 1}]}))
        self.write("dashboards/more/app.json", json.dumps({"title": "My Application"}))
        self.ini = self.write("grafana.ini", GRAFANA.format(folder=self.folder, port=self.port, protocol="http"))
        self.command = [HERE / "grafana", "server", "--homepath", self.folder, "--config", self.ini]

    def start_grafana(self) -> subprocess.Popen:
        child = self.start(*self.command)
        self.until(lambda: self.get("/api/health").status == 200, "Grafana's health")
        return child

    def get(self, path: str, **more: object):
        return ask(f"http://127.0.0.1:{self.port}{path}", **{"headers": self.login, **more})

    def test_only_the_admin_comes_in(self) -> None:
        self.start_grafana()
        self.assertEqual(self.get("/api/org").json["name"], "Main Org.")
        for headers, message in [({}, "Unauthorized"), (basic("admin", "wrong"), "Invalid username or password"),
                                 (basic("root", "s3cret;#$"), "Invalid username or password"), ({"Authorization": "Basic %%"}, "Invalid username")]:
            for path in ("/api/org", "/api/datasources", "/api/datasources/proxy/uid/loki/ready", "/api/search", "/api/none"):
                reply = self.get(path, headers=headers)
                self.assertEqual(reply.status, 401, path)
                self.assertIn(message, reply.json["message"])
        for path in ("/api/health", "/metrics", "/login"):
            self.assertEqual(self.get(path, headers={}).status, 200)
        self.assertIn("grafana_build_info{version=\"stand-in\"} 1", self.get("/metrics", headers={}).text)
        self.assertNotIn("s3cret", self.get("/metrics", headers={}).text + (self.folder / "log").read_text())

    def test_data_sources_are_shown_without_secrets_and_asked(self) -> None:
        self.start_grafana()
        loki = self.get("/api/datasources/uid/loki").json
        self.assertEqual((loki["name"], loki["readOnly"], loki["secureJsonFields"]), ("Loki", True, {"httpHeaderValue1": True}))
        self.assertNotIn("pa$word", self.get("/api/datasources").text)
        self.assertEqual([one["uid"] for one in self.get("/api/datasources").json], ["loki", "prometheus"])
        self.assertEqual(self.get("/api/datasources/uid/loki/health").json["status"], "OK")
        absent = self.get("/api/datasources/uid/prometheus/health")
        self.assertEqual((absent.status, absent.json["status"]), (400, "ERROR"))
        self.assertEqual(self.get("/api/datasources/uid/none").status, 404)

    def test_the_proxy_reaches_loki(self) -> None:
        self.start_grafana()
        Loki(self.address).push({"job": "app"}, (str(time.time_ns()), "one line & more"))
        path = "/api/datasources/proxy/uid/loki/loki/api/v1"
        found = self.get(path + "/query_range?query=%7Bjob%3D%22app%22%7D%20%7C%3D%20%22%26%22").json["data"]["result"]
        self.assertEqual(found[0]["values"][0][1], "one line & more")
        form = {**self.login, "Content-Type": "application/x-www-form-urlencoded"}
        posted = self.get(path + "/query", body="query=sum(count_over_time({job=\"app\"}[5m]))", headers=form).json["data"]["result"]
        self.assertEqual(posted[0]["value"][1], "1")
        pushed = self.get(path + "/push", body={"streams": [{"stream": {"job": "via"}, "values": [[str(time.time_ns()), "x"]]}]})
        self.assertEqual(pushed.status, 204)
        self.assertEqual(self.get(path + "/query_range?query=%7B%7D").status, 400)
        self.assertEqual(self.get("/api/datasources/proxy/uid/prometheus/api/v1/query?query=up").status, 502)
        self.assertEqual(self.get("/api/datasources/proxy/uid/prometheus/api/v1/admin/tsdb/snapshot", body="").status, 403)

    def test_dashboards_are_found_and_follow_their_files(self) -> None:
        self.start_grafana()
        found = self.get("/api/search?type=dash-db").json
        self.assertEqual([(one["title"], one["folderTitle"]) for one in found], [("Hosts", "Monstack"), ("My Application", "Monstack")])
        self.assertEqual([one["uid"] for one in self.get("/api/search?tag=monstack").json], ["hosts"])
        board = self.get("/api/dashboards/uid/hosts").json
        self.assertEqual((board["dashboard"]["panels"], board["meta"]["provisioned"], board["meta"]["folderTitle"]), ([{"id": 1}], True, "Monstack"))
        self.assertEqual(self.get(found[1]["url"].replace("/d/", "/api/dashboards/uid/").rsplit("/", 1)[0]).json["dashboard"]["title"], "My Application")
        self.write("dashboards/new.json", json.dumps({"uid": "new", "title": "New"}))
        self.assertEqual(self.get("/api/dashboards/uid/new").status, 200)
        self.write("dashboards/new.json", "{broken")
        self.assertEqual(self.get("/api/dashboards/uid/new").status, 200)
        self.assertEqual(self.get("/api/dashboards/uid/none").status, 404)

    def test_alert_rules_keep_their_dollar_signs(self) -> None:
        self.start_grafana()
        rule = self.get("/api/v1/provisioning/alert-rules").json[0]
        self.assertEqual((rule["uid"], rule["for"], rule["labels"], rule["provenance"]), ("errors-in-logs", "1m", {"severity": "warning"}, "file"))
        self.assertEqual(rule["annotations"], {"summary": "{{ $labels.job }} logs errors", "description": "Look at\nthe log.\n"})
        self.assertIn("[$__interval]", rule["data"][0]["model"]["expr"])
        self.assertEqual(self.get("/api/v1/provisioning/alert-rules/errors-in-logs").status, 200)

    def test_annotations_are_kept(self) -> None:
        child = self.start_grafana()
        first = self.get("/api/annotations", body={"text": "deploy 1", "tags": ["deploy"], "time": 1000})
        self.assertEqual(first.json, {"message": "Annotation added", "id": 1})
        self.get("/api/annotations", body={"text": "other", "tags": ["x"]})
        self.assertEqual(self.get("/api/annotations", body={"tags": []}).status, 400)
        self.assertEqual(self.get("/api/annotations", body="{bad").status, 400)
        child.kill()
        child.wait()
        self.start_grafana()
        self.assertEqual([one["text"] for one in self.get("/api/annotations?tags=deploy").json], ["deploy 1"])
        self.assertEqual([one["text"] for one in self.get("/api/annotations?from=2000").json], ["other"])
        self.assertEqual(self.get("/api/annotations/1", method="DELETE").status, 200)
        self.assertEqual([one["text"] for one in self.get("/api/annotations").json], ["other"])

    def test_the_password_of_the_first_start_stays_until_it_is_reset(self) -> None:
        child = self.start_grafana()
        end(child)
        self.write("password", "another\n")
        self.start_grafana()
        self.assertEqual(self.get("/api/org").status, 200)
        done = subprocess.run([HERE / "grafana", "cli", "--homepath", self.folder, "--config", self.ini, "admin", "reset-admin-password",
                               "--password-from-stdin"], input="another\n", text=True, capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.get("/api/org").status, 401)
        self.assertEqual(self.get("/api/org", headers=basic("admin", "another")).status, 200)
        self.assertEqual(os.stat(self.folder / "grafana-data/standin-admin.json").st_mode & 0o777, 0o600)

    def test_it_speaks_tls(self) -> None:
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem",
                               "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
                              cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.ini.write_text(GRAFANA.format(folder=self.folder, port=self.port, protocol="https"))
        self.start(*self.command)
        curl = ["curl", "-sS", "--noproxy", "*", "--cacert", self.folder / "cert.pem", f"https://127.0.0.1:{self.port}/api/health"]
        self.until(lambda: subprocess.run(curl, capture_output=True).returncode == 0, "an answer over TLS")
        self.assertEqual(json.loads(subprocess.run(curl, capture_output=True).stdout)["database"], "ok")

    def test_wrong_configurations_are_refused(self) -> None:
        ini = self.ini.read_text()
        for change, words in [(("http_port = ", "http_port = x"), "wanted a port"), (("protocol = http", "protocol = gopher"), "`server.protocol` is `gopher`"),
                              (("$__file{", "$__file{/none"), "cannot read `/none"), (("/provisioning", "/elsewhere"), "which is not a directory"),
                              (("[paths]", "[paths]\nnonsense"), "wanted `key = value`")]:
            with self.subTest(words):
                self.ini.write_text(ini.replace(*change))
                self.assertIn(words, self.refused(*self.command))
        self.ini.write_text(ini)
        for name, text, words in [
                ("datasources/bad.yml", "datasources:\n  - name: X\n", "a data source lacks `name` or `type`"),
                ("datasources/bad.yml", "datasources:\n  - {name: Loki2, uid: loki, type: loki}\n", "is given twice"),
                ("datasources/bad.yml", "datasources: [{name: P, type: x, isDefault: true}]\n", "only one data source can be the default"),
                ("datasources/bad.yml", "datasources: [\n", "wanted"), ("dashboards/bad.yml", "providers: [{name: x}]\n", "lacks `name` or `options.path`"),
                ("dashboards/bad.yml", "providers: [{name: x, options: {path: /none}}]\n", "is `/none`, which is not a directory"),
                ("alerting/bad.yml", RULES.replace("errors-in-logs", "other").replace("condition: B", "condition: C"), "is none of its queries"),
                ("alerting/bad.yml", RULES.replace("errors-in-logs", "other").replace("interval: 10s", "interval: 15s"), "wanted a multiple of 10s"),
                ("alerting/bad.yml", RULES, "`errors-in-logs` is given twice"),
                ("alerting/bad.yml", RULES.replace("errors-in-logs", "o").replace("for: 1m", "for: soon"), "`soon` is not a duration")]:
            with self.subTest(words):
                path = self.write(f"provisioning/{name}", text)
                said = self.refused(*self.command)
                self.assertIn(words, said)
                self.assertIn(f"{path.parent}/", said)
                path.unlink()
        self.assertIn("--homepath /none", self.refused(HERE / "grafana", "server", "--homepath", "/none", "--config", self.ini))


class EveryStandIn(Case):
    """What holds for all three."""

    def commands(self, port: int) -> dict[str, list]:
        loki = self.write("loki.yml", loki_config(port, self.folder / "data"))
        alloy = self.write("config.alloy", 'logging {\n  level = "warn"\n}\n')
        for name in ("datasources", "dashboards", "alerting"):
            (self.folder / "provisioning" / name).mkdir(parents=True, exist_ok=True)
        self.write("password", "x")
        ini = self.write("grafana.ini", GRAFANA.format(folder=self.folder, port=port, protocol="http"))
        return {"loki": [f"-config.file={loki}"], "alloy": ["run", f"--server.http.listen-addr=127.0.0.1:{port}", f"--storage.path={self.folder}/s", alloy],
                "grafana": ["server", "--homepath", self.folder, "--config", ini]}

    def test_each_says_its_version(self) -> None:
        for name, words in [("loki", "loki, version stand-in"), ("alloy", "alloy, version stand-in"), ("grafana", "grafana version stand-in")]:
            said = subprocess.run([HERE / name, "--version"], capture_output=True, text=True, timeout=30).stdout
            self.assertEqual(said.splitlines()[0], words)

    def test_each_listens_on_its_address_only_and_ends_on_a_signal(self) -> None:
        for name in ("loki", "alloy", "grafana"):
            with self.subTest(name):
                port = free_port()
                child = self.start(HERE / name, *self.commands(port)[name])
                text = self.until(lambda: ask(f"http://127.0.0.1:{port}/metrics").text, "metrics")
                self.assertIn(f'{name}_build_info{{version="stand-in"}} 1', text)
                with self.assertRaises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.2", port), 2)
                child.send_signal(signal.SIGTERM)
                self.assertEqual(child.wait(10), 0)

    def test_an_orphan_ends_by_itself_and_a_child_does_not(self) -> None:
        port = free_port()
        words = [str(word) for word in (HERE / "loki", *self.commands(port)["loki"])]
        child = self.start(*words, MONSTACK_STANDIN_MAX_SECONDS="1")
        self.until(lambda: ask(f"http://127.0.0.1:{port}/ready").status == 200, "readiness")
        time.sleep(2.5)
        self.assertIsNone(child.poll())
        end(child)
        shell = self.start("sh", "-c", '"$@" & echo $! > orphan', "sh", *words, MONSTACK_STANDIN_MAX_SECONDS="1")
        self.assertEqual(shell.wait(10), 0)
        orphan = int((self.folder / "orphan").read_text())
        self.until(lambda: not Path(f"/proc/{orphan}").exists(), "the orphan's end", 15)

    def test_a_wrong_limit_of_life_is_refused(self) -> None:
        for name in ("loki", "alloy", "grafana"):
            child = self.start(HERE / name, *self.commands(free_port())[name], MONSTACK_STANDIN_MAX_SECONDS="soon")
            self.assertEqual(child.wait(10), 1)
        self.assertEqual((self.folder / "log").read_text().count("`MONSTACK_STANDIN_MAX_SECONDS` is `soon`"), 3)

    def test_each_runs_as_one_file_on_its_own(self) -> None:
        subprocess.run([HERE / "bundle", self.folder / "bin"], check=True, timeout=60)
        for name in ("loki", "alloy", "grafana"):
            with self.subTest(name):
                port = free_port()
                child = self.start(self.folder / "bin" / name, *self.commands(port)[name])
                self.until(lambda: ask(f"http://127.0.0.1:{port}/metrics").status == 200, "metrics")
                end(child)
        before = [(self.folder / "bin" / name).read_bytes() for name in ("loki", "alloy", "grafana")]
        subprocess.run([HERE / "bundle", self.folder / "again"], check=True, timeout=60)
        self.assertEqual(before, [(self.folder / "again" / name).read_bytes() for name in ("loki", "alloy", "grafana")])

    @unittest.skipUnless(real("prometheus") and real("promtool"), "skipped: no real `prometheus` and `promtool` in MONSTACK_TEST_BIN")
    def test_a_real_prometheus_scrapes_them(self) -> None:
        ports = {name: free_port() for name in ("loki", "alloy", "grafana")}
        for name, port in ports.items():
            self.start(HERE / name, *self.commands(port)[name])
            text = self.until(lambda: ask(f"http://127.0.0.1:{port}/metrics").text, "metrics")
            done = subprocess.run([real("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        jobs = [{"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for name, port in ports.items()]
        config = self.write("prometheus.yml", json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
        port = free_port()
        self.start(real("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={self.folder}/tsdb", f"--web.listen-address=127.0.0.1:{port}")

        def all_up() -> bool:
            answer = ask(f"http://127.0.0.1:{port}/api/v1/query?query=sum(up)")
            # While it reads its own data it answers 503.
            result = answer.json["data"]["result"] if answer.status == 200 else []
            return bool(result) and result[0]["value"][1] == "3"

        self.until(all_up, "three targets that are up", 30)


if __name__ == "__main__":
    unittest.main()
