"""What the three stand-ins share: how they live and end, and their HTTP server."""
from __future__ import annotations

import gzip
import json
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

VERSION = "stand-in"
BODY_LIMIT = 64 * 1024 * 1024


class Refusal(Exception):
    """A configuration or an argument that the program cannot start with."""


def main(name: str, program: Callable[[list[str]], None]) -> None:
    """Runs `program` with the command line and turns a refusal into one message and exit code 1."""
    try:
        program(sys.argv[1:])
    except Refusal as refusal:
        print(f"error: {name} stand-in: {refusal}", file=sys.stderr, flush=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)


def log(message: str) -> None:
    """Writes one line about what the program does to standard error."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(f"ts={moment} msg={json.dumps(message)}", file=sys.stderr, flush=True)


def live(close: Callable[[], None], reload: Callable[[], None] | None = None) -> None:
    """Waits for the end: SIGTERM, SIGINT, or too long a life without the parent that started the program."""
    wake = threading.Event()
    caught: list[int] = []

    def note(number: int, _frame: Any) -> None:
        caught.append(number)
        wake.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, note)
    orphan = Orphan()
    while not orphan.too_old():
        wake.wait(0.5)
        wake.clear()
        while caught:
            number = caught.pop(0)
            if number != signal.SIGHUP:
                close()
                os._exit(0)
            if reload is not None:
                reload()
    log("no parent for too long; ending")
    close()
    os._exit(0)


class Orphan:
    """Tells how long the program has been without the parent that started it.

    A service of systemd is nobody's orphan, although its parent is process 1.
    """

    def __init__(self) -> None:
        text = os.environ.get("MONSTACK_STANDIN_MAX_SECONDS", "1800")
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            raise Refusal(f"`MONSTACK_STANDIN_MAX_SECONDS` is `{text}`; wanted a number of seconds")
        self.parent, self.limit = os.getppid(), float(text)
        self.managed = os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())
        self.since: float | None = None

    def too_old(self) -> bool:
        if os.getppid() == self.parent and (self.managed or self.parent != 1):
            return False
        self.since = self.since or time.monotonic()
        return time.monotonic() - self.since > self.limit


def duration(text: str) -> float:
    """Reads a duration as Go and Prometheus write it, such as `1h30m` or `250ms`, as seconds."""
    units = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
    parts = re.findall(r"([0-9.]+)(ns|us|µs|ms|s|m|h|d|w|y)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        if text == "0":
            return 0.0
        raise ValueError(f"`{text}` is not a duration such as `30s` or `1h30m`")
    return sum(float(number) * units[unit] for number, unit in parts)


def well_formed(text: str) -> str:
    """The text with each half of a surrogate pair, which JSON can hold and UTF-8 cannot, replaced."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def write_whole(path: Path, text: str) -> None:
    """Replaces a file so that a reader, or a program killed meanwhile, sees the old or the new text, never a part."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


class Request(NamedTuple):
    """One HTTP request, its body unpacked."""

    method: str
    path: str
    values: dict[str, list[str]]
    headers: Any
    body: bytes
    parts: tuple[str, ...]
    raw: str

    def value(self, name: str, default: str = "") -> str:
        return self.values.get(name, [default])[0]


class Answer(NamedTuple):
    """One HTTP answer."""

    status: int
    body: bytes
    kind: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


def plain(text: str, status: int = 200) -> Answer:
    """An answer in plain text."""
    return Answer(status, text.encode())


def as_json(value: Any, status: int = 200) -> Answer:
    """An answer in JSON."""
    return Answer(status, json.dumps(value).encode(), "application/json; charset=utf-8")


class Route(NamedTuple):
    """Which function answers which path; `name` is how the metrics call it."""

    methods: str
    path: str
    name: str
    answer: Callable[[Request], Answer]


class Server(ThreadingHTTPServer):
    """An HTTP server on exactly the address that it is given."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], routes: list[Route], seen: Callable[[str, str, int, float], None]) -> None:
        self.routes = [(route, re.compile(route.path)) for route in routes]
        self.seen = seen
        try:
            super().__init__(address, Handler)
        except (OSError, OverflowError) as error:
            raise Refusal(f"cannot listen on `{address[0]}:{address[1]}`: {error}") from error

    def server_bind(self) -> None:
        # The base class asks the name server for the machine's name here, which can take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError, TimeoutError)):
            super().handle_error(request, client_address)

    def secure(self, context: ssl.SSLContext) -> None:
        """Speaks TLS; each connection shakes hands in its own thread."""
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()


