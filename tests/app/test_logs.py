import errno
import json
import logging
import multiprocessing
import os
import sys
from unittest import mock

import support
from monstack_app import logs


def _write_many(path, name, count):
    handler = logs.LineHandler(path)
    handler.setFormatter(logs.JsonFormatter())
    log = logging.getLogger(name)
    log.propagate = False
    log.handlers = [handler]
    for number in range(count):
        log.warning("%s %d %s", name, number, "x" * (number % 3 * 9000))


class TestFormat(support.Scratch):
    def line(self, message, **extra):
        record = logging.LogRecord("some.logger", logging.WARNING, __file__, 1, message, (), None)
        record.created = 1700000000.25
        for name, value in extra.items():
            setattr(record, name, value)
        text = logs.JsonFormatter().format(record)
        self.assertTrue(text.isascii() and text.isprintable(), text)
        return json.loads(text)

    def test_the_keys_of_a_line(self):
        self.assertEqual(
            self.line("hello"),
            {
                "time": "2023-11-14T22:13:20.250Z",
                "level": "WARNING",
                "logger": "some.logger",
                "message": "hello",
            },
        )

    def test_odd_characters_stay_inside(self):
        odd = 'a\nb\r\0\x1b[31m"\\\u2028\u202e{}\U0001f600é'
        self.assertEqual(self.line(odd)["message"], odd)
        self.assertEqual(self.line("x", fields={"path": odd})["path"], odd)

    def test_a_lone_surrogate_becomes_legal(self):
        self.assertEqual(self.line("a\udcffb")["message"], "a\\udcffb")

    def test_long_text_is_cut(self):
        self.assertEqual(len(self.line("m" * 99999)["message"]), 2048)
        self.assertEqual(len(self.line("m", fields={"path": "p" * 99999})["path"]), 512)

    def test_an_exception_is_in_the_same_line(self):
        try:
            raise KeyError("one\ntwo")
        except KeyError:
            line = self.line("failed", exc_info=sys.exc_info())
        self.assertIn("Traceback", line["exception"])
        self.assertIn("KeyError", line["exception"])

    def test_every_level_becomes_one_of_three(self):
        made = [logs.level_of(logging.LogRecord("n", level, "", 1, "", (), None)) for level in (10, 20, 30, 40, 50)]
        self.assertEqual(made, ["INFO", "INFO", "WARNING", "ERROR", "ERROR"])


class TestFile(support.Scratch):
    def setUp(self):
        super().setUp()
        self.path = self.folder / "app.log"
        self.log_to(self.path)
        self.log = logging.getLogger("test")

    def messages(self, path):
        return [line["message"] for line in support.read_lines(path)]

    def test_a_renamed_file_is_opened_anew(self):
        self.log.info("one")
        os.rename(self.path, self.folder / "app.log.1")
        self.log.info("two")
        self.assertEqual(self.messages(self.folder / "app.log.1"), ["one"])
        self.assertEqual(self.messages(self.path), ["two"])
        self.assertEqual(self.path.stat().st_mode & 0o137, 0)

    def test_a_truncated_file_goes_on_at_its_start(self):
        self.log.info("one")
        os.truncate(self.path, 0)
        self.log.info("two")
        self.assertEqual(self.messages(self.path), ["two"])

    def test_a_missing_folder_keeps_the_old_file(self):
        self.log.info("one")
        moved = self.folder.with_name(self.folder.name + "-moved")
        self.folder.rename(moved)
        try:
            self.log.info("two")
            self.assertEqual(self.messages(moved / "app.log"), ["one", "two"])
        finally:
            moved.rename(self.folder)

    def test_a_full_disk_costs_lines_but_not_the_app_nor_the_next_line(self):
        self.log.info("one")
        real = os.write
        answers = iter([10, OSError(errno.ENOSPC, "No space left on device")])

        def full(target, data):
            answer = next(answers)
            if isinstance(answer, OSError):
                raise answer
            return real(target, data[:answer])

        with mock.patch.object(logs.os, "write", full), mock.patch("sys.stderr") as told:
            self.log.info("two")
        self.assertIn("No space left", str(told.mock_calls))
        self.log.info("three")
        text = self.path.read_text().split("\n")
        self.assertEqual(json.loads(text[0])["message"], "one")
        self.assertEqual(len(text[1]), 10)
        self.assertEqual(json.loads(text[2])["message"], "three")

    def test_processes_do_not_tear_each_other_s_lines(self):
        count = 150
        context = multiprocessing.get_context("fork")
        writers = [context.Process(target=_write_many, args=(self.path, f"w{n}", count)) for n in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(support.WAIT_SECONDS)
            self.assertEqual(writer.exitcode, 0)
        self.assertEqual(len(support.read_lines(self.path)), 4 * count)
