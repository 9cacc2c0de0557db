"""The Alloy stand-in: its command line, its components and its HTTP interface."""
from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Callable

import river
from alloy_files import FileSource, Matched, Positions
from alloy_journal import JournalSource, Relabel
from alloy_schema import COMPONENTS, Section, find_schema, section
from alloy_stages import Process
from alloy_write import Write
from common import VERSION, Answer, Refusal, Request, Route, Server, live, log, plain
from metrics import Metrics
from river_values import Secret

USAGE = "alloy run [--server.http.listen-addr=A:P] [--storage.path=DIR] FILE | alloy validate FILE | alloy --version"
SWITCHES = ("disable-reporting", "disable-support-bundle", "server.http.enable-pprof", "cluster.enabled",
            "feature.community-components.enabled", "config.bypass-conversion-errors", "server.http.enable-graphql")
VALUED = ("server.http.listen-addr", "storage.path", "stability.level", "server.http.memory-addr", "server.http.ui-path-prefix",
          "feature.component-shutdown-deadline", "config.format", "cluster.node-name")


def program(words: list[str]) -> None:
    """Starts the stand-in."""
    if words[:1] in (["--version"], ["-v"], ["version"]):
        print(f"alloy, version {VERSION}")
        return
    if words[:1] not in (["run"], ["validate"]):
        raise Refusal(f"unknown command `{' '.join(words[:1])}`; usage: {USAGE}")
    flags, path = arguments(words[1:])
    stability = flags.get("stability.level", "generally-available")
    if words[0] == "validate":
        Graph(path, (Metrics("alloy"), stability, lambda _: ""))
        return
    alloy = Alloy(path, stability, Positions(Path(flags.get("storage.path", "data-alloy"))))
    graph = alloy.load()
    alloy.serve(flags.get("server.http.listen-addr", "127.0.0.1:12345"))
    alloy.run(graph)


def arguments(words: list[str]) -> tuple[dict[str, str], str]:
    flags: dict[str, str] = {}
    paths = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            paths.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name not in SWITCHES + VALUED:
            raise Refusal(f"unknown flag: {word.split('=')[0]}; usage: {USAGE}")
        if name in VALUED and not equals:
            value = rest.pop(0) if rest else ""
        flags[name] = value
    if len(paths) != 1:
        raise Refusal(f"found {len(paths)} configuration files, wanted one; usage: {USAGE}")
    if flags.get("stability.level", "generally-available") not in ("generally-available", "public-preview", "experimental"):
        raise Refusal(f"`--stability.level={flags['stability.level']}` is not a level")
    return flags, paths[0]


class Graph:
    """The components of one configuration; `context` are the metrics, the stability level and how to read a file."""

    def __init__(self, path: str, context: tuple[Metrics, str, Callable[[Section], str]]) -> None:
        self.metrics, self.stability, self.content = context
        self.blocks: dict[str, river.Block] = {}
        self.sections: dict[str, Section] = {}
        self.exports: dict[str, dict[str, Any]] = {}
        self.building: list[str] = []
        self.sources: list[Any] = []
        self.writers: list[Write] = []
        self.declare(path)
        for name in self.blocks:
            self.build(name, self.blocks[name].place)

    def declare(self, path: str) -> None:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Refusal(f"cannot read `{path}`: {error}") from error
        body = river.parse(text, path)
        for attribute in body.attributes:
            attribute.place.refuse(f"unrecognized attribute name `{attribute.name}` at the top of the file")
        for block in body.blocks:
            find_schema(block)
            name = f"{block.name}.{block.label}" if block.label else block.name
            if name in self.blocks:
                block.place.refuse(f"block `{name}` already declared at line {self.blocks[name].place.line}")
            self.blocks[name] = block

    def lookup(self, parts: tuple[str, ...], place: river.Place) -> Any:
        """What a reference such as `loki.write.default.receiver` means."""
        for length in range(len(parts) - 1, 1, -1):
            name = ".".join(parts[:length])
            if name in self.blocks:
                exports = self.build(name, place)
                if parts[length] in exports and len(parts) == length + 1:
                    return exports[parts[length]]
                place.refuse(f"`{name}` exports no `{'.'.join(parts[length:])}`")
        place.refuse(f"component `{'.'.join(parts[:-1])}` does not exist or is out of scope")

    def build(self, name: str, place: river.Place) -> dict[str, Any]:
        if name in self.building:
            place.refuse(f"`{name}` refers to itself: {' -> '.join([*self.building, name])}")
        if name not in self.exports:
            self.building.append(name)
            block = self.blocks[name]
            self.sections[name] = section(block, find_schema(block), self.lookup)
            self.exports[name] = self.make(name, self.sections[name])
            self.building.pop()
        return self.exports[name]

    def make(self, name: str, found: Section) -> dict[str, Any]:
        """Makes what has exports; sources wait for `start`."""
        if found.name == "local.file":
            return {"content": Secret(self.content(found)) if found.get("is_secret", False) else self.content(found)}
        if found.name == "local.file_match":
            return {"targets": Matched(found)}
        if found.name == "loki.process":
            return {"receiver": Process(found, self.metrics)}
        if found.name == "loki.relabel":
            relabel = Relabel(found)
            return {"receiver": relabel, "rules": relabel.exported}
        if found.name == "loki.write":
            self.writers.append(Write(found, self.metrics, self.stability))
            return {"receiver": self.writers[-1]}
        if found.name in SOURCES:
            self.sources.append((SOURCES[found.name], found, name))
        return {}

    def start(self, positions: Positions) -> None:
        self.positions = positions
        for writer in self.writers:
            writer.start()
        self.sources = [kind(found, name, (positions, self.metrics)) for kind, found, name in self.sources]
        components = sum(1 for one in self.sections.values() if one.name in COMPONENTS)
        self.metrics.set("alloy_component_controller_running_components", "Total number of running components.",
                         {"controller_id": "", "controller_path": "/", "health_type": "healthy"}, components)

    def turn(self, stopped: threading.Event) -> bool:
        """Reads, delivers and notes what was delivered; says whether there was anything."""
        count = sum(source.poll() for source in self.sources)
        if all(writer.flush(stopped.is_set) for writer in self.writers):
            for source in self.sources:
                source.commit()
            try:
                self.positions.save()
            except OSError as error:
                log(f"cannot keep positions: {error}")
        return count > 0


