import logging
import re
import time
from unittest import mock

import support
from monstack_app import factory, page
from monstack_app.database import DatabaseAway


class Fixture(support.Scratch):
    def setUp(self):
        super().setUp()
        self.log = self.folder / "app.log"
        self.log_to(self.log)
        self.app = factory.create_app(self.settings(VERSION="1.2.3", FAULT_FILE=self.folder / "fault.json"))
        self.client = self.app.test_client()
        self.addCleanup(support.dispose, self.app.extensions["monstack"].database)

    def away(self):
        cause = OSError("canary in the cause")

        def run(_work):
            raise DatabaseAway("the database cannot be reached") from cause

        self.app.extensions["monstack"].database.run = run

    def series(self, name, **labels):
        return support.series(self.client.get("/metrics").data, name, **labels)

    def last_line(self):
        return support.read_lines(self.log)[-1]


class TestView(Fixture):
    def test_it_counts(self):
        self.assertEqual([self.client.get("/view").json for _ in range(2)], [{"visits": 1}, {"visits": 2}])

    def test_reading_does_not_count(self):
        self.client.get("/view")
        for _ in range(2):
            self.assertEqual(self.client.get("/view?read=true").json, {"visits": 1})
        self.assertEqual(self.client.head("/view").status_code, 200)
        self.assertEqual(self.client.get("/view?read=false").json, {"visits": 2})

    def test_a_bad_value_is_refused_and_does_not_count(self):
        for bad in ("?read", "?read=yes", "?read=TRUE", "?read=true&read=false", "?read=%00"):
            answer = self.client.get("/view" + bad)
            self.assertEqual(answer.status_code, 400, bad)
            self.assertIn("`read=true`", answer.json["hint"])
        self.assertEqual(self.client.get("/view?read=true").json, {"visits": 0})

    def test_only_get_and_head(self):
        answer = self.client.post("/view")
        self.assertEqual(answer.status_code, 405)
        self.assertIn("GET", answer.headers["Allow"])
        self.assertEqual(self.client.get("/view?read=true").json, {"visits": 0})


class TestPage(Fixture):
    def test_it_shows_the_counter_and_does_not_count(self):
        self.app.extensions["monstack"].visits(lambda _connection: 1234567)
        with mock.patch("monstack_app.visits.read", return_value=1234567):
            answer = self.client.get("/")
        self.assertEqual(answer.status_code, 200)
        self.assertIn("<strong>1,234,567</strong>", answer.text)
        self.assertIn("1.2.3", answer.text)
        self.assertEqual(self.client.get("/view?read=true").json, {"visits": 0})

    def test_one_visit_is_not_visits(self):
        self.client.get("/view")
        self.assertIn("<strong>1</strong> <span>visit</span>", self.client.get("/").text)

    def test_its_policy_allows_its_own_style_alone(self):
        answer = self.client.get("/")
        style = re.search("<style>(.*)</style>", answer.text, re.DOTALL).group(1)
        self.assertEqual(answer.headers["Content-Security-Policy"], page.policy(style))
        self.assertNotIn("unsafe", answer.headers["Content-Security-Policy"])
        self.assertFalse(re.findall(r'<script|src=|href="(?!/|data:)|style=', answer.text))

    def test_odd_text_is_escaped(self):
        with mock.patch("socket.gethostname", return_value="<script>x</script>"):
            self.assertIn("&lt;script&gt;", self.client.get("/").text)

    def test_without_the_database_it_says_so(self):
        self.away()
        answer = self.client.get("/")
        self.assertEqual(answer.status_code, 200)
        self.assertIn("The counter is not available", answer.text)
        self.assertNotIn("canary", answer.text)
        told = [line for line in support.read_lines(self.log) if line["level"] == "ERROR"]
        self.assertEqual(len(told), 1)
        self.assertIn("canary in the cause", told[0]["exception"])


