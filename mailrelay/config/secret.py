"""A secret from a file or the environment: `{file: path}` or `{env: NAME}`; never written in the configuration, never printed."""

from __future__ import annotations

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


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
