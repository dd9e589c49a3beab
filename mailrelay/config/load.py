"""Reads the configuration file: YAML → `schema.Config`, or every error at once, each by line and column (R1, fault O01).

YAML 1.1 has traps (`no` is a bool, `12:30` and `017` are numbers, a key may come twice). Here a value has the type that its
setting asks for, written as such, or it is an error.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from mailrelay.config import secret
from mailrelay.config.kind import Kind, kind_of
from mailrelay.config.schema import Config, Section
from mailrelay.config.secret import Secret
from mailrelay.config.syntax import Fault, Mark, NotYaml, compose, fault_at
from mailrelay.errors import ConfigError

_LARGEST = 1_000_000
_TAG = "tag:yaml.org,2002:"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NUMBERS = {
    int: re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII),
    float: re.compile(r"-?(0|[1-9]\d{0,17})(\.\d{1,18})?", re.ASCII),
}
_CONSTRAINTS = {
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_pattern_mismatch": "must match {pattern}",
}

_Place = tuple[str | int, ...]
"""Where a setting is: ("listeners", 0, "port")."""
_S = TypeVar("_S", bound=Section)
_BROKEN: Any = object()
"""Stands for a value whose fault is noted already."""


def load(path: Path, *, environ: Mapping[str, str]) -> Config:
    """The configuration in `path`; relative paths in it are relative to its folder. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigError((f"{path}: cannot be read: {error.strerror}",)) from None
    if len(content) > _LARGEST:
        raise ConfigError((f"{path}: is larger than {_LARGEST} bytes, so it is hardly a configuration",))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise ConfigError((f"{path}:{line}:{column}: is not UTF-8 (byte 0x{content[error.start]:02x})",)) from None
    return loads(text, str(path), folder=path.parent, environ=environ)


def loads(text: str, name: str, *, folder: Path, environ: Mapping[str, str]) -> Config:
    """The configuration in `text`, called `name` in errors; paths in it are relative to `folder`. Raises ConfigError.

    A text without content is the default configuration.
    """
    reader = _Reader(folder, environ)
    config = None
    try:
        config = reader.root(compose(text))
    except NotYaml as error:
        reader.faults.append(error.fault)
    if config is None or reader.faults:
        raise ConfigError(tuple(f"{name}:{fault}" for fault in sorted(set(reader.faults))))
    return config


class _Reader:
    """One reading of one file: notes `faults` and goes on."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.faults: list[Fault] = []
        self._folder = folder
        self._environ = environ
        self._marks: dict[_Place, Mark] = {}

    def root(self, node: yaml.Node | None) -> Config | None:
        """The whole configuration; None with at least one fault noted."""
        if node is None:
            return self._validated({}, Config, ())
        self._marks[()] = node.start_mark
        return self._section(node, Config, ())

    def _section(self, node: yaml.Node, model: type[_S], place: _Place) -> _S | None:
        values: dict[str, Any] = {}
        if not _is_null(node):
            if not isinstance(node, yaml.MappingNode):
                self._fault(place, f"expected mapping, found {_found(node)}")
                return None
            for name, value in self._pairs(node, model, place):
                kind = kind_of(model.model_fields[name])
                self._marks[*place, name] = value.start_mark
                values[name] = self._value(value, kind, (*place, name))
        return self._validated(values, model, place)

    def _pairs(self, node: yaml.MappingNode, model: type[Section], place: _Place) -> Iterator[tuple[str, yaml.Node]]:
        """The settings that exist, each once; faults for the others."""
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.faults.append(fault_at(key.start_mark, _sentence(place, "expected the name of a setting")))
                continue
            name = key.value
            if name in lines:
                refusal = f"is written twice, first on line {lines[name]}"
            elif name not in model.model_fields:
                refusal = _no_such(name, model)
            else:
                lines[name] = key.start_mark.line + 1
                yield name, value
                continue
            self.faults.append(fault_at(key.start_mark, _sentence((*place, name), refusal)))

    def _validated(self, values: dict[str, Any], model: type[_S], place: _Place) -> _S | None:
        """The section out of its values, or None and the faults of all of them."""
        broken = {name for name, value in values.items() if value is _BROKEN}
        for name, field in model.model_fields.items():
            if name not in values and isinstance(field.default, Path):
                values[name] = self._folder / field.default
        try:
            section = model.model_validate({name: value for name, value in values.items() if name not in broken})
        except ValidationError as error:
            for fault in error.errors(include_url=False):
                inside = (*place, *fault["loc"])
                context = fault.get("ctx", {})
                if fault["type"] == "missing":
                    if fault["loc"][0] not in broken:
                        self._fault(place, f"needs {fault['loc'][0]}")
                elif fault["type"] == "contradiction":
                    # With a default in a broken setting's place a contradiction means nothing.
                    for setting, because in () if broken else context["problems"]:
                        self._fault((*place, *_split(setting)), because)
                elif fault["type"] == "value_error":
                    self._fault(inside, str(context["error"]))
                elif fault["type"] in _CONSTRAINTS:
                    sentence = _CONSTRAINTS[fault["type"]].format(**context)
                    self._fault(inside, f"{sentence}, found {_short(fault['input'])}")
                else:
                    self._fault(inside, fault["msg"])
            return None
        return None if broken else section

    def _value(self, node: yaml.Node, kind: Kind, place: _Place) -> Any:
        """What pydantic is given for a setting: of the right type, or _BROKEN."""
        if kind.optional and _is_null(node):
            return None
        if not kind.many:
            return self._one(node, kind, place)
        if not isinstance(node, yaml.SequenceNode):
            self._fault(place, f"expected list of {kind.one}, found {_found(node)}")
            return _BROKEN
        values = []
        for index, item in enumerate(node.value):
            self._marks[*place, index] = item.start_mark
            values.append(self._one(item, kind, (*place, index)))
        return _BROKEN if any(value is _BROKEN for value in values) else tuple(values)

    def _one(self, node: yaml.Node, kind: Kind, place: _Place) -> Any:
        if kind.section:
            section = self._section(node, kind.section, place)
            return _BROKEN if section is None else section
        try:
            if kind.base is Secret:
                return self._secret(node)
            value = _scalar(node, kind)
            if isinstance(value, Path):
                return self._path(value, kind)
        except ValueError as error:
            self._fault(place, str(error))
            return _BROKEN
        return value

    def _path(self, path: Path, kind: Kind) -> Path:
        if path.parts[0].startswith("~"):
            raise ValueError("~ is not expanded here; write the whole path")
        path = self._folder / path
        if kind.must_exist and not path.is_file():
            raise ValueError(f"there is no file {path}")
        return path

    def _secret(self, node: yaml.Node) -> Secret:
        """The secret behind `{file: …}` or `{env: …}`; raises ValueError, without repeating what may be the secret itself."""
        if isinstance(node, yaml.ScalarNode):
            raise ValueError("a secret is not written here; say where it is: {file: path} or {env: NAME}")
        match node:
            case yaml.MappingNode(value=[(yaml.ScalarNode(value="file"), yaml.ScalarNode(value=path))]) if path:
                return secret.from_file(self._folder / path)
            case yaml.MappingNode(value=[(yaml.ScalarNode(value="env"), yaml.ScalarNode(value=name))]) if name:
                return secret.from_environment(name, self._environ)
        raise ValueError("expected {file: path} or {env: NAME}")

    def _fault(self, place: _Place, because: str) -> None:
        """Note a fault at the setting's value, or at the nearest thing around it that is in the file."""
        around = place
        while around and around not in self._marks:
            around = around[:-1]
        sentence = _sentence(place, because)
        self.faults.append(fault_at(self._marks.get(around), sentence))


