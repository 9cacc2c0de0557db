"""Which components, blocks and attributes Alloy 1.18 knows, and which of them the stand-in acts on."""
from __future__ import annotations

import re
from typing import Any, NamedTuple

from common import duration
from logql_stages import size
from river import Block, Place
from river_values import Lookup, Secret, evaluate


class Schema(NamedTuple):
    """The attributes of a block with their types (`!`: required) and the blocks inside it."""

    attributes: dict[str, str]
    blocks: dict[str, "Schema"]


def schema(text: str, **blocks: Schema) -> Schema:
    """Reads a list such as `url:string! batch_wait:duration`."""
    return Schema(dict(word.split(":") for word in text.split()), blocks)


class Section(NamedTuple):
    """A block with its values."""

    name: str
    place: Place
    values: dict[str, Any]
    sections: list["Section"]

    def get(self, name: str, default: Any = None) -> Any:
        value = self.values.get(name)
        return default if value is None else value

    def seconds(self, name: str, default: float) -> float:
        return duration(self.values[name]) if name in self.values else default

    def first(self, name: str) -> "Section | None":
        return next((section for section in self.sections if section.name == name), None)


TLS = schema("ca_pem:string ca_file:string cert_pem:string cert_file:string key_pem:secret key_file:string server_name:string "
             "insecure_skip_verify:bool min_version:string")
ENDPOINT = schema(
    "url:string! name:string batch_wait:duration batch_size:size remote_timeout:duration headers:map tenant_id:string "
    "min_backoff_period:duration max_backoff_period:duration max_backoff_retries:number retry_on_http_429:bool "
    "bearer_token:secret bearer_token_file:string proxy_url:string no_proxy:string proxy_from_environment:bool "
    "follow_redirects:bool enable_http2:bool http_headers:lists proxy_connect_header:lists",
    basic_auth=schema("username:string password:secret password_file:string"), tls_config=TLS,
    authorization=schema("type:string credentials:secret credentials_file:string"),
    queue_config=schema("capacity:size min_shards:number drain_timeout:duration block_on_overflow:bool"))
RULE = schema("source_labels:list separator:string regex:string modulus:number target_label:string replacement:string action:string")
STAGES = {
    "stage.json": schema("expressions:map regex:string source:string drop_malformed:bool"),
    "stage.logfmt": schema("mapping:map regex:string source:string"),
    "stage.regex": schema("expression:string! source:string labels_from_groups:bool"),
    "stage.labels": schema("values:map! source_type:string"),
    "stage.static_labels": schema("values:map!"),
    "stage.label_drop": schema("values:list!"),
    "stage.label_keep": schema("values:list!"),
    "stage.structured_metadata": schema("values:map regex:string"),
    "stage.structured_metadata_drop": schema("values:list!"),
    "stage.timestamp": schema("source:string! format:string! fallback_formats:list location:string action_on_failure:string "
                              "action_on_duplicate_timestamp:string"),
    "stage.drop": schema("source:string value:string separator:string expression:string older_than:duration longer_than:size "
                         "drop_counter_reason:string"),
    "stage.output": schema("source:string!"),
    "stage.template": schema("source:string! template:string!"),
    "stage.decolorize": schema(""),
    "stage.match": schema("selector:string! action:string pipeline_name:string drop_counter_reason:string"),
    "stage.multiline": schema("firstline:string! max_lines:number max_wait_time:duration trim_newlines:bool"),
    "stage.limit": schema("rate:number! burst:number! drop:bool by_label_name:string max_distinct_labels:number"),
}
STAGES["stage.match"].blocks.update(STAGES)
COMPONENTS = {
    "local.file": schema("filename:string! detector:string is_secret:bool poll_frequency:duration"),
    "local.file_match": schema("path_targets:list! ignore_older_than:duration sync_period:duration"),
    "loki.source.file": schema(
        "targets:list! forward_to:receivers! encoding:string legacy_positions_file:string on_positions_file_error:string tail_from_end:bool",
        file_match=schema("enabled:bool sync_period:duration ignore_older_than:duration"),
        file_watch=schema("min_poll_frequency:duration max_poll_frequency:duration")),
    "loki.source.journal": schema("forward_to:receivers! format_as_json:bool labels:map matches:string max_age:duration path:string "
                                  "relabel_rules:rules"),
    "loki.relabel": schema("forward_to:receivers! max_cache_size:number", rule=RULE),
    "loki.process": Schema({"forward_to": "receivers!"}, STAGES),
    "loki.write": schema("external_labels:map max_streams:number", endpoint=ENDPOINT,
                         wal=schema("enabled:bool max_segment_age:duration min_read_frequency:duration max_read_frequency:duration "
                                    "drain_timeout:duration")),
}
BLOCKS = {"logging": schema("level:string format:string destination:string write_to:receivers"), "livedebugging": schema("enabled:bool")}
EXPERIMENTAL = ("wal", "queue_config")
OTHER_STAGES = ("cri", "docker", "eventlogmessage", "geoip", "luhn", "metrics", "pack", "pattern", "replace", "sampling", "tenant",
                "truncate", "windowsevent")
