"""What gunicorn loads: `monstack_app.wsgi:app`."""

import os

from .factory import create_app
from .settings import from_environment

app = create_app(from_environment(os.environ))
