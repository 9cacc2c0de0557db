"""How gunicorn runs the app. All settings come from the environment, see `README.md`."""

import fcntl
import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
if _here not in sys.path:
    sys.path.insert(0, _here)

from monstack_app import credentials as _credentials  # noqa: E402
from monstack_app import logs as _logs  # noqa: E402
from monstack_app import settings as _settings  # noqa: E402

try:
    _wanted = _settings.from_environment(os.environ)
    _settings.prepare(_wanted)
    _credentials.provider(_wanted)
except (_settings.SettingsError, _credentials.CredentialsError) as error:
    sys.exit(f"error: {error}")

# prometheus_client looks at this once, when it is imported, and then shares its numbers through files.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_wanted.metrics_dir)

wsgi_app = "monstack_app.wsgi:app"
chdir = _here
bind = _wanted.bind
workers = _wanted.workers
worker_class = "gthread"
threads = _wanted.threads
timeout = 30
graceful_timeout = 4
# Longer than nginx keeps an idle connection, so that it is nginx that closes it.
keepalive = 75
worker_tmp_dir = str(_wanted.run_dir)
# gunicorn 25 and later would make a control socket in the home folder.
control_socket_disable = True
accesslog = None
logconfig_dict = _logs.configuration(_wanted.log)


def on_starting(server):
    """Takes the run folder for this server alone, and forgets the numbers of the last one."""
    lock = open(_wanted.run_dir / "app.lock", "w")
    try:
        # A record lock belongs to this process: workers do not inherit it, and the kernel ends it with us.
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RuntimeError(
            f"another server uses the folder `{_wanted.run_dir}`\n\n"
            "hint: stop it, or give this one its own `MONSTACK_APP_RUN_DIR`"
        ) from None
    server.monstack_lock = lock
    for old in _wanted.metrics_dir.glob("*.db"):
        old.unlink()


def child_exit(server, worker):
    """Tells prometheus_client that a worker is gone."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)
