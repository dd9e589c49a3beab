"""The options that say which deliveries, the same for each command of `mailrelay queue`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

STATUSES = (
    "scheduled held queued deferred sending sent delivered replied bounced expired failed suppressed cancelled".split()  # noqa: SIM905
)
IN_FLIGHT = ("scheduled", "held", "queued", "deferred", "sending")
_OPTIONS = (
    click.option(
        "--state",
        "--status",
        multiple=True,
        type=click.Choice(STATUSES),
        help="Only these; may be given several times. Queued were never tried, deferred were and wait for the next try.",
    ),
    click.option("--message", default="", help="Only of this message, by its id."),
    click.option("--queue-id", default="", help="Only of this submission."),
    click.option("--destination", default="", help="Only to this recipient domain."),
    click.option("--recipient", default="", help="Only to this address."),
    click.option("--sender", default="", help="Only of this envelope sender: an address, a domain, or <>."),
    click.option("--job", default="", help="Only of this job."),
    click.option(
        "--held-by",
        default="",
        help="Only held by this: hand, poison, unconfirmed, job:NAME, domain:NAME, destination:NAME, source:NAME.",
    ),
    click.option(
        "--older-than",
        default="",
        metavar="AGE|TIME",
        help="Only queued longer ago (90m, 2h, 3d), or before (2026-12-01, 2026-12-01T08:00+01:00; without offset UTC).",
    ),
    click.option(
        "--newer-than",
        default="",
        metavar="AGE|TIME",
        help="Only queued within this (90m, 2h, 3d), or since (2026-12-01, 2026-12-01T08:00+01:00; without offset UTC).",
    ),
)


def selects(command: F) -> F:
    """Give a command `selection`: what the options say, as the API takes it."""

    @functools.wraps(command)
    def with_selection(*arguments: Any, state: tuple[str, ...], **given: Any) -> Any:
        names = (
            "message",
            "queue_id",
            "destination",
            "recipient",
            "sender",
            "job",
            "held_by",
            "older_than",
            "newer_than",
        )
        said = {name: value for name in names if (value := given.pop(name))}
        if state:
            said["status"] = list(state)
        return command(*arguments, selection=said, **given)

    for option in reversed(_OPTIONS):
        with_selection = option(with_selection)
    return with_selection  # type: ignore[return-value]  # click's decorators keep what they wrap
