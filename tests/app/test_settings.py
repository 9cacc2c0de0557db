import os
import unittest
from pathlib import Path

import support
from monstack_app import settings


class TestSettings(support.Scratch):
    def test_the_defaults_need_only_a_data_folder(self):
        found = settings.from_environment({"MONSTACK_APP_DATA_DIR": "/srv/app", "PATH": "/bin"})
        self.assertEqual(
            (found.bind, found.workers, found.threads, found.version, found.run_dir, found.log),
            ("127.0.0.1:8000", 2, 4, "unknown", Path("/srv/app/run"), None),
        )

    def test_all_problems_are_told_at_once_and_no_secret_is(self):
        with self.assertRaises(settings.SettingsError) as caught:
            settings.from_environment(
                {
                    "MONSTACK_APP_WORKERS": "many",
                    "MONSTACK_APP_BIND": "8000",
                    "MONSTACK_APP_VERSION": "1 2",
                    "MONSTACK_APP_THRAEDS": "4",
                    "MONSTACK_APP_DATABASE_URL": "mysql://u:canary-5f2@h/d",
                    "MONSTACK_APP_DATABASE_URL_FILE": "/x",
                }
            )
        text = str(caught.exception)
        for wanted in (
            "`MONSTACK_APP_WORKERS`: found `many`",
            "`MONSTACK_APP_BIND`: found `8000`",
            "`MONSTACK_APP_VERSION`: found `1 2`",
            "did you mean `MONSTACK_APP_THREADS`?",
            "`MONSTACK_APP_DATA_DIR` is not set",
            "are both set",
            "\n\nhint: ",
        ):
            self.assertIn(wanted, text)
        self.assertNotIn("canary", text)

    def test_addresses(self):
        for good in ("127.0.0.1:8000", "127.77.3.5:80", "[::1]:65535", "localhost:1"):
            self.assertEqual(self.settings(BIND=good).bind, good)
        for bad in ("127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "a b:1", "::1:80", "127.0.0.1:80\n"):
            with self.assertRaises(settings.SettingsError, msg=bad):
                self.settings(BIND=bad)

    def test_counts_have_bounds(self):
        for bad in ("0", "65", "-1", "1.5", "٣"):
            with self.assertRaises(settings.SettingsError, msg=bad):
                self.settings(WORKERS=bad)

    def test_the_url_is_not_in_the_representation(self):
        self.assertNotIn("canary", repr(self.settings(DATABASE_URL="mysql://u:canary@h/d")))

    def test_folders_are_made_and_a_wrong_path_is_named(self):
        found = self.settings(DATA_DIR=self.folder / "new")
        settings.prepare(found)
        self.assertTrue((self.folder / "new" / "run").is_dir())
        (self.folder / "file").touch()
        with self.assertRaises(settings.SettingsError) as caught:
            settings.prepare(self.settings(RUN_DIR=self.folder / "file" / "run", LOG=self.folder / "no" / "app.log"))
        self.assertIn("`MONSTACK_APP_RUN_DIR`: cannot use folder", str(caught.exception))
        self.assertIn("`MONSTACK_APP_LOG`: cannot write", str(caught.exception))

    @unittest.skipIf(os.geteuid() == 0, "skipped: root may write everywhere")
    def test_a_folder_without_write_access_is_refused(self):
        (self.folder / "run").mkdir(mode=0o500)
        with self.assertRaises(settings.SettingsError):
            settings.prepare(self.settings())
