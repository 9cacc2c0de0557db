"""The page at `/`: one document that loads nothing else."""

from __future__ import annotations

import base64
import hashlib
from typing import Optional

from flask import Response, current_app, render_template


def answer(visits: Optional[int], host: str, version: str) -> Response:
    """Renders the page; without `visits` it says that the counter is not available."""
    style, _, _ = current_app.jinja_env.loader.get_source(current_app.jinja_env, "style.css")
    response = Response(
        render_template("index.html", style=style, visits=visits, host=host, version=version),
        content_type="text/html; charset=utf-8",
    )
    response.headers["Content-Security-Policy"] = policy(style)
    return response


def policy(style: str) -> str:
    """Lets the page use this style sheet and its own icon, and nothing else at all."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
