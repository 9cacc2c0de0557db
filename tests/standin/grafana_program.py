"""The Grafana stand-in: what it answers over HTTP."""
from __future__ import annotations

import base64
import binascii
import json
import ssl
import sys
import urllib.error
import urllib.request
from typing import Any, Callable
from urllib.parse import quote, urlsplit

import grafana_provisioning as provisioning
from common import VERSION, Answer, BadRequest, Refusal, Request, Route, Server, as_json, live, log
from grafana_config import USAGE, Arguments, Settings, arguments
from grafana_state import Admin, Annotations
from metrics import Metrics

PROMETHEUS_POSTS = ("api/v1/query", "api/v1/query_range", "api/v1/series", "api/v1/labels", "api/v1/query_exemplars")
PROBES = {"prometheus": ("/api/v1/query?query=1%2B1", "Successfully queried the Prometheus API."),
          "loki": ("/loki/api/v1/query?query=vector(1)%2Bvector(1)", "Data source successfully connected.")}


def program(words: list[str]) -> None:
    """Starts the stand-in."""
    if words[:1] in (["--version"], ["-v"]):
        print(f"grafana version {VERSION}")
    elif words[:1] == ["cli"]:
        reset_password(arguments(words[1:]))
    elif words[:1] == ["server"]:
        given = arguments(words[1:])
        if given.words:
            raise Refusal(f"unknown argument `{given.words[0]}`; usage: {USAGE}")
        serve(Settings(given))
    else:
        raise Refusal(f"unknown command `{' '.join(words[:1])}`; usage: {USAGE}")


def reset_password(given: Arguments) -> None:
    """`grafana cli admin reset-admin-password`, the new one as a word or on standard input."""
    settings = Settings(given)
    if given.words[:2] != ["admin", "reset-admin-password"]:
        raise Refusal("the stand-in knows `grafana cli ... admin reset-admin-password` only")
    password = sys.stdin.readline().rstrip("\n") if "password-from-stdin" in given.flags else " ".join(given.words[2:])
    if not password:
        raise Refusal("the new password is empty")
    Admin(settings.path("paths.data"), settings.get("security.admin_user")).change(password)
    print("Admin password changed successfully")


def serve(settings: Settings) -> None:
    grafana = Grafana(settings)
    address = (settings.get("server.http_addr") or "0.0.0.0", settings.port())
    server = Server(address, grafana.routes(), grafana.seen)
    protocol = settings.get("server.protocol")
    if protocol == "https":
        server.secure(certificate(settings))
    elif protocol != "http":
        raise Refusal(f"`server.protocol` is `{protocol}`; the stand-in knows `http` and `https`")
    server.start()
    log(f"the Grafana stand-in listens on {protocol}://{address[0]}:{address[1]}")
    live(lambda: None)


def certificate(settings: Settings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.path("server.cert_file"), settings.path("server.cert_key"))
    except (OSError, ssl.SSLError) as error:
        raise Refusal(f"`server.cert_file`, `server.cert_key`: {error}") from error
    return context


