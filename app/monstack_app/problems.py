"""Answers for what goes wrong: JSON that names the thing and the way out, never a stack trace."""

from __future__ import annotations

from typing import Optional

from flask import Flask, Response, g, jsonify
from werkzeug.exceptions import HTTPException

from .database import DatabaseAway
from .faults import Injected

_PAGES = "the pages are `/`, `/view`, `/view?read=true`, `/health` and `/info`"


def install(app: Flask) -> None:
    """Answers every exception."""
    app.register_error_handler(HTTPException, _refused)
    app.register_error_handler(DatabaseAway, _database_away)
    app.register_error_handler(Injected, _injected)
    app.register_error_handler(Exception, _unexpected)


def answer(status: int, error: str, hint: Optional[str] = None) -> Response:
    """An error as JSON, with the id that finds it in the log."""
    response = jsonify({"error": error, **({"hint": hint} if hint else {}), "request_id": g.request_id})
    response.status_code = status
    return response


def _refused(error: HTTPException) -> Response:
    original = error.get_response()
    if error.code is None or error.code < 400:
        return original
    response = answer(error.code, error.name.lower(), _PAGES if error.code in (404, 405) else None)
    if "Allow" in original.headers:
        response.headers["Allow"] = original.headers["Allow"]
    return response


def _database_away(error: DatabaseAway) -> Response:
    g.failure = error
    response = answer(503, "the visit counter is not available", "try again in a few seconds")
    response.headers["Retry-After"] = "1"
    return response


def _injected(_error: Injected) -> Response:
    return answer(500, "this failure is a demonstration", "it ends when the fault file is removed")


def _unexpected(error: Exception) -> Response:
    g.failure = error
    return answer(500, "the app failed", "the log has the reason under this `request_id`")