class TestProbes(Fixture):
    def test_health(self):
        answer = self.client.get("/health")
        self.assertEqual((answer.status_code, answer.json), (200, {"status": "ok", "database": "ok"}))
        self.assertFalse(self.log.exists(), "a good probe is not logged")

    def test_without_the_database(self):
        self.away()
        for path in ("/health", "/view", "/view?read=true"):
            answer = self.client.get(path)
            self.assertEqual(answer.status_code, 503, path)
            self.assertTrue(answer.is_json)
            self.assertNotIn("canary", answer.text)
            line = self.last_line()
            self.assertEqual((line["level"], line["status"]), ("ERROR", 503))
            self.assertIn("canary in the cause", line["exception"])
        self.assertEqual(self.client.get("/info").status_code, 200)
        self.assertEqual(self.client.get("/metrics").status_code, 200)

    def test_info_tells_nothing_secret(self):
        with mock.patch.object(factory.time, "monotonic", return_value=time.monotonic() - 100):
            app = factory.create_app(self.settings(DATABASE_URL="mysql://u:canary@127.0.0.1:1/d"))
        found = app.test_client().get("/info").json
        self.assertEqual(set(found), {"name", "version", "hostname", "python", "uptime_seconds", "database"})
        self.assertEqual(found["database"], "mysql")
        self.assertGreater(found["uptime_seconds"], 99)
        self.assertNotIn("canary", self.log.read_text())


class TestAround(Fixture):
    def test_safety_headers_are_on_every_answer(self):
        for path in ("/", "/view", "/view?read=no", "/info", "/health", "/metrics", "/nowhere"):
            headers = self.client.get(path).headers
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff", path)
            self.assertIn("default-src 'none'", headers["Content-Security-Policy"], path)
            self.assertEqual(headers["Cache-Control"], "no-store", path)

    def test_a_sane_request_id_is_kept_and_another_is_replaced(self):
        def given(value):
            return self.client.get("/info", headers={"X-Request-ID": value}).headers["X-Request-ID"]

        self.assertEqual(given("abc-1.2_3"), "abc-1.2_3")
        self.assertEqual(self.last_line()["request_id"], "abc-1.2_3")
        for bad in ("", "a b", "x" * 65, "é", '"', "a;b"):
            self.assertRegex(given(bad), "^[0-9a-f]{32}$")

    def test_a_line_of_a_request(self):
        self.client.get("/view?token=canary", headers={"X-Forwarded-For": "6.6.6.6, 192.0.2.7"})
        line = self.last_line()
        self.assertEqual(
            {name: line[name] for name in ("level", "logger", "message", "method", "path", "status", "remote")},
            {
                "level": "INFO",
                "logger": "monstack_app.request",
                "message": "GET /view answered 200",
                "method": "GET",
                "path": "/view",
                "status": 200,
                "remote": "192.0.2.7",
            },
        )
        self.assertIsInstance(line["duration_ms"], float)
        self.assertNotIn("canary", self.log.read_text())

    def test_what_belongs_to_a_request_does_not_stay_behind(self):
        self.client.get("/info")
        logging.getLogger("later").info("later")
        self.assertNotIn("request_id", self.last_line())

    def test_odd_paths_are_one_line(self):
        self.client.get("/%0a%00%1b%5b31m%e2%80%a8%ff%22")
        line = self.last_line()
        self.assertEqual((line["level"], line["status"]), ("WARNING", 404))
        self.assertTrue(line["path"].startswith("/\n\0\x1b[31m\u2028"))

    def test_an_unexpected_failure_tells_the_client_nothing(self):
        with mock.patch("monstack_app.visits.increment", side_effect=ZeroDivisionError("canary")):
            answer = self.client.get("/view", headers={"X-Request-ID": "id-1"})
        self.assertEqual((answer.status_code, answer.json["request_id"]), (500, "id-1"))
        self.assertNotIn("canary", answer.text)
        self.assertIn("ZeroDivisionError: canary", self.last_line()["exception"])

    def test_a_page_that_is_not_there(self):
        answer = self.client.get("/view/")
        self.assertEqual((answer.status_code, answer.json["error"]), (404, "not found"))
        self.assertIn("`/view`", answer.json["hint"])