class Grafana:
    """Answers the HTTP interface."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics("grafana")
        self.folder = settings.path("paths.provisioning")
        if not self.folder.is_dir():
            raise Refusal(f"`paths.provisioning` is `{self.folder}`, which is not a directory")
        self.sources = provisioning.datasources(self.folder)
        self.boards = provisioning.dashboards(self.folder)
        self.rules = provisioning.alert_rules(self.folder)
        self.admin = Admin(settings.path("paths.data"), settings.get("security.admin_user"))
        self.admin.initial(settings.get("security.admin_password"))
        self.annotations = Annotations(settings.path("paths.data"))

    def seen(self, method: str, route: str, status: int, seconds: float) -> None:
        labels = {"handler": route, "method": method, "status_code": str(status)}
        self.metrics.observe("grafana_http_request_duration_seconds", "Histogram of latencies for HTTP requests.", labels, seconds)

    def routes(self) -> list[Route]:
        opened = [
            Route("GET HEAD", "/api/health", "/api/health", lambda _: as_json({"database": "ok", "version": VERSION, "commit": VERSION})),
            Route("GET", "/metrics", "/metrics", self.report),
            Route("GET", "/login", "/login", lambda _: Answer(200, LOGIN.encode(), "text/html; charset=utf-8")),
            Route("GET", "/", "/", lambda _: Answer(302, b"", headers=(("Location", "/login"),))),
        ]
        guarded = [
            Route("GET", "/api/org", "/api/org", lambda _: as_json({"id": 1, "name": "Main Org."})),
            Route("GET", "/api/user", "/api/user", lambda _: as_json({"id": 1, "login": self.admin.name, "isGrafanaAdmin": True})),
            Route("PUT", "/api/user/password", "/api/user/password", self.change_password),
            Route("GET", "/api/datasources", "/api/datasources", lambda _: as_json([provisioning.public(one) for one in self.sources])),
            Route("GET", "/api/datasources/uid/([^/]+)", "/api/datasources/uid/:uid",
                  lambda request: as_json(provisioning.public(self.source(request)))),
            Route("GET", "/api/datasources/uid/([^/]+)/health", "/api/datasources/uid/:uid/health", self.health),
            Route("GET POST PUT DELETE", "/api/datasources/proxy/uid/([^/]+)/(.*)", "/api/datasources/proxy/uid/:uid/*", self.proxy),
            Route("GET", "/api/search/?", "/api/search/", self.search),
            Route("GET", "/api/folders", "/api/folders", lambda _: as_json(self.folders())),
            Route("GET", "/api/dashboards/uid/([^/]+)", "/api/dashboards/uid/:uid", self.dashboard),
            Route("GET", "/api/v1/provisioning/alert-rules", "/api/v1/provisioning/alert-rules", lambda _: as_json(self.rules)),
            Route("GET", "/api/v1/provisioning/alert-rules/([^/]+)", "/api/v1/provisioning/alert-rules/:UID", self.rule),
            Route("GET", "/api/annotations", "/api/annotations", lambda request: as_json(self.annotations.find(request))),
            Route("POST", "/api/annotations", "/api/annotations", self.annotate),
            Route("DELETE", "/api/annotations/([0-9]+)", "/api/annotations/:annotationId", self.unannotate),
            Route("GET POST PUT DELETE PATCH", "/api/.*", "notfound", lambda _: as_json({"message": "Not found"}, 404)),
        ]
        return [route._replace(answer=told(route.answer)) for route in opened] + \
            [route._replace(answer=told(self.guard(route.answer))) for route in guarded]

    def guard(self, answer: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
        def run(request: Request) -> Answer:
            kind, _, word = request.headers.get("Authorization", "").partition(" ")
            if kind.lower() != "basic":
                raise BadRequest("Unauthorized", 401)
            try:
                name, _, password = base64.b64decode(word, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                name, password = "", ""
            if name != self.admin.name or not self.admin.fits(password):
                raise BadRequest("Invalid username or password", 401)
            return answer(request)
        return run

    def report(self, _request: Request) -> Answer:
        self.metrics.set("grafana_stat_totals_dashboard", "total amount of dashboards", {}, len(self.boards))
        self.metrics.set("grafana_stat_totals_datasource", "total number of defined datasources", {}, len(self.sources))
        return self.metrics.answer()

    def change_password(self, request: Request) -> Answer:
        given = body(request)
        if not self.admin.fits(str(given.get("oldPassword", ""))):
            raise BadRequest("invalid old password", 401)
        if len(str(given.get("newPassword", ""))) < 4:
            raise BadRequest("New password is too short")
        self.admin.change(given["newPassword"])
        return as_json({"message": "User password changed"})

    # Data sources

    def source(self, request: Request) -> dict[str, Any]:
        for source in self.sources:
            if source["uid"] == request.parts[0]:
                return source
        raise BadRequest("Data source not found", 404)

    def health(self, request: Request) -> Answer:
        source = self.source(request)
        if source["type"] not in PROBES:
            raise BadRequest("Plugin not found", 404)
        path, message = PROBES[source["type"]]
        answer = forward(source, "GET", path, request)
        if answer.status != 200:
            return as_json({"status": "ERROR", "message": answer.body.decode("utf-8", "replace")[:300]}, 400)
        return as_json({"status": "OK", "message": message})

    def proxy(self, request: Request) -> Answer:
        source, path = self.source(request), request.parts[1]
        if source["type"] == "prometheus" and request.method != "GET" and (request.method, path) not in \
                [("POST", allowed) for allowed in PROMETHEUS_POSTS]:
            raise BadRequest(f"non allow-listed {request.method}s not allowed on proxied Prometheus datasource", 403)
        query = urlsplit(request.raw).query
        return forward(source, request.method, "/" + quote(path) + ("?" + query if query else ""), request)

    # Dashboards, alert rules, annotations

    def current_boards(self) -> dict[str, dict[str, Any]]:
        """The dashboards as their files are now; Grafana looks at them again and again too."""
        try:
            self.boards = provisioning.dashboards(self.folder)
        except Refusal as refusal:
            log(f"the dashboards stay as they were: {refusal}")
        return self.boards

    def search(self, request: Request) -> Answer:
        kind, text, tags = request.value("type"), request.value("query").lower(), set(request.values.get("tag", []))
        found = [] if kind == "dash-db" else [{**one, "type": "dash-folder", "tags": []} for one in self.folders()]
        found += [] if kind == "dash-folder" else [summary(one) for one in self.current_boards().values()]
        fits = [one for one in found if text in one["title"].lower() and tags <= set(one["tags"])]
        return as_json(sorted(fits, key=lambda one: one["title"])[:int(request.value("limit") or 1000)])

    def folders(self) -> list[dict[str, Any]]:
        titles = {one["folder_uid"]: one["folder"] for one in self.boards.values() if one["folder"]}
        return [{"uid": own, "title": title, "url": f"/dashboards/f/{own}"} for own, title in sorted(titles.items())]

    def dashboard(self, request: Request) -> Answer:
        found = self.current_boards().get(request.parts[0])
        if found is None:
            raise BadRequest("Dashboard not found", 404)
        meta = {"type": "db", "slug": provisioning.slug(found["dashboard"]["title"]), "url": summary(found)["url"], "provisioned": True,
                "provisionedExternalId": found["file"], "folderTitle": found["folder"] or "General", "folderUid": found["folder_uid"]}
        return as_json({"meta": meta, "dashboard": {**found["dashboard"], "uid": found["uid"]}})

    def rule(self, request: Request) -> Answer:
        for rule in self.rules:
            if rule["uid"] == request.parts[0]:
                return as_json(rule)
        raise BadRequest("could not find alert rule", 404)

    def annotate(self, request: Request) -> Answer:
        return as_json({"message": "Annotation added", "id": self.annotations.add(body(request))})

    def unannotate(self, request: Request) -> Answer:
        self.annotations.remove(int(request.parts[0]))
        return as_json({"message": "Annotation deleted"})


LOGIN = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Grafana stand-in</title></head>
<body><h1>Grafana stand-in</h1><p>This is not Grafana. It answers the HTTP interface for tests and has no pages.</p></body></html>
"""


