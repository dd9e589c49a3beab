"""`docs/bounces.md` against the words it explains."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailrelay.model.feedback import Category, Fault

PAGE = (Path(__file__).parents[3] / "docs" / "bounces.md").read_text(encoding="utf-8")


def test_every_category_has_its_row_and_no_row_is_of_another():
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == [category.value for category in Category]


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_is_explained(fault):
    assert re.search(rf"`{fault}`", PAGE)
