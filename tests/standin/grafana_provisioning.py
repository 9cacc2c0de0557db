"""What the Grafana stand-in is provisioned with: data sources, dashboards and alert rules, read from files."""
from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Iterable

import yaml_subset
from common import Refusal, duration
from grafana_config import interpolated

STATES = {"noDataState": ("NoData", "OK", "Alerting", "KeepLast"), "execErrState": ("Alerting", "OK", "Error", "KeepLast")}
UID = re.compile(r"[A-Za-z0-9_-]{1,40}")


def documents(folder: Path) -> Iterable[tuple[Path, dict[str, Any]]]:
    """The provisioning files of one kind."""
    for path in sorted([*folder.glob("*.yml"), *folder.glob("*.yaml"), *folder.glob("*.json")]):
        try:
            value = yaml_subset.load(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise Refusal(f"cannot read `{path}`: {error}") from error
        if value is None:
            continue
        if not isinstance(value, dict):
            raise Refusal(f"`{path}`: wanted a mapping with `apiVersion: 1`")
        yield path, interpolated(value, f"`{path}`")


def listed(value: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    found = value.get(key) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise Refusal(f"`{path}`: `{key}` wants a list of mappings")
    return found


def uid(item: dict[str, Any], seed: str, path: Path) -> str:
    """The given `uid`, or one made from the name."""
    found = str(item.get("uid") or "P" + hashlib.sha256(seed.encode()).hexdigest()[:16].upper())
    if not UID.fullmatch(found):
        raise Refusal(f"`{path}`: `uid` is `{found}`; wanted at most 40 letters, digits, `-` and `_`")
    return found


def datasources(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path, value in documents(folder / "datasources"):
        for item in listed(value, "datasources", path):
            name, kind = item.get("name"), item.get("type")
            if not name or not kind:
                raise Refusal(f"`{path}`: a data source lacks `name` or `type`")
            own = uid(item, name, path)
            if any(own == known["uid"] or name == known["name"] for known in found):
                raise Refusal(f"`{path}`: the data source `{name}` (`{own}`) is given twice")
            if item.get("isDefault") and any(known["isDefault"] for known in found):
                raise Refusal(f"`{path}`: only one data source can be the default")
            found.append({"id": len(found) + 1, "uid": own, "orgId": item.get("orgId", 1), "name": name, "type": kind,
                          "access": item.get("access", "proxy"), "url": item.get("url", ""), "basicAuth": bool(item.get("basicAuth")),
                          "basicAuthUser": item.get("basicAuthUser", ""), "isDefault": bool(item.get("isDefault")),
                          "jsonData": item.get("jsonData") or {}, "secureJsonData": item.get("secureJsonData") or {},
                          "readOnly": not item.get("editable", False)})
    return found


def public(source: dict[str, Any]) -> dict[str, Any]:
    """A data source without its secrets."""
    shown = {key: value for key, value in source.items() if key != "secureJsonData"}
    return {**shown, "secureJsonFields": {key: True for key in source["secureJsonData"]}}


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def folder_uid(title: str) -> str:
    return "F" + hashlib.sha256(title.encode()).hexdigest()[:13] if title else ""


def dashboards(folder: Path) -> dict[str, dict[str, Any]]:
    """The dashboards of all providers, by their uid."""
    found: dict[str, dict[str, Any]] = {}
    for path, value in documents(folder / "dashboards"):
        for provider in listed(value, "providers", path):
            place = (provider.get("options") or {}).get("path")
            if not provider.get("name") or not place:
                raise Refusal(f"`{path}`: a provider lacks `name` or `options.path`")
            if not Path(place).is_dir():
                raise Refusal(f"`{path}`: `options.path` is `{place}`, which is not a directory")
            for file in sorted(Path(place).rglob("*.json")):
                one = dashboard(file, provider)
                if one["uid"] in found:
                    raise Refusal(f"`{file}`: the dashboard uid `{one['uid']}` is given twice")
                found[one["uid"]] = one
    return found


def dashboard(file: Path, provider: dict[str, Any]) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refusal(f"`{file}` is not JSON: {error}") from error
    if not isinstance(value, dict) or not value.get("title"):
        raise Refusal(f"`{file}`: a dashboard wants a `title`")
    folder = provider.get("folder") or ""
    return {"uid": uid(value, str(file), file), "dashboard": value, "file": file.name, "folder": folder,
            "folder_uid": provider.get("folderUid") or folder_uid(folder)}


def alert_rules(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path, value in documents(folder / "alerting"):
        for group in listed(value, "groups", path):
            for key in ("name", "folder", "interval"):
                if not group.get(key):
                    raise Refusal(f"`{path}`: a group of alert rules lacks `{key}`")
            if seconds(group["interval"], path) % 10 or not seconds(group["interval"], path):
                raise Refusal(f"`{path}`: `interval` is `{group['interval']}`; wanted a multiple of 10s")
            for rule in listed(group, "rules", path):
                found.append(alert_rule(rule, group, path))
                if sum(found[-1]["uid"] == known["uid"] for known in found) > 1:
                    raise Refusal(f"`{path}`: the alert rule uid `{found[-1]['uid']}` is given twice")
    return found


def alert_rule(rule: dict[str, Any], group: dict[str, Any], path: Path) -> dict[str, Any]:
    name = rule.get("title") or "?"
    for key in ("uid", "title", "condition", "data"):
        if not rule.get(key):
            raise Refusal(f"`{path}`: the alert rule `{name}` lacks `{key}`")
    queries = listed(rule, "data", path)
    for query in queries:
        if not query.get("refId") or not query.get("datasourceUid") or not isinstance(query.get("model"), dict):
            raise Refusal(f"`{path}`: a query of the alert rule `{name}` lacks `refId`, `datasourceUid` or `model`")
    if rule["condition"] not in [query["refId"] for query in queries]:
        raise Refusal(f"`{path}`: the condition `{rule['condition']}` of the alert rule `{name}` is none of its queries")
    seconds(rule.get("for", "0s"), path)
    for key, known in STATES.items():
        if rule.get(key, known[0]) not in known:
            raise Refusal(f"`{path}`: `{key}` of the alert rule `{name}` is `{rule[key]}`; wanted one of {', '.join(known)}")
    return {"uid": uid(rule, name, path), "title": name, "ruleGroup": group["name"], "folderUID": folder_uid(group["folder"]),
            "orgID": group.get("orgId", 1), "condition": rule["condition"], "data": queries, "for": rule.get("for", "0s"),
            **{key: rule.get(key, known[0]) for key, known in STATES.items()},
            "labels": rule.get("labels") or {}, "annotations": rule.get("annotations") or {}, "isPaused": bool(rule.get("isPaused")),
            "provenance": "file"}


def seconds(text: Any, path: Path) -> float:
    try:
        return duration(str(text))
    except ValueError as error:
        raise Refusal(f"`{path}`: {error}") from error
