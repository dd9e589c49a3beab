"""One record of a bulk file: what a line must say, flat or as the API has records, and the sentence for what is wrong (R7)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mailrelay.model.record import RecordLink, RecordRef
from mailrelay.smtp.escape import HIDDEN, shown

NEEDED = ("module", "id", "name")
_MAX_ID = 200
_WHOLE = ("ref", "module", "id", "name", "owner", "addresses", "fields")
_NAMED = re.compile(r"([\w.]+(?:\[\d+\])?): ")
_OURS = ("source", "created_at", "updated_at", "change")
"""What the API says of a record and nobody tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line that could be read; whether module, owner and addresses are right shows when it is loaded."""

    line: int
    ref: RecordRef
    name: str
    owner: str
    links: tuple[RecordLink, ...]
    values: tuple[tuple[str, str], ...]
    """Fields; where `addresses` is None some of them may be address fields, which their module tells."""
    addresses: tuple[tuple[str, str], ...] | None = None
    """Address fields, where the line itself sets them apart."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was left out, and why, in one sentence. Of a record over several lines `line` is the first."""

    line: int
    because: str

    @property
    def field(self) -> str:
        """Which field or column is wrong; empty where it is the line."""
        named = _NAMED.match(self.because)
        return named[1] if named else ""


class BadText(ValueError):
    """Why a line is bad, in one sentence."""


def flat(line: int, values: Mapping[str, str], links: tuple[RecordLink, ...]) -> Row:
    """The record of a line with a key for each field. Raises BadText."""
    _check_text(values.items())
    for name in NEEDED:
        if not values.get(name, "").strip():
            raise BadText(f"{name}: is missing")
    return Row(
        line=line,
        ref=_ref(values["module"].strip(), values["id"].strip()),
        name=" ".join(values["name"].split()),  # P09: a name of one line, whatever a cell held
        owner=values.get("owner", "").strip(),
        links=links,
        values=tuple((name, value) for name, value in values.items() if value and name not in (*NEEDED, "owner")),
    )


def _check_text(values: Iterable[tuple[str, str]]) -> None:
    """Raises BadText for text that no database keeps."""
    for name, value in values:
        if "\0" in name or "\0" in value:
            raise BadText(f"{shown(name)}: holds a NUL character")
        if any("\ud800" <= character <= "\udfff" for character in name + value):
            raise BadText(f"{shown(name)}: holds half of a surrogate pair")


def _ref(module: str, record_id: str) -> RecordRef:
    if len(module) > _MAX_ID or len(record_id) > _MAX_ID or HIDDEN.search(module + record_id):
        raise BadText(f"id: {shown(record_id)} is longer than {_MAX_ID} characters or holds control characters")
    return RecordRef(module, record_id)


def links_of_text(text: str) -> tuple[RecordLink, ...]:
    """The links of a CSV cell, `role=module/id;…`. Raises BadText."""
    return tuple(_link_of_text(part.strip()) for part in text.split(";") if part.strip())


def _link_of_text(text: str) -> RecordLink:
    role, equals, target = text.partition("=")
    module, slash, record_id = target.partition("/")
    if not equals or not slash:
        raise BadText(f"links: {shown(text)} is not of the form role=module/id")
    return _link(role.strip(), module.strip(), record_id.strip())


def links_of_json(value: Any) -> tuple[RecordLink, ...]:
    """The links of a JSON line, () for none. Raises BadText."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadText("links: is not a list")
    return tuple(_link_of_json(one) for one in value)


def _link_of_json(value: Any) -> RecordLink:
    if isinstance(value, str):
        return _link_of_text(value)
    if isinstance(value, dict) and value.keys() == {"role", "module", "id"}:
        role, module, record_id = value["role"], value["module"], value["id"]
        if isinstance(role, str) and isinstance(module, str) and isinstance(record_id, str):
            return _link(role, module, record_id)
    if isinstance(value, dict) and value.keys() == {"role", "to"}:
        role, to = value["role"], value["to"]
        if isinstance(role, str) and isinstance(to, str):
            module, _, record_id = to.partition("/")
            return _link(role, module, record_id)
    raise BadText('links: an entry must be "role=module/id" or have role and to')


def _link(role: str, module: str, record_id: str) -> RecordLink:
    if not (role and module and record_id) or len(role) > _MAX_ID or HIDDEN.search(role):
        raise BadText(f"links: {shown(f'{role}={module}/{record_id}')} lacks its role, module or id, or is too long")
    return RecordLink(role=role, to=_ref(module, record_id))


def is_whole(values: Mapping[str, Any]) -> bool:
    """Whether a line has the form of the API; a flat one may well have a field of its own called `ref` or `fields`."""
    if any(isinstance(values.get(name), dict | list) for name in ("addresses", "fields")):
        return True
    return "ref" in values and not ("module" in values and "id" in values)


def whole(line: int, values: dict[str, Any], links: tuple[RecordLink, ...]) -> Row:
    """The record of a line in the form of the API. Raises BadText."""
    for name in values:
        if name not in _WHOLE and name not in _OURS:
            raise BadText(f"{shown(name)}: there is no such field; put it in fields, or an address in addresses")
    head = {name: text_of_json(values.get(name)) for name in ("module", "id", "name", "owner")}
    if "ref" in values:
        module, _, record_id = text_of_json(values["ref"]).partition("/")
        for name, part in (("module", module), ("id", record_id)):
            if values.get(name) is not None and head[name] != part:
                raise BadText(f"ref: does not agree with {name}")
            head[name] = part
    fields = values.get("fields")
    if not isinstance(fields, dict | None):
        raise BadText("fields: is not an object")
    told = {name: text_of_json(value) for name, value in (fields or {}).items() if value is not None}
    addresses = _addresses(values.get("addresses"))
    _check_text((*told.items(), *addresses.items()))
    return replace(flat(line, head, links), values=tuple(told.items()), addresses=tuple(addresses.items()))


def _addresses(given: Any) -> dict[str, str]:
    """Address by field, of the object that the API takes or of the list that it answers."""
    if isinstance(given, list):
        named: dict[str, Any] = {}
        for one in given:
            if not isinstance(one, dict) or not isinstance(one.get("field"), str) or "address" not in one:
                raise BadText("addresses: an entry must have field and address")
            if one["field"] in named:
                raise BadText(f"addresses: names {shown(one['field'])} twice")
            named[one["field"]] = one["address"]
        given = named
    if not isinstance(given, dict | None):
        raise BadText("addresses: is neither an object nor a list")
    for name, value in (given or {}).items():
        if not isinstance(value, str | None):
            raise BadText(f"{shown(name)}: is not an address")
    return {name: value for name, value in (given or {}).items() if value}


def text_of_json(value: Any) -> str:
    """A JSON value as a record keeps it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
