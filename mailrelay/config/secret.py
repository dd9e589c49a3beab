"""A secret from a file or the environment: `{file: path}` or `{env: NAME}`; never written in the configuration, never printed."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_LARGEST = 10_000


class Secret:
    """Where a secret is, and its value once `config.load` has resolved it; its repr shows only where."""

    __slots__ = ("_value", "where")

    def __init__(self, where: str, value: str) -> None:
        self.where = where
        self._value = value

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __repr__(self) -> str:
        """Where it is from, never what it is."""
        return f"Secret({self.where})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Only a `Secret` that the loader made is taken: a secret in plain text is an error."""
        return core_schema.is_instance_schema(cls)


def from_file(path: Path) -> Secret:
    """The one line in `path`, without its line end. Raises ValueError with what is wrong, never with what it holds."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IROTH:
                raise ValueError(f"{path} can be read by everyone; chmod o-r it")
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST:
        raise ValueError(f"{path} is larger than {_LARGEST} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8") from None
    return Secret(f"file {path}", _one_line(text.removesuffix("\n").removesuffix("\r"), str(path)))


def from_environment(name: str, environ: Mapping[str, str]) -> Secret:
    """The value of the variable `name`. Raises ValueError when it is not set or cannot be a secret."""
    if name not in environ:
        raise ValueError(f"the environment variable {name} is not set")
    return Secret(f"environment variable {name}", _one_line(environ[name], f"the environment variable {name}"))


def _one_line(value: str, where: str) -> str:
    if not value.strip():
        raise ValueError(f"{where} is empty")
    if not value.isprintable():
        raise ValueError(f"{where} holds more than one line, or control characters")
    return value
