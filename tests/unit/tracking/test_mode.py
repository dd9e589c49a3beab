"""What may be recorded of one person and one message (O9, T10, T11)."""

from __future__ import annotations

import pytest

from mailrelay.model.tracking import Mode, effective

OFF, AGGREGATE, INDIVIDUAL = Mode.OFF, Mode.AGGREGATE, Mode.INDIVIDUAL


@pytest.mark.parametrize(
    ("organisation", "message", "consent", "expected"),
    [
        (OFF, None, True, OFF),
        (OFF, INDIVIDUAL, True, OFF),
        (AGGREGATE, None, None, AGGREGATE),
        (AGGREGATE, None, True, AGGREGATE),
        (AGGREGATE, None, False, OFF),
        (AGGREGATE, INDIVIDUAL, True, AGGREGATE),
        (AGGREGATE, OFF, True, OFF),
        (INDIVIDUAL, None, True, INDIVIDUAL),
        (INDIVIDUAL, None, None, OFF),
        (INDIVIDUAL, None, False, OFF),
        (INDIVIDUAL, AGGREGATE, None, AGGREGATE),
        (INDIVIDUAL, AGGREGATE, False, OFF),
        (INDIVIDUAL, OFF, True, OFF),
    ],
)
def test_the_least_that_organisation_message_and_person_allow(
    organisation: Mode, message: Mode | None, consent: bool | None, expected: Mode
):
    assert effective(organisation, message, consent) is expected


@pytest.mark.parametrize("organisation", Mode)
@pytest.mark.parametrize("message", [None, *Mode])
def test_who_withdrew_is_never_recorded(organisation: Mode, message: Mode | None):
    assert effective(organisation, message, False) is OFF