SOURCES = {"loki.source.file": FileSource, "loki.source.journal": JournalSource}


def content(found: Section) -> str:
    try:
        return Path(found.values["filename"]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found.place.refuse(f"cannot read `{found.values['filename']}`: {error}")


class Alloy:
    """The running program: one graph at a time, and the HTTP interface."""

    def __init__(self, path: str, stability: str, positions: Positions) -> None:
        self.path, self.stability, self.positions = path, stability, positions
        self.metrics = Metrics("alloy")
        self.changed, self.ended = threading.Event(), threading.Event()
        self.lock = threading.Lock()
        self.next: Graph | None = None

    def load(self) -> Graph:
        graph = Graph(self.path, (self.metrics, self.stability, content))
        graph.start(self.positions)
        return graph

    def reload(self) -> str:
        """Puts the changed file to work; gives the fault of one that does not fit, and then the old one stays."""
        try:
            graph = self.load()
        except Refusal as refusal:
            return str(refusal)
        with self.lock:
            self.next = graph
            self.changed.set()
        return ""

    def serve(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not port.isdigit() or int(port) > 65535:
            raise Refusal(f"`--server.http.listen-addr={address}`: wanted ADDRESS:PORT")
        routes = [
            Route("GET HEAD", "/-/ready", "ready", lambda _: plain("Alloy is ready.\n")),
            Route("GET HEAD", "/-/healthy", "healthy", lambda _: plain("All Alloy components are healthy.\n")),
            Route("GET POST", "/-/reload", "reload", self.answer_reload),
            Route("GET", "/metrics", "metrics", lambda _: self.metrics.answer()),
            Route("GET", "/", "root", lambda _: plain("The Alloy stand-in; it has no pages.\n")),
        ]
        Server((host.strip("[]") or "0.0.0.0", int(port)), routes, self.seen).start()
        log(f"the Alloy stand-in listens on {address}")

    def seen(self, method: str, route: str, status: int, seconds: float) -> None:
        """Alloy counts no requests of its own interface."""

    def answer_reload(self, _request: Request) -> Answer:
        fault = self.reload()
        return plain(f"{fault}\n", 400) if fault else plain("config reloaded\n")

    def run(self, graph: Graph) -> None:
        worker = threading.Thread(target=self.work, args=(graph,), daemon=True)
        worker.start()

        def close() -> None:
            self.ended.set()
            self.changed.set()
            # What is being delivered right now is noted as delivered.
            worker.join(1.0)

        live(close, lambda: log(f"reload: {self.reload() or 'done'}"))

    def work(self, graph: Graph) -> None:
        while not self.ended.is_set():
            try:
                busy = graph.turn(self.changed)
            except Exception as error:  # The loop must outlive any one line or file.
                log(f"a turn failed: {error!r}")
                busy = False
            with self.lock:
                replacement, self.next = self.next, None
                if not self.ended.is_set():
                    self.changed.clear()
            if replacement is not None:
                for source in graph.sources:
                    source.close()
                graph = replacement
            elif not busy:
                self.changed.wait(0.25)
