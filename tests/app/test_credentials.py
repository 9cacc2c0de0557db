import os

import support
from monstack_app import credentials


class TestParse(support.Scratch):
    def test_mysql_and_mariadb_get_the_driver_that_is_installed(self):
        for kind in ("mysql", "mariadb", "mysql+pymysql"):
            url = credentials.parse("X", f"{kind}://user:p%40ss@db.example.org:3307/app?ssl_ca=/ca.pem\n")
            self.assertEqual((url.get_driver_name(), url.password, url.port), ("pymysql", "p@ss", 3307))

    def test_a_bad_url_is_refused_without_quoting_it(self):
        for bad in (
            "",
            "canary",
            "canary://u:canary@h/d",
            "mysql://u:canary@h:canary/d",
            "postgresql+canary://h/d",
        ):
            with self.assertRaises(credentials.CredentialsError) as caught:
                credentials.parse("MONSTACK_APP_DATABASE_URL", bad)
            self.assertIn("MONSTACK_APP_DATABASE_URL", str(caught.exception))
            self.assertNotIn("canary", str(caught.exception))
            self.assertIsNone(caught.exception.__cause__)
            self.assertTrue(caught.exception.__suppress_context__)

    def test_sqlite_in_memory_is_refused(self):
        for bad in ("sqlite://", "sqlite:///:memory:"):
            with self.assertRaisesRegex(credentials.CredentialsError, "wanted a file"):
                credentials.parse("X", bad)


class TestProvider(support.Scratch):
    def test_without_a_url_it_is_a_file_in_the_data_folder(self):
        url = credentials.provider(self.settings()).read()
        self.assertEqual((url.get_backend_name(), url.database), ("sqlite", str(self.folder / "visits.db")))

    def test_a_folder_with_odd_characters(self):
        odd = self.folder / "a b#?%41é"
        url = credentials.provider(self.settings(DATA_DIR=odd)).read()
        self.assertEqual(url.database, str(odd / "visits.db"))

    def test_a_url_file_is_read_each_time(self):
        path = self.folder / "url"
        provider = credentials.provider(self.settings(DATABASE_URL_FILE=path))
        with self.assertRaisesRegex(credentials.CredentialsError, "No such file"):
            provider.read()
        for password in ("one", "two"):
            path.write_text(f"mysql://u:{password}@h/d\n")
            path.chmod(0o600)
            self.assertEqual(provider.read().password, password)

    def test_a_url_file_that_others_may_read_is_told_once(self):
        path = self.folder / "url"
        path.write_text("mysql://u:canary@h/d")
        os.chmod(path, 0o644)
        provider = credentials.provider(self.settings(DATABASE_URL_FILE=path))
        with self.assertLogs("monstack_app.credentials", "WARNING") as told:
            provider.read()
            provider.read()
        self.assertEqual(len(told.output), 1)
        self.assertIn("0644", told.output[0])
        self.assertNotIn("canary", told.output[0])
