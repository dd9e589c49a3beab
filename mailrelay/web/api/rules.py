"""The rules that file mail: listed in their order, and run again over stored mail (I9)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from mailrelay import log, rules
from mailrelay.errors import MailrelayError
from mailrelay.filing.rerun import Difference, Rerun
from mailrelay.model.decision import Disposition
from mailrelay.rules.registry import RuleInfo
from mailrelay.store import visibility
from mailrelay.store.base import Tx
from mailrelay.store.visibility import Viewer
from mailrelay.web.application import App, Application
from mailrelay.web.identity import Administrator, Reader
from mailrelay.web.shape import MailAddress, Ref, Shown, Span, lines_of
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["rules"])


class ShownRule(Shown):
    """A rule; `row` is the requirement that it serves."""

    name: str
    stage: str
    rank: int
    row: str
    says: str


class ShownCreation(Shown):
    """A record that would be made."""

    module: str
    name: str
    address: MailAddress


class ShownDifference(Shown):
    """What today's rules would do otherwise with one message."""

    message: str | None
    arrival: str
    subject: str
    added: tuple[Ref, ...]
    removed: tuple[Ref, ...]
    created: tuple[ShownCreation, ...]
    was: Disposition
    now: Disposition
    because: str
    failed: bool
    """Our own code failed on it; it is left as it was."""


class Ended(Shown):
    """The last line of a run: how many messages differ or failed, and whether it was for real; or why it broke off."""

    differences: int
    failed: int = 0
    applied: bool
    error: str = ""


@router.get("/rules", response_model=tuple[ShownRule, ...])
async def list_all(caller: Reader) -> Sequence[RuleInfo]:
    """Every rule, in the order in which they run."""
    return rules.listing()


@router.post(
    "/rules/rerun",
    response_class=StreamingResponse,
    responses={200: lines_of("Differences, then the end.", ShownDifference, Ended)},
)
async def rerun(
    app: App,
    caller: Administrator,
    since: Annotated[Span, Query(description="How far back, such as 30d.")],
    apply: Annotated[bool, Query(description="Do it; without, nothing is changed.")] = False,
) -> StreamingResponse:
    """What today's rules would file differently over stored mail, and with `apply` the same for real.

    Answers NDJSON: a line for each message that differs, at last `{"differences": …, "applied": …}`. What people linked or
    unlinked is never touched. Of mail that the caller may not see there is no line, but it counts.
    """
    return StreamingResponse(_differences(app, caller, since, apply=apply), media_type="application/x-ndjson")


async def _differences(app: Application, caller: Administrator, since: timedelta, *, apply: bool) -> AsyncIterator[str]:
    inbound = app.config.inbound
    run = Rerun(
        app.store,
        app.bodies,
        app.clock,
        app.ids,
        service_domains=frozenset((*inbound.domains, inbound.bounce_domain)),
    )
    count, failed, error = 0, 0, ""
    logger = log.get()
    try:
        async for one in run.run(caller.org, since=app.clock.now() - since, apply=apply):
            count += not one.failed
            failed += one.failed
            if not await app.store.read(_is_seen, caller.viewer, one):
                continue  # counted all the same
            yield _shown(one).model_dump_json() + "\n"
    except MailrelayError:
        logger.exception("request.failed", method="POST", path="/rules/rerun")
        error = "the run broke off; what it did so far holds, the reason is in the log"
    yield Ended(differences=count, failed=failed, applied=apply, error=error).model_dump_json() + "\n"


def _is_seen(tx: Tx, viewer: Viewer, one: Difference) -> bool:
    return viewer.all or (one.message is not None and bool(visibility.of_these(tx, viewer, [one.message])))


def _shown(one: Difference) -> ShownDifference:
    return ShownDifference.model_validate(one)
