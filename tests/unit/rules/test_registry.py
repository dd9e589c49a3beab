"""The registry: names, order, and what may not happen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailrelay import rules
from mailrelay.model.decision import Finding
from mailrelay.rules import document
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Registry, RuleFunction, Stage


def _rule(name: str, doc: str = "Says nothing.") -> RuleFunction:
    def function(facts: Facts, so_far: Progress) -> Iterator[Finding]:
        yield from ()

    function.__doc__ = doc
    function.__module__ = f"mailrelay.rules.match.{name}"
    return function


def test_a_name_and_a_place_in_the_order_are_taken_once() -> None:
    registry = Registry()
    registry.rule(Stage.MATCH, rank=10, row="I4", miss="no")(_rule("one"))
    with pytest.raises(ValueError, match=r"two rules match\.one"):
        registry.rule(Stage.MATCH, rank=20, row="I4", miss="no")(_rule("one"))
    with pytest.raises(ValueError, match=r"match\.one and match\.two have the same rank 10"):
        registry.rule(Stage.MATCH, rank=10, row="I4", miss="no")(_rule("two"))
    with pytest.raises(ValueError, match=r"match\.three has no docstring"):
        registry.rule(Stage.MATCH, rank=30, row="I4", miss="no")(_rule("three", doc=""))
    registry.rule(Stage.HOLD, rank=10, row="I4", miss="no")(_rule("four"))
    assert [info.name for info in registry.listing()] == ["hold.four", "match.one"]


def test_every_rule_stands_in_the_folder_of_its_stage() -> None:
    names = [info.name for info in rules.listing()]
    assert len(names) == len(set(names)) >= 19
    for stage in Stage:
        for rule in rules.REGISTRY.of(stage):
            assert rule.function.__module__ == f"mailrelay.rules.{rule.info.name}"


def test_the_order_is_that_of_the_stages_and_the_ranks() -> None:
    order = [(list(Stage).index(info.stage), info.rank) for info in rules.listing()]
    assert order == sorted(order)


def test_the_page_of_the_rules_is_current(tmp_path: Path) -> None:
    assert document.main(["--check", str(Path(__file__).parents[3] / "docs/rules.md")]) == 0
    stale = tmp_path / "rules.md"
    assert document.main(["--check", str(stale)]) == 1
    assert document.main([str(stale)]) == 0
    assert document.main(["--check", str(stale)]) == 0