OTHER_BLOCKS = ("argument", "declare", "export", "foreach", "http", "import.file", "import.git", "import.http", "import.string",
                "remotecfg", "tracing")
OTHER_NAMESPACES = ("beyla", "database_observability", "discovery", "faro", "import", "loki", "mimir", "otelcol", "prometheus",
                    "pyroscope", "remote", "local")


class Receiver:
    """Something that log entries can be sent to."""

    def send(self, entry: Any) -> None:
        raise NotImplementedError


class Rules(list):
    """The rules that `loki.relabel` exports."""


def find_schema(block: Block) -> Schema:
    """The schema of a block at the top of the file."""
    if block.name in BLOCKS:
        return BLOCKS[block.name]
    if block.name in COMPONENTS:
        if not block.label:
            block.place.refuse(f"component `{block.name}` must have a label")
        return COMPONENTS[block.name]
    if block.name in OTHER_BLOCKS or block.name.split(".")[0] in OTHER_NAMESPACES and "." in block.name:
        block.place.refuse(f"the stand-in knows no component `{block.name}`; it knows {', '.join(sorted(COMPONENTS))}")
    block.place.refuse(f"cannot find the definition of component name `{block.name}`")


def section(block: Block, rules: Schema, lookup: Lookup) -> Section:
    """Checks a block against its schema and evaluates it."""
    values = {}
    for attribute in block.attributes:
        wanted = rules.attributes.get(attribute.name)
        if wanted is None:
            attribute.place.refuse(f"unrecognized attribute name `{attribute.name}` in `{block.name}`")
        values[attribute.name] = checked(evaluate(attribute.value, lookup), wanted.rstrip("!"), attribute.name, attribute.value.place)
    for name, kind in rules.attributes.items():
        if kind.endswith("!") and name not in values:
            block.place.refuse(f"missing required attribute `{name}` in `{block.name}`")
    inner = [section(one, inner_schema(one, block, rules), lookup) for one in block.blocks]
    return Section(block.name, block.place, values, inner)


def inner_schema(block: Block, owner: Block, rules: Schema) -> Schema:
    if block.label:
        block.place.refuse(f"block `{block.name}` does not support labels")
    if block.name in rules.blocks:
        return rules.blocks[block.name]
    if "stage.json" in rules.blocks and block.name.startswith("stage.") and block.name[6:] in OTHER_STAGES:
        block.place.refuse(f"the stand-in does not do `{block.name}`")
    block.place.refuse(f"unrecognized block name `{block.name}` in `{owner.name}`")


def checked(value: Any, kind: str, name: str, place: Place) -> Any:
    """The value, if it is of the kind that the attribute wants."""
    if kind == "number" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if kind in ("string", "duration", "size") and isinstance(value, Secret):
        place.refuse(f"`{name}` is plain text and cannot take a secret")
    fits = {"string": str, "secret": str, "duration": str, "size": str, "bool": bool, "list": list, "map": dict, "lists": dict,
            "receivers": list, "rules": Rules}.get(kind, ())
    if not isinstance(value, fits):
        place.refuse(f"`{name}` wants a {kind.rstrip('s')}, found `{value!r}`")
    if kind == "map" and not all(item is None or isinstance(item, str) for item in value.values()):
        place.refuse(f"`{name}` wants a map of strings")
    if kind == "receivers" and not all(isinstance(item, Receiver) for item in value):
        place.refuse(f"`{name}` wants receivers, such as `loki.write.default.receiver`")
    if kind in ("duration", "size"):
        try:
            duration(value) if kind == "duration" else size(value)
        except ValueError as error:
            place.refuse(f"`{name}`: {error}")
    if name in ("regex", "expression", "firstline"):
        compiled(value, place)
    return value


def compiled(text: str, place: Place) -> re.Pattern:
    """A regular expression of RE2, as far as Python writes it alike."""
    try:
        return re.compile(re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", text))
    except re.error as error:
        place.refuse(f"`{text}` is not a regular expression: {error}")