class TestMetrics(Fixture):
    def test_series_exist_before_the_first_request(self):
        for endpoint in ("/", "/view", "/health", "/info", "/metrics"):
            labels = {"method": "GET", "endpoint": endpoint, "status": "200"}
            self.assertEqual(self.series("http_request_duration_seconds_count", **labels) >= 0, True)
            self.assertEqual(self.series("http_requests_total", **labels) >= 0, True)
        self.assertEqual(self.series("http_requests_total", endpoint="/view", status="503"), 0)
        for level in ("INFO", "WARNING", "ERROR"):
            self.assertEqual(self.series("app_log_messages_total", level=level), 0)
        self.assertEqual(self.series("app_database_errors_total"), 0)
        self.assertEqual(self.series("app_visits_total"), 0)
        self.assertEqual(self.series("app_info", version="1.2.3"), 1)

    def test_requests_are_counted_by_rule_and_status(self):
        self.client.get("/view")
        self.client.get("/view?read=x")
        self.client.post("/view")
        self.client.open("/view", method="BREW")
        for number in range(20):
            self.client.get(f"/nowhere/{number}")
        count = "http_requests_total"
        self.assertEqual(self.series(count, endpoint="/view", status="200"), 1)
        self.assertEqual(self.series(count, endpoint="/view", status="400"), 1)
        self.assertEqual(self.series(count, method="POST", endpoint="unmatched", status="405"), 1)
        self.assertEqual(self.series(count, method="other", endpoint="unmatched", status="405"), 1)
        self.assertEqual(self.series(count, endpoint="unmatched", status="404"), 20)
        self.assertEqual(
            self.series("http_request_duration_seconds_bucket", endpoint="/view", status="200", le="+Inf"), 1
        )
        self.assertNotIn(b"/nowhere", self.client.get("/metrics").data)
        self.assertNotIn(b"BREW", self.client.get("/metrics").data)

    def test_log_lines_and_visits_are_counted(self):
        self.client.get("/view")
        self.client.get("/view")
        self.client.get("/nowhere")
        self.assertEqual(self.series("app_log_messages_total", level="INFO"), 2)
        self.assertEqual(self.series("app_log_messages_total", level="WARNING"), 1)
        self.assertEqual(self.series("app_visits_total"), 2)
        self.assertIn(b"# TYPE app_visits_total counter\n", self.client.get("/metrics").data)

    def test_an_unknown_count_is_absent_and_not_zero(self):
        app = factory.create_app(self.settings(DATABASE_URL_FILE=self.folder / "missing"))
        found = app.test_client().get("/metrics").data
        self.assertNotIn(b"app_visits", found)
        self.assertEqual(support.series(found, "app_database_errors_total"), 1)


class TestFaults(Fixture):
    def test_the_file_fails_view_and_info_and_nothing_else(self):
        (self.folder / "fault.json").write_text('{"error_ratio": 1}')
        for path in ("/view", "/info"):
            self.assertEqual(self.client.get(path).status_code, 500, path)
        for path in ("/", "/health", "/metrics"):
            self.assertEqual(self.client.get(path).status_code, 200, path)
        (self.folder / "fault.json").unlink()
        self.assertEqual(self.client.get("/view").json, {"visits": 1})
        self.assertEqual(self.series("http_requests_total", endpoint="/view", status="500"), 1)

    def test_the_file_delays(self):
        (self.folder / "fault.json").write_text('{"delay_ms": 60}')
        self.client.get("/info")
        self.assertGreaterEqual(self.last_line()["duration_ms"], 60)

    def test_no_request_switches_it(self):
        for path in ("/view?error_ratio=1", "/view?fault=1"):
            answer = self.client.get(path, headers={"X-Fault": "1", "MONSTACK_APP_FAULT_FILE": "/etc/passwd"})
            self.assertEqual(answer.status_code, 200)