def _scalar(node: yaml.Node, kind: Kind) -> bool | int | float | str | Path:
    """The value of a scalar node; raises ValueError with what was expected instead."""
    wrong = ValueError(f"expected {kind.one}, found {_found(node)}")
    if not isinstance(node, yaml.ScalarNode) or _is_null(node):
        raise wrong
    text, plain = str(node.value), _is_plain(node)
    if kind.base is bool:
        if not plain or text not in ("true", "false"):
            raise wrong
        return text == "true"
    if number := _NUMBERS.get(kind.base):
        if not plain or not number.fullmatch(text):
            raise wrong
        return int(text) if kind.base is int else float(text)
    if kind.choices:
        if text not in kind.choices:
            near = difflib.get_close_matches(text, kind.choices, 1)
            raise ValueError(f"{wrong}; did you mean {near[0]}?") if near else wrong
        return text
    if node.tag != _TAG + "str":  # YAML 1.1 reads `no`, `1.10`, `12:30`, `2026-01-01` as something else than a string
        raise ValueError(f"{wrong}; write it in quotes")
    if not text.strip():
        raise ValueError("must not be empty")
    if _CONTROL.search(text):
        raise ValueError("must not contain line ends or control characters")
    return Path(text) if kind.base is Path else text


def _no_such(name: str, model: type[Section]) -> str:
    if name == "<<":
        return "merge keys (<<) are not taken; write the settings out"
    near = difflib.get_close_matches(name, model.model_fields, 1) or [
        f"{section}.{name}"
        for section, field in Config.model_fields.items()
        if (inner := (kind := kind_of(field)).section) and not kind.many and name in inner.model_fields
    ]
    return f"no such setting; did you mean {near[0]}?" if near else "no such setting"


def _is_plain(node: yaml.ScalarNode) -> bool:
    return node.style not in ("'", '"', "|", ">")  # libyaml says "" where PyYAML says None


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "null"


def _found(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "mapping"
    if isinstance(node, yaml.SequenceNode):
        return "list"
    if _is_null(node):
        return "nothing"
    return _short(node.value if isinstance(node, yaml.ScalarNode) and _is_plain(node) else repr(node.value))


def _short(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _sentence(place: _Place, because: str) -> str:
    name = ""
    for part in place:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return f"{name}: {because}" if name else because


def _split(setting: str) -> _Place:
    """`listeners[0].port` → ("listeners", 0, "port")."""
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"\w+", setting))
