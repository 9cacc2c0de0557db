import os

import support
from monstack_app import faults


class TestParse(support.Scratch):
    def test_good_content(self):
        self.assertEqual(faults.parse(b'{"error_ratio": 0.5}'), faults.Fault(0.5, 0))
        self.assertEqual(faults.parse(b'{"delay_ms": 20, "error_ratio": 1}'), faults.Fault(1, 20))

    def test_bad_content(self):
        for bad in (
            b"",
            b"\xff",
            b"[]",
            b"{}",
            b'{"error_ratio": 2}',
            b'{"error_ratio": true}',
            b'{"error_ratio": NaN}',
            b'{"error_ratio": "1"}',
            b'{"delay_ms": -1}',
            b'{"delay_ms": 30001}',
            b'{"error_ratio": 1, "also": 1}',
            b"[" * 4096,
            b" " * 4097,
        ):
            with self.assertRaises(ValueError, msg=bad[:40]):
                faults.parse(bad)


class TestSwitch(support.Scratch):
    def setUp(self):
        super().setUp()
        self.path = self.folder / "fault.json"
        self.switch = faults.FaultSwitch(self.path)

    def test_without_a_file_nothing_happens(self):
        faults.FaultSwitch(None).apply()
        log = self.folder / "log"
        self.log_to(log)
        self.switch.apply()
        self.assertFalse(log.exists(), "nothing was logged")

    def test_it_follows_the_file(self):
        self.path.write_text('{"error_ratio": 1}')
        with self.assertLogs("monstack_app.faults", "WARNING"), self.assertRaises(faults.Injected):
            self.switch.apply()
        self.path.write_text('{"error_ratio": 0}')
        with self.assertLogs("monstack_app.faults", "WARNING"):
            self.switch.apply()
        self.path.unlink()
        with self.assertLogs("monstack_app.faults", "INFO"):
            self.assertIsNone(self.switch.current())

    def test_bad_content_is_told_once(self):
        self.path.write_text("{")
        with self.assertLogs("monstack_app.faults", "WARNING") as told:
            self.switch.apply()
            self.switch.apply()
        self.assertEqual(len(told.output), 1)

    def test_a_file_that_cannot_be_read_is_ignored(self):
        os.mkdir(self.path)
        with self.assertLogs("monstack_app.faults", "WARNING"):
            self.switch.apply()
