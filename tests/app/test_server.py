"""The real gunicorn, with two workers."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import support


class Fixture(support.Scratch):
    def serve(self, **values):
        server = support.Server(self.folder, **values)
        self.addCleanup(server.stop)
        return server.ready()

    def fire(self, server, path, count):
        with ThreadPoolExecutor(40) as pool:
            return list(pool.map(lambda _: server.get(path), range(count)))


class TestLoad(Fixture):
    def test_two_hundred_visits_at_once(self):
        server = self.serve(VERSION="9.9")
        numbers = self.folder / "data" / "run" / "metrics"
        support.wait_until(lambda: len(list(numbers.glob("counter_*.db"))) == 2, "both workers share their numbers")
        answers = self.fire(server, "/view", 200)
        self.assertEqual({status for status, _, _ in answers}, {200})
        self.assertEqual(len({body for _, body, _ in answers}), 200, "no count is given twice")
        self.assertEqual(server.get("/view?read=true")[1], b'{"visits":200}\n')

        status, metrics, headers = server.get("/metrics")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        labels = {"method": "GET", "endpoint": "/view", "status": "200"}
        self.assertEqual(support.series(metrics, "http_requests_total", **labels), 201)
        self.assertEqual(support.series(metrics, "http_request_duration_seconds_count", **labels), 201)
        self.assertEqual(support.series(metrics, "app_visits_total"), 200)
        self.assertEqual(support.series(metrics, "app_info", version="9.9"), 1)

        lines = [line for line in server.lines() if line.get("path") == "/view"]
        self.assertEqual(len(lines), 201)
        self.assertEqual(len({line["request_id"] for line in lines}), 201)
        logged = support.series(metrics, "app_log_messages_total", level="INFO")
        self.assertGreaterEqual(logged, 201)
        self.assertEqual(server.stop(), 0)

    def test_a_rotation_by_rename_loses_no_line(self):
        server = self.serve()
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(self.fire, server, "/view", 200)
            for number in range(3):
                support.wait_until(server.log.exists, "the log is there again")
                os.rename(server.log, self.folder / f"app.log.{number}")
            load.result()
        server.get("/info", X_Request_ID="after-rotation")
        self.assertEqual(server.stop(), 0)
        lines = [line for path in self.folder.glob("app.log*") for line in support.read_lines(path)]
        self.assertEqual(sum(line.get("path") == "/view" for line in lines), 200)
        self.assertIn("after-rotation", [line.get("request_id") for line in server.lines()])

    def test_a_killed_worker_is_replaced_and_its_numbers_stay(self):
        server = self.serve()
        self.fire(server, "/view", 40)
        workers = server.workers()
        self.assertEqual(len(workers), 2)
        os.kill(workers[0], signal.SIGKILL)
        support.wait_until(
            lambda: len(set(server.workers()) - {workers[0]}) == 2 and workers[0] not in server.workers(),
            "another worker runs",
        )
        _, metrics, _ = server.get("/metrics")
        self.assertEqual(support.series(metrics, "http_requests_total", endpoint="/view", status="200"), 40)
        self.assertEqual(server.get("/view")[1], b'{"visits":41}\n')

    def test_numbers_begin_anew_and_the_count_stays_with_the_next_server(self):
        first = self.serve()
        self.fire(first, "/view", 3)
        first.stop()
        second = self.serve()
        _, metrics, _ = second.get("/metrics")
        self.assertEqual(support.series(metrics, "http_requests_total", endpoint="/view", status="200"), 0)
        self.assertEqual(support.series(metrics, "app_visits_total"), 3)


class TestSwitches(Fixture):
    def test_credentials_are_read_again_by_every_worker(self):
        url = self.folder / "url"
        url.write_text(f"sqlite:///{self.folder}/canary-missing/visits.db")
        url.chmod(0o600)
        server = self.serve(DATABASE_URL_FILE=url)

        def lines_with(text):
            return sum(text in line["message"] for line in server.lines())

        support.wait_until(lambda: lines_with("not available at the start") == 2, "both workers run")
        status, body, _ = server.get("/view")
        self.assertEqual((status, b"canary" in body), (503, False))
        self.assertEqual(server.get("/health")[0], 503)
        self.assertEqual(server.get("/")[0], 200)
        fresh = self.folder / "url.new"
        fresh.write_text(f"sqlite:///{self.folder}/fresh.db")
        fresh.chmod(0o600)
        fresh.rename(url)
        support.wait_until(lambda: server.get("/view")[0] == 200, "the new URL is used")

        def reads():
            self.fire(server, "/health", 20)
            return lines_with("read again")

        support.wait_until(lambda: reads() == 2, "each of the two workers read it once")
        self.assertEqual({status for status, _, _ in self.fire(server, "/view", 40)}, {200})
        self.assertEqual(reads(), 2)
        self.assertNotIn("canary", " ".join(line["message"] for line in server.lines()))

    def test_the_fault_file(self):
        fault = self.folder / "fault.json"
        server = self.serve(FAULT_FILE=fault)
        fault.write_text('{"error_ratio": 1, "delay_ms": 1}')
        self.assertEqual({status for status, _, _ in self.fire(server, "/view", 20)}, {500})
        self.assertEqual(server.get("/health")[0], 200)
        fault.write_text("nonsense")
        self.assertEqual({status for status, _, _ in self.fire(server, "/view", 20)}, {200})
        ignored = [line for line in server.lines() if "ignored" in line["message"]]
        self.assertIn(len(ignored), (1, 2), "at most one warning from each worker")

    def test_a_connection_without_a_request_does_not_hold_the_stop(self):
        server = self.serve()
        with socket.create_connection(("127.0.0.1", server.port)) as idle:
            idle.sendall(b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(b"200", idle.recv(100))
            self.assertEqual(server.stop(), 0)
        self.assertEqual(server.workers(), [])

    def test_the_server_line_has_no_version(self):
        _, _, headers = self.serve().get("/")
        self.assertNotRegex(headers["Server"], "[0-9]")


class TestStart(Fixture):
    def test_a_second_server_on_the_same_folder_is_refused(self):
        first = self.serve()
        self.fire(first, "/view", 5)
        (self.folder / "other").mkdir()
        second = support.Server(self.folder / "other", DATA_DIR=self.folder / "data")
        self.assertNotEqual(second.process.wait(support.WAIT_SECONDS), 0)
        second.stop()
        self.assertIn("another server uses the folder", second.said())
        _, metrics, _ = first.get("/metrics")
        self.assertEqual(support.series(metrics, "http_requests_total", endpoint="/view", status="200"), 5)

    def test_a_reload_keeps_the_folder_and_the_numbers(self):
        server = self.serve()
        self.fire(server, "/view", 5)
        old = set(server.workers())
        server.process.send_signal(signal.SIGHUP)
        support.wait_until(lambda: len(server.workers()) == 2 and not old & set(server.workers()), "new workers run")
        support.wait_until(server.answers, "the server answers")
        _, metrics, _ = server.get("/metrics")
        self.assertEqual(support.series(metrics, "http_requests_total", endpoint="/view", status="200"), 5)
        (self.folder / "other").mkdir()
        second = support.Server(self.folder / "other", DATA_DIR=self.folder / "data")
        self.assertNotEqual(second.process.wait(support.WAIT_SECONDS), 0)
        second.stop()

    def test_after_kill_9_the_folder_is_free(self):
        first = self.serve()
        workers = first.workers()
        first.process.kill()
        first.process.wait()
        second = self.serve()
        self.assertEqual(second.get("/view")[0], 200)
        support.wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers), "the orphans end")

    def test_wrong_settings_end_with_one_message_and_no_trace(self):
        server = support.Server(self.folder, WORKERS="none", DATABASE_URL="mysql://u:canary@h/d", FOO="1")
        self.assertNotEqual(server.process.wait(support.WAIT_SECONDS), 0)
        server.stop()
        self.assertIn("error: the settings of the app are wrong:", server.said())
        self.assertNotIn("Traceback", server.said())
        self.assertNotIn("canary", server.said())

    def test_a_url_that_cannot_be_used_ends_with_one_message(self):
        server = support.Server(self.folder, DATABASE_URL="mysql://u:canary@h:canary/d")
        self.assertNotEqual(server.process.wait(support.WAIT_SECONDS), 0)
        server.stop()
        self.assertIn("found no usable database URL", server.said())
        self.assertNotIn("Traceback", server.said())
        self.assertNotIn("canary", server.said())

    def test_the_configuration_can_be_checked_without_a_start(self):
        environment = {**os.environ, "MONSTACK_APP_DATA_DIR": str(self.folder / "data")}
        command = [sys.executable, "-m", "gunicorn", "-c", str(support.APP / "gunicorn.conf.py"), "--check-config"]
        done = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_without_a_log_file_the_lines_go_to_stdout(self):
        server = self.serve(LOG="")
        server.get("/info", X_Request_ID="to-stdout")
        server.stop()
        self.assertIn("to-stdout", [line.get("request_id") for line in support.read_lines(self.folder / "stderr")])

    def test_nothing_is_written_outside_the_named_folders(self):
        home = self.folder / "home"
        home.mkdir()
        old = os.environ.get("HOME")
        os.environ["HOME"] = str(home)
        try:
            server = self.serve(RUN_DIR=self.folder / "run")
        finally:
            os.environ["HOME"] = old or ""
        server.get("/view")
        server.stop()
        self.assertEqual(list(home.iterdir()), [])
        self.assertEqual({path.name for path in self.folder.iterdir()}, {"home", "run", "data", "app.log", "stderr"})
        self.assertEqual({path.name.split("-")[0] for path in (self.folder / "data").iterdir()}, {"visits.db"})