def told(answer: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
    """Faults as Grafana tells them, in JSON."""
    def run(request: Request) -> Answer:
        try:
            return answer(request)
        except BadRequest as bad:
            return as_json({"message": str(bad)}, bad.status)
        except ValueError as error:
            return as_json({"message": f"bad request data: {error}"}, 400)
    return run


def body(request: Request) -> dict[str, Any]:
    value = json.loads(request.body)
    if not isinstance(value, dict):
        raise BadRequest("bad request data: wanted a JSON object")
    return value


def summary(found: dict[str, Any]) -> dict[str, Any]:
    title = found["dashboard"]["title"]
    return {"uid": found["uid"], "title": title, "type": "dash-db", "url": f"/d/{found['uid']}/{provisioning.slug(title)}",
            "tags": found["dashboard"].get("tags") or [], "folderUid": found["folder_uid"], "folderTitle": found["folder"]}


def forward(source: dict[str, Any], method: str, path: str, request: Request) -> Answer:
    """Asks the data source itself and passes on what it answers."""
    headers = {name: request.headers[name] for name in ("Content-Type", "Accept") if request.headers.get(name)}
    secrets, options = source["secureJsonData"], source["jsonData"]
    if source["basicAuth"]:
        word = f"{source['basicAuthUser']}:{secrets.get('basicAuthPassword', '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(word.encode()).decode()
    for number in range(1, 10):
        if options.get(f"httpHeaderName{number}"):
            headers[options[f"httpHeaderName{number}"]] = secrets.get(f"httpHeaderValue{number}", "")
    try:
        context = ssl.create_default_context(cadata=secrets.get("tlsCACert") if options.get("tlsAuthWithCACert") else None)
        if options.get("tlsSkipVerify"):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        outgoing = urllib.request.Request(source["url"].rstrip("/") + path, data=request.body or None, headers=headers, method=method)
        with opener.open(outgoing, timeout=30) as answer:
            return Answer(answer.status, answer.read(), answer.headers.get("Content-Type", "text/plain"))
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read(), error.headers.get("Content-Type", "text/plain"))
    except (OSError, ValueError) as error:
        return as_json({"message": f"the data source `{source['name']}` cannot be reached: {error}"}, 502)