def hold(address: tuple[str, int]) -> None:
    """Holds a port on which the real program speaks a language that the stand-in does not: who connects is hung up on."""
    try:
        door = socket.create_server(address)
    except (OSError, OverflowError) as error:
        raise Refusal(f"cannot listen on `{address[0]}:{address[1]}`: {error}") from error

    def hang_up() -> None:
        while True:
            door.accept()[0].close()

    threading.Thread(target=hang_up, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    """Finds the route of a request, and answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120

    def handle_one(self) -> None:
        began = time.monotonic()
        name, answer = "other", plain("404 page not found\n", 404)
        try:
            request = self._request()
            name, answer = self._dispatch(request)
        except BadRequest as bad:
            answer = plain(f"{bad}\n", bad.status)
            self.close_connection = True
        self._send(answer)
        self.server.seen(self.command, name, answer.status, time.monotonic() - began)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = handle_one

    def _request(self) -> Request:
        url = urlsplit(self.path)
        length = self.headers.get("Content-Length") or "0"
        if not length.isdigit() or self.headers.get("Transfer-Encoding"):
            raise BadRequest("the stand-in wants a `Content-Length` and no `Transfer-Encoding`", 411)
        size = int(length)
        if size > BODY_LIMIT:
            raise BadRequest("the body is larger than the stand-in takes", 413)
        body = unpacked(self.rfile.read(size), self.headers.get("Content-Encoding", ""))
        values = parse_qs(url.query, keep_blank_values=True)
        if self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            for key, more in parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True).items():
                values.setdefault(key, []).extend(more)
        return Request(self.command, unquote(url.path), values, self.headers, body, (), self.path)

    def _dispatch(self, request: Request) -> tuple[str, Answer]:
        wrong_method = None
        for route, pattern in self.server.routes:
            found = pattern.fullmatch(request.path)
            if found and request.method in route.methods.split():
                return route.name, self._guarded(route, request._replace(parts=found.groups()))
            wrong_method = route if found else wrong_method
        if wrong_method is not None:
            return wrong_method.name, plain("", 405)
        return "other", plain("404 page not found\n", 404)

    def _guarded(self, route: Route, request: Request) -> Answer:
        try:
            return route.answer(request)
        except BadRequest as bad:
            return plain(f"{bad}\n", bad.status)
        except OSError as error:
            log(f"{route.name}: {error}")
            return plain(f"{error}\n", 500)

    def _send(self, answer: Answer) -> None:
        head = [("Content-Type", answer.kind), ("Content-Length", str(len(answer.body))), *answer.headers]
        self.send_response(answer.status)
        for name, value in head:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *values: Any) -> None:
        """Requests are counted in the metrics and not logged, so that no credential in one can end in a log."""


class BadRequest(Exception):
    """A request that is answered with an error."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def unpacked(body: bytes, encoding: str) -> bytes:
    """The body without its `Content-Encoding`."""
    try:
        if encoding == "gzip":
            return gzip.decompress(body)
        if encoding == "deflate":
            return zlib.decompress(body)
    except (OSError, EOFError, zlib.error) as error:
        raise BadRequest(f"the body is not {encoding}: {error}") from error
    if encoding not in ("", "identity"):
        raise BadRequest(f"Content-Encoding `{encoding}` is not supported", 415)
    return body
