"""Dataclasses to rows and back, for the columns that hold JSON."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

from mailrelay.model.address import Address
from mailrelay.model.delivery import Accepted, Deferred, Interrupted, Outcome, Refused

T = TypeVar("T")

_OUTCOMES: dict[str, type[Accepted | Deferred | Refused | Interrupted]] = {
    "accepted": Accepted,
    "deferred": Deferred,
    "refused": Refused,
    "interrupted": Interrupted,
}
_OUTCOME_KINDS = {kind: name for name, kind in _OUTCOMES.items()}
_learnt: set[Any] = set()
_learning = threading.Lock()


def encode(value: object) -> Any:
    """A dataclass (or tuple, enum, …) as what a JSON column holds."""
    return msgspec.to_builtins(value)


def decode(kind: type[T], value: object) -> T:
    """The dataclass again. Raises msgspec.ValidationError when the row was not written by `encode`."""
    return msgspec.convert(value, learnt(kind), strict=False)


def learnt(kind: type[T]) -> type[T]:
    """The same dataclass, known to msgspec; whoever has it make one asks here first.

    msgspec looks at the fields of a dataclass when it first makes one, and keeps what it found so far where other threads see it: one
    that makes another meanwhile is the end of the process (SIGSEGV). So it looks here, in one thread at a time.
    """
    if kind not in _learnt:
        with _learning:
            msgspec.json.Decoder(kind)
            _learnt.add(kind)
    return kind


def encode_outcome(outcome: Outcome) -> Any:
    """An outcome with its kind beside it, since four classes share the column."""
    return {"kind": _OUTCOME_KINDS[type(outcome)], **msgspec.to_builtins(outcome)}


def decode_outcome(value: Any) -> Outcome | None:
    """The outcome again; None while an attempt is under way."""
    if value is None:
        return None
    fields = {name: field for name, field in value.items() if name != "kind"}
    return msgspec.convert(fields, learnt(_OUTCOMES[value["kind"]]), strict=False)


def encode_address(address: Address | None) -> str | None:
    """`local@domain`; None for the null reverse-path."""
    return None if address is None else str(address)


def decode_address(text: str) -> Address:
    """The address of `encode_address`; a domain has no `@`, a local part may."""
    local, _, domain = text.rpartition("@")
    return Address(local, domain)
