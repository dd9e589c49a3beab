"""YAML text → the tree of its nodes, each with its line and column; every fault of the text itself is found here.

Aliases, tags and a second document are refused, so that what a setting is stands where it is written, and no small file
grows into a large one.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

import yaml

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

_DEEPEST = 20
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OPENING = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSING = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


class Fault(NamedTuple):
    """One error and where it is, counted from 1; faults sort as they stand in the file."""

    line: int
    column: int
    text: str

    def __str__(self) -> str:
        """`line:column: text`."""
        return f"{self.line}:{self.column}: {self.text}"


class Mark(Protocol):
    """A place in the text, counted from 0; PyYAML and libyaml have a class each."""

    line: int
    column: int


class NotYaml(Exception):
    """The text cannot be read at all; `fault` says where and why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def fault_at(mark: Mark | None, text: str) -> Fault:
    """A fault at a node's mark; at the beginning of the file when it has none."""
    return Fault(mark.line + 1, mark.column + 1, text) if mark else Fault(1, 1, text)


def compose(text: str) -> yaml.Node | None:
    """The root node, or None for a text without content. Raises NotYaml."""
    if found := _UNPRINTABLE.search(text):
        before = text[: found.start()]
        line, column = before.count("\n") + 1, found.start() - before.rfind("\n")
        raise NotYaml(Fault(line, column, f"the character U+{ord(found[0]):04X} is not allowed in YAML"))
    try:
        _check_events(text)
        root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise NotYaml(fault_at(mark, f"is not YAML: {_because(error, text)}")) from None
    return root


def _because(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark
    lines = text.split("\n")
    if mark and mark.line < len(lines) and lines[mark.line][mark.column :].startswith("\t"):
        return "a tab stands where spaces must"
    problem, context = error.problem or "", error.context or ""
    # "did not find expected ']'" + "while parsing a flow sequence", but "expected a single document" + "but found another"
    return " ".join(filter(None, (problem, context) if context.startswith("while") else (context, problem)))


def _check_events(text: str) -> None:
    """Refuse before composing what would make the tree or the stack grow."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, _OPENING) - isinstance(event, _CLOSING)
        tag = getattr(event, "tag", None)
        if depth > _DEEPEST:
            refusal = "is nested deeper than any setting"
        elif isinstance(event, yaml.AliasEvent):
            refusal = "an alias (*) is not taken; write the value out"
        elif tag:
            refusal = f"the tag {tag} is not taken; write the value without it"
        else:
            continue
        raise NotYaml(fault_at(event.start_mark, refusal))
