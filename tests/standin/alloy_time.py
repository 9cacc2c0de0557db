"""Reads times in the layouts that `stage.timestamp` names."""
from __future__ import annotations

import decimal
import re
from datetime import datetime, timedelta, timezone
from typing import Any, Callable

from alloy_schema import Section

NANO = 1_000_000_000
LAYOUTS = {"ANSIC": "Mon Jan _2 15:04:05 2006", "UnixDate": "Mon Jan _2 15:04:05 MST 2006", "RFC822Z": "02 Jan 06 15:04 -0700",
           "RubyDate": "Mon Jan 02 15:04:05 -0700 2006", "RFC1123": "Mon, 02 Jan 2006 15:04:05 MST",
           "RFC1123Z": "Mon, 02 Jan 2006 15:04:05 -0700", "RFC3339": "2006-01-02T15:04:05Z07:00",
           "RFC3339Nano": "2006-01-02T15:04:05Z07:00"}
PIECES = {"2006": r"(?P<year>\d{4})", "01": r"(?P<month>\d\d)", "Jan": r"(?P<named>[A-Z][a-z]{2})", "02": r"(?P<day>\d\d)",
          "_2": r" ?(?P<day>\d{1,2})", "15": r"(?P<hour>\d\d)", "04": r"(?P<minute>\d\d)", "05": r"(?P<second>\d\d)(?:[.,](?P<part>\d{1,9}))?",
          "Z07:00": r"(?P<zone>Z|[-+]\d\d:\d\d)", "-07:00": r"(?P<zone>[-+]\d\d:\d\d)", "-0700": r"(?P<zone>[-+]\d{4})",
          "MST": r"(?P<abbreviation>[A-Z]{3,4})", "Monday": r"[A-Z][a-z]+", "Mon": r"[A-Z][a-z]{2}", "06": r"(?P<short>\d\d)"}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
UNITS = {"Unix": NANO, "UnixMs": 1_000_000, "UnixUs": 1000, "UnixNs": 1}


def reader(layout: str, zone: Any, section: Section) -> Callable[[str], int | None]:
    """The function that reads a time of this layout, as nanoseconds."""
    if layout in UNITS:
        return lambda text: unix(text, UNITS[layout])
    plain = re.sub(r"([.,])[09]+(?=Z|-|$|\s)", "", LAYOUTS.get(layout, layout))
    pieces = re.split("(" + "|".join(sorted(map(re.escape, PIECES), key=len, reverse=True)) + ")", plain)
    if "05" not in pieces or any(re.search(r"\d|PM|pm", piece) for piece in pieces[::2]):
        section.place.refuse(f"the stand-in does not know the time format `{layout}`")
    pattern = re.compile("".join(PIECES[piece] if index % 2 else re.escape(piece) for index, piece in enumerate(pieces)))
    return lambda text: moment(pattern.fullmatch(text), zone)


def unix(text: str, unit: int) -> int | None:
    if not re.fullmatch(r"[0-9]{1,19}(\.[0-9]{1,9})?", text):
        return None
    found = int(decimal.Decimal(text) * unit)
    return found if found < 2**63 else None


def moment(found: re.Match | None, zone: Any) -> int | None:
    if found is None:
        return None
    part = {"part": "", "zone": None, "named": None, **{name: value for name, value in found.groupdict().items() if value}}
    year = int(part.get("year") or 2000 + int(part.get("short") or datetime.now(timezone.utc).year - 2000))
    month = MONTHS.index(part["named"]) + 1 if part["named"] in MONTHS else int(part.get("month") or 1)
    if part["zone"]:
        digits = part["zone"].replace(":", "")
        minutes = 0 if digits == "Z" else int(digits[0] + "1") * (int(digits[1:3]) * 60 + int(digits[3:5]))
        zone = timezone(timedelta(minutes=minutes))
    try:
        day = datetime(year, month, int(part.get("day") or 1), int(part.get("hour") or 0), int(part.get("minute") or 0),
                       int(part.get("second") or 0), tzinfo=zone)
    except ValueError:
        return None
    found_time = int(day.timestamp()) * NANO + int((part["part"] or "0").ljust(9, "0"))
    return found_time if abs(found_time) < 2**63 else None
