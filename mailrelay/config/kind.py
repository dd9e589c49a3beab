"""What kind of value a setting takes, read off its annotation: the loader checks by it, the documentation prints it.

The schema keeps to a few forms (bool, int, float, str, Path, Secret, a StrEnum or Literal, a Section, a tuple of one of
these, any of them or None); another form is a mistake in the schema and fails at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from mailrelay.config.schema import ReadableFile, Section
from mailrelay.config.secret import Secret

_NAMES: dict[type, str] = {bool: "true or false", int: "int", float: "number", str: "string", Path: "path"}


@dataclass(frozen=True, slots=True)
class Kind:
    """`base` is the type of one value; `many` says a list of them, `optional` that it may be left null."""

    base: type
    choices: tuple[str, ...] = ()
    many: bool = False
    optional: bool = False
    must_exist: bool = False
    """A file that is read, so that it must be there."""

    @property
    def section(self) -> type[Section] | None:
        """The model of a nested section, else None."""
        return self.base if issubclass(self.base, Section) else None

    @property
    def one(self) -> str:
        """One value of it, in words: `int`, `edge, submission or submissions`."""
        if self.choices:
            return " or ".join(filter(None, (", ".join(self.choices[:-1]), self.choices[-1])))
        if self.base is Secret:
            return "{file: path} or {env: NAME}"
        return "mapping" if self.section else _NAMES[self.base]


def kind_of(field: FieldInfo) -> Kind:
    """The kind of a setting; TypeError when the schema uses a form that is not known here."""
    kind = _read(field.annotation)
    return replace(kind, must_exist=True) if ReadableFile in field.metadata else kind


def _read(annotation: object) -> Kind:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind = _read(arguments[0])
        return replace(kind, must_exist=True) if ReadableFile in arguments[1:] else kind
    if origin in (Union, UnionType):
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return replace(_read(inner), optional=True)
    if origin is tuple:
        return replace(_read(arguments[0]), many=True)
    if origin is Literal:
        return Kind(str, choices=arguments)
    if isinstance(annotation, type):
        if issubclass(annotation, StrEnum):
            return Kind(annotation, choices=tuple(str(member) for member in annotation))
        if annotation in _NAMES or issubclass(annotation, Section | Secret):
            return Kind(annotation)
    raise TypeError(f"the schema uses {annotation!r}, which config.kind does not know")
