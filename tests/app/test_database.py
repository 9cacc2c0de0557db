import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pymysql
import support
from monstack_app import credentials, database, gate, visits
from sqlalchemy import text
from sqlalchemy.exc import OperationalError


class Fixture(support.Scratch):
    def setUp(self):
        super().setUp()
        self.failures = 0
        self.url_file = self.folder / "url"
        self.clock = 0.0

    def count_failure(self):
        self.failures += 1

    def point_to(self, url):
        self.url_file.write_text(url)
        self.url_file.chmod(0o600)

    def database(self, **values):
        made = database.Database(credentials.provider(self.settings(**values)), visits.prepare, self.count_failure)
        made._gate = gate.Gate(lambda: self.clock)
        self.addCleanup(support.dispose, made)
        return made

    def from_file(self, url):
        self.point_to(url)
        return self.database(DATABASE_URL_FILE=self.url_file)


class TestCounter(Fixture):
    def test_it_counts_from_one_and_reading_changes_nothing(self):
        counter = self.database()
        self.assertEqual(counter.run(visits.read), 0)
        self.assertEqual([counter.run(visits.increment) for _ in range(3)], [1, 2, 3])
        self.assertEqual(counter.run(visits.read), 3)
        self.assertEqual(self.database().run(visits.read), 3)

    def test_no_count_is_given_twice(self):
        counters = [self.database() for _ in range(4)]
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda n: counters[n % 4].run(visits.increment), range(200)))
        self.assertEqual(sorted(found), list(range(1, 201)))

    def test_a_dropped_table_costs_one_answer(self):
        counter = self.database()
        counter.run(visits.increment)
        counter.run(lambda connection: connection.execute(text("DROP TABLE counters")))
        with self.assertRaises(database.DatabaseAway):
            counter.run(visits.increment)
        self.assertEqual(counter.run(visits.increment), 1)
        self.assertEqual(self.failures, 1)

    def test_a_failure_undoes_the_work(self):
        counter = self.database()

        def fail(connection):
            visits.increment(connection)
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            counter.run(fail)
        self.assertEqual(counter.run(visits.read), 0)

    def test_a_file_that_was_moved_away_is_noticed(self):
        counter = self.database(DATA_DIR=self.folder / "data")
        (self.folder / "data").mkdir()
        self.assertEqual(counter.run(visits.increment), 1)
        (self.folder / "data").rename(self.folder / "elsewhere")
        with self.assertRaises(database.DatabaseAway):
            counter.run(visits.increment)
        self.clock += 2
        (self.folder / "elsewhere").rename(self.folder / "data")
        self.assertEqual(counter.run(visits.increment), 2)


class TestCredentials(Fixture):
    def test_credentials_are_read_again_when_they_are_refused(self):
        counter = self.from_file("mysql://app:canary-old@127.0.0.1/app")
        refusal = pymysql.err.OperationalError(1045, "Access denied for user 'app'@'localhost'")
        with mock.patch("pymysql.connect", side_effect=refusal) as connect:
            with self.assertRaises(database.DatabaseAway):
                counter.run(visits.increment)
            self.assertEqual(connect.call_count, 1, "credentials that did not change are not tried again")
            self.clock += 2
            self.point_to(f"sqlite:///{self.folder}/new.db")
            with self.assertLogs("monstack_app.database", "WARNING") as told:
                self.assertEqual(counter.run(visits.increment), 1)
        self.assertEqual(len(told.output), 1)
        self.assertIn("MONSTACK_APP_DATABASE_URL_FILE", told.output[0])
        self.assertNotIn("canary", told.output[0])
        self.assertEqual(counter.dialect(), "sqlite")

    def test_callers_that_are_refused_together_read_again_once(self):
        counter = self.from_file("sqlite:////nowhere/at/all.db")
        counter.dialect()
        self.point_to(f"sqlite:///{self.folder}/new.db")
        with self.assertLogs("monstack_app.database", "WARNING") as told, ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: counter.run(visits.increment), range(8)))
        self.assertEqual(sorted(found), list(range(1, 9)))
        self.assertEqual(len(told.output), 1)

    def test_a_server_that_is_away_is_no_reason_to_read_again(self):
        def error(*arguments):
            return OperationalError("x", None, pymysql.err.OperationalError(*arguments))

        self.assertTrue(all(database.refused(error(code, "no")) for code in (1044, 1045, 1698)))
        self.assertFalse(any(database.refused(error(code, "no")) for code in (2003, 2006, 2013, 1040)))
        self.assertTrue(database.refused(error("password authentication failed")))

    def test_a_url_file_that_appears_later_is_used(self):
        counter = self.database(DATABASE_URL_FILE=self.url_file)
        with self.assertRaises(database.DatabaseAway):
            counter.run(visits.read)
        self.assertEqual(counter.dialect(), "unknown")
        self.clock += 2
        self.point_to(f"sqlite:///{self.folder}/new.db")
        self.assertEqual(counter.run(visits.increment), 1)

    def test_a_driver_that_fails_in_its_own_way_is_away_too(self):
        counter = self.from_file("mysql://app:x@127.0.0.1/app")
        with mock.patch("pymysql.connect", side_effect=RuntimeError("'cryptography' package is required")):
            with self.assertRaises(database.DatabaseAway) as caught:
                counter.run(visits.read)
        self.assertIsInstance(caught.exception.__cause__, RuntimeError)
        self.assertEqual(self.failures, 1)

    def test_mysql_gets_timeouts_that_the_url_may_change(self):
        for query, wanted in (("", (3, 5)), ("?connect_timeout=7&read_timeout=8", (7, 8))):
            engine = database.build(credentials.parse("X", "mysql://u:p@h/d" + query))
            with mock.patch("pymysql.connect", side_effect=pymysql.err.OperationalError(2003, "away")) as connect:
                self.assertRaises(OperationalError, engine.connect)
            given = connect.call_args.kwargs
            self.assertEqual((given["connect_timeout"], given["read_timeout"]), wanted)


class TestGate(Fixture):
    def test_after_a_failure_callers_are_turned_back_for_a_moment(self):
        counter = self.from_file("mysql://app:x@127.0.0.1/app")
        away = pymysql.err.OperationalError(2003, "away")
        with mock.patch("pymysql.connect", side_effect=away) as connect:
            for _ in range(5):
                self.assertRaises(database.DatabaseAway, counter.run, visits.read)
            self.assertEqual((connect.call_count, self.failures), (1, 1))
            self.clock += 1.5
            self.assertRaises(database.DatabaseAway, counter.run, visits.read)
            self.assertEqual(connect.call_count, 2)

    def test_one_caller_tries_while_the_others_are_turned_back(self):
        door = gate.Gate(lambda: self.clock)
        with self.assertRaises(OSError), door.passage():
            raise OSError
        self.clock += 2
        inside, leave = threading.Event(), threading.Event()

        def probe():
            with door.passage():
                inside.set()
                leave.wait(support.WAIT_SECONDS)

        prober = threading.Thread(target=probe)
        prober.start()
        self.assertTrue(inside.wait(support.WAIT_SECONDS))
        with self.assertRaises(gate.GateClosed), door.passage():
            pass
        leave.set()
        prober.join(support.WAIT_SECONDS)
        with door.passage():
            pass
