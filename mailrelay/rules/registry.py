"""How a rule is declared, found and put in order (I9): one function in one file, `rules/<stage>/<name>.py`.

@rule(Stage.MATCH, rank=30, row="I4", miss="no record has one of these addresses as its primary one")
def primary(facts: Facts, so_far: Progress) -> Iterator[Finding]: ...

Its name is `match.primary`. A stage is when a rule runs, not what it says: any rule may yield any kind of finding.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from mailrelay.model.decision import Creation, Evidence, Finding, FindingKind
from mailrelay.model.record import RecordRef
from mailrelay.rules.facts import Facts
from mailrelay.rules.say import BCC


class Stage(StrEnum):
    """The stages, in the order in which they run."""

    EXCLUDE = "exclude"  # who is none of our business (I5)
    HOLD = "hold"  # what a person must see first (I2, I23)
    MATCH = "match"  # which records the mail is about (I4)
    CREATE = "create"  # who becomes a record (I3, I6)
    RELATE = "relate"  # what is tied to those records (I7)


@dataclass(frozen=True, slots=True)
class Progress:
    """What the rules before said; a rule reads it beside the facts."""

    findings: tuple[Finding, ...] = ()

    def of(self, kind: FindingKind) -> tuple[Finding, ...]:
        """The findings of a kind, in order."""
        return tuple(finding for finding in self.findings if finding.kind is kind)

    @property
    def excluded(self) -> dict[str, str]:
        """Keys of excluded addresses, each with the first reason (a DropReason value)."""
        reasons: dict[str, str] = {}
        for finding in self.of(FindingKind.EXCLUDE):
            if finding.excluded is not None:
                reasons.setdefault(finding.excluded.key, finding.reason)
        return reasons

    @property
    def records(self) -> tuple[RecordRef, ...]:
        """Records that are to be linked, once each, in order."""
        return tuple(dict.fromkeys(found.record for found in self.of(FindingKind.LINK) if found.record is not None))

    @property
    def creations(self) -> tuple[Creation, ...]:
        """Records that are to be created."""
        return tuple(found.creation for found in self.of(FindingKind.CREATE) if found.creation is not None)

    @property
    def secrets(self) -> dict[str, str]:
        """Of the records that are to be linked those that are known by a Bcc alone, as they are written; with whose secret it is."""
        found = self.of(FindingKind.LINK)
        clear = {one.record for one in found if not one.secret}
        return {str(one.record): one.secret for one in found if one.record not in clear}

    @property
    def stopped(self) -> bool:
        """Whether the message is held or dropped already."""
        return any(finding.kind in (FindingKind.HOLD, FindingKind.DROP) for finding in self.findings)


RuleFunction = Callable[[Facts, Progress], Iterator[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleInfo:
    """What `mailrelay rules list` and `docs/rules.md` show of a rule."""

    name: str
    stage: Stage
    rank: int
    row: str
    """The row of product.md that it serves."""
    says: str
    """Its docstring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A registered rule."""

    info: RuleInfo
    function: RuleFunction
    miss: str

    def findings(self, facts: Facts, so_far: Progress) -> Iterator[Finding]:
        """What the rule says, each finding with its name and whether it is a secret; one MISS when it says nothing."""
        silent = True
        for finding in self.function(facts, so_far):
            silent = False
            secret = finding.secret or self._secret(facts, so_far, finding)
            yield replace(finding, rule=self.info.name, secret=secret)
        if silent:
            yield Finding(rule=self.info.name, kind=FindingKind.MISS, evidence=(Evidence(because=self.miss),))

    def _secret(self, facts: Facts, so_far: Progress, finding: Finding) -> str:
        """Of what is said of a Bcc alone whose secret it is, and of what follows from that alone; "" of all else."""
        if {one.header for one in finding.evidence} == {BCC}:
            return facts.arrival
        if self.info.stage is not Stage.RELATE or not finding.evidence:
            return ""
        followed = {so_far.secrets.get(one.value, "") for one in finding.evidence}
        return "" if "" in followed else min(followed)


class Registry:
    """All rules, told apart by name and by (stage, rank)."""

    def __init__(self) -> None:
        self._rules: dict[str, Rule] = {}

    def rule(self, stage: Stage, *, rank: int, row: str, miss: str) -> Callable[[RuleFunction], RuleFunction]:
        """Declare a rule; lower ranks run first. `miss` is the sentence for when it finds nothing.

        Raises ValueError, at import, for a name or a place in the order that is taken, and for a rule without a docstring.
        """

        def register(function: RuleFunction) -> RuleFunction:
            name = f"{stage}.{function.__module__.rpartition('.')[2]}"
            says = " ".join((function.__doc__ or "").split())
            if not says:
                raise ValueError(f"rule {name} has no docstring")
            if name in self._rules:
                raise ValueError(f"there are two rules {name}")
            for other in self._rules.values():
                if (other.info.stage, other.info.rank) == (stage, rank):
                    raise ValueError(f"rules {other.info.name} and {name} have the same rank {rank}")
            info = RuleInfo(name=name, stage=stage, rank=rank, row=row, says=says)
            self._rules[name] = Rule(info=info, function=function, miss=miss)
            return function

        return register

    def of(self, stage: Stage) -> tuple[Rule, ...]:
        """The rules of a stage, in order."""
        rules = [rule for rule in self._rules.values() if rule.info.stage is stage]
        return tuple(sorted(rules, key=lambda rule: rule.info.rank))

    def listing(self) -> tuple[RuleInfo, ...]:
        """All rules, in the order in which they run."""
        return tuple(rule.info for stage in Stage for rule in self.of(stage))


REGISTRY = Registry()
rule = REGISTRY.rule


def scan(package: str) -> None:
    """Import every module of a package, so that its rules register."""
    for found in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        importlib.import_module(found.name)
