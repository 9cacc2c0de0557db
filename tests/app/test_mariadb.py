"""The same app on a real MariaDB, where one is installed: `mariadbd` on PATH or in `MONSTACK_TEST_BIN`."""

import contextlib
import getpass
import os
import shutil
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pymysql
import support

_PATH = os.pathsep.join([os.environ.get("MONSTACK_TEST_BIN", ""), os.environ.get("PATH", ""), "/usr/sbin"])
_SERVER = shutil.which("mariadbd", path=_PATH)
_INSTALL = shutil.which("mariadb-install-db", path=_PATH)
_MISSING = "skipped: the tests on MariaDB, for there is no `mariadbd` on PATH or in MONSTACK_TEST_BIN"

if not (_SERVER and _INSTALL):
    print(_MISSING, file=sys.stderr)


@unittest.skipUnless(_SERVER and _INSTALL, _MISSING)
class TestMariaDb(support.Scratch):
    def setUp(self):
        super().setUp()
        self.port = support.free_port()
        self.socket = self.folder / "db.sock"
        base = Path(_SERVER).resolve().parents[1]
        data, user = self.folder / "db", getpass.getuser()
        subprocess.run(
            [_INSTALL, "--no-defaults", f"--basedir={base}", f"--datadir={data}", f"--user={user}"]
            + ["--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True,
            capture_output=True,
            timeout=120,
        )
        self.command = [
            _SERVER,
            "--no-defaults",
            f"--basedir={base}",
            f"--datadir={data}",
            f"--user={user}",
            f"--socket={self.socket}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
        ]
        self.start()
        self.addCleanup(self.stop)
        self.admin("CREATE DATABASE app")
        self.admin("CREATE USER app@'127.0.0.1' IDENTIFIED BY 'canary-one'")
        self.admin("GRANT SELECT, INSERT, UPDATE, CREATE ON app.* TO app@'127.0.0.1'")

    def start(self):
        with (self.folder / "db.log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        support.wait_until(self.up, "MariaDB answers")

    def up(self):
        if not self.socket.exists():
            return False
        try:
            self.admin("SELECT 1")
            return True
        except pymysql.err.OperationalError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(support.WAIT_SECONDS)

    def admin(self, statement):
        connection = pymysql.connect(unix_socket=str(self.socket), user="root", autocommit=True)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def test_counting_rotation_and_outage(self):
        url = self.folder / "url"
        self.write(url, "canary-one")
        server = support.Server(self.folder, DATABASE_URL_FILE=url)
        self.addCleanup(server.stop)
        server.ready()
        with ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(lambda _: server.get("/view"), range(200)))
        self.assertEqual({status for status, _, _ in answers}, {200})
        self.assertEqual(len({body for _, body, _ in answers}), 200)
        self.assertEqual(self.admin("SELECT total FROM app.counters"), ((200,),))

        # The password changes and every connection is cut, as after a rotation and a restart.
        self.admin("ALTER USER app@'127.0.0.1' IDENTIFIED BY 'canary-two'")
        self.cut()
        self.assertEqual(server.get("/health")[0], 503)
        self.write(url, "canary-two")
        support.wait_until(lambda: server.get("/view")[0] == 200, "the new password is used")
        self.assertIn(True, ["read again" in line["message"] for line in server.lines()])

        self.stop()
        self.assertEqual(server.get("/view")[0], 503)
        self.assertEqual((server.get("/")[0], server.get("/info")[0], server.get("/metrics")[0]), (200, 200, 200))
        self.start()
        support.wait_until(lambda: server.get("/view")[0] == 200, "the app is back with its database")
        self.assertEqual(b'"database":"mysql"' in server.get("/info")[1], True)
        server.stop()
        self.assertNotIn("canary", server.log.read_text() + server.said())

    def test_a_user_without_the_right_to_create_works_on_a_table_that_is_there(self):
        self.admin("CREATE TABLE app.counters (name VARCHAR(64) PRIMARY KEY, total BIGINT NOT NULL)")
        self.admin("REVOKE CREATE ON app.* FROM app@'127.0.0.1'")
        address = f"mysql://app:canary-one@127.0.0.1:{self.port}/app"
        server = support.Server(self.folder, DATABASE_URL=address)
        self.addCleanup(server.stop)
        self.assertEqual(server.ready().get("/view")[1], b'{"visits":1}\n')

    def cut(self):
        for (number,) in self.admin("SELECT id FROM information_schema.processlist WHERE user = 'app'"):
            # It may have ended by itself in the meantime.
            with contextlib.suppress(pymysql.err.MySQLError):
                self.admin(f"KILL {number}")

    def write(self, path, password):
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(f"mysql://app:{password}@127.0.0.1:{self.port}/app")
        fresh.rename(path)
