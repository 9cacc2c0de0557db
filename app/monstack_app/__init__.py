"""The watched app of monstack: a visit counter that tells how it is doing.

Importing this package loads nothing else, because `gunicorn.conf.py` imports it before
prometheus_client may be loaded.
"""
