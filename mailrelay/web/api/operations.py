"""Hold, release, retry, cancel, bounce and confirm deliveries: counted first, then done piece by piece, over restarts (R3)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from mailrelay.errors import Invalid, Unknown
from mailrelay.ids import OperationId
from mailrelay.model.operation import Control, Operation, Selection
from mailrelay.outbound import control
from mailrelay.store import operations, selections
from mailrelay.store.base import Tx
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.once import Once, making
from mailrelay.web.selection import GivenSelection, ShownSelection, selected
from mailrelay.web.shape import After, Given, Limit, Page, Paged, Shown, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["queue"])
_Reason = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]


class GivenOperation(Given):
    """What to do with which deliveries. `everything` must be said where nothing is selected."""

    control: Control
    selection: GivenSelection = GivenSelection()
    everything: bool = False
    reason: Annotated[_Reason, Field(description="Why, in one line; the author reads it in the DSN of a bounce.")] = ""
    again: Annotated[
        bool, Field(description="release: what is unconfirmed too, though it may have arrived and would come twice.")
    ] = False


class ShownPlan(Shown):
    """What an operation would do now: `left` says how many it would leave, by their state or what holds them."""

    changes: int
    left: dict[str, int]
    complete: Annotated[bool, Field(description="Whether all were counted; if not, there are more.")]


class ShownOperation(Shown):
    """An operation and how far it is. `under_way` are in the middle of an attempt, and looked at again when that has ended."""

    id: str
    control: Control
    selection: ShownSelection
    reason: str
    again: bool
    by: str
    at: datetime
    changed: int
    left: dict[str, int]
    under_way: int
    ended_at: datetime | None
    stopped_by: str

    @classmethod
    def of(cls, one: Operation) -> ShownOperation:
        """The operation as it is answered."""
        return cls(
            id=one.id,
            control=one.control,
            selection=ShownSelection.model_validate(one.selection),
            reason=one.reason,
            again=one.again,
            by=one.by,
            at=one.at,
            changed=one.changed,
            left=dict(one.left),
            under_way=len(one.under_way),
            ended_at=one.ended_at,
            stopped_by=one.stopped_by,
        )


@router.get("/operations", response_model=Page[ShownOperation])
async def list_all(app: App, caller: Reader, after: After = "", limit: Limit = 100) -> Paged[ShownOperation]:
    """What was done to deliveries by hand, newest first."""
    before = OperationId(after) if after else None
    found = await app.store.read(operations.list_operations, caller.org, before=before, limit=limit)
    return paged([ShownOperation.of(one) for one in found], limit=limit, cursor=lambda one: one.id)


@router.post("/operations/plan")
async def plan(app: App, caller: Administrator, given: GivenOperation) -> ShownPlan:
    """What an operation would do, counted; nothing is done. It is exact up to 10,000."""
    selection = _selection(app, given)
    found = await app.store.read(_plan, caller, given, selection)
    return ShownPlan.model_validate(found)


@router.post("/operations", status_code=201)
async def begin(
    app: App, caller: Administrator, given: GivenOperation, once: Annotated[Once, making("/operations/{id}")]
) -> ShownOperation:
    """Do it: the first 500 at once, the rest from then on, whatever happens. Mail that is queued later is not touched."""
    selection = _selection(app, given)
    return await once.write(app.store, _begin, app, app.ids.operation(), caller, given, selection)


@router.get("/operations/{operation}")
async def show(app: App, caller: Reader, operation: str) -> ShownOperation:
    """One operation, and how far it is."""
    return ShownOperation.of(await app.store.read(operations.get, caller.org, OperationId(operation)))


@router.post("/operations/{operation}/stop")
async def stop(app: App, caller: Administrator, operation: str, seen: IfMatch) -> ShownOperation:
    """End an operation where it is. What it has done stays done."""
    id_, now = OperationId(operation), app.clock.now()

    def stopped(tx: Tx) -> Operation:
        seen.check(tx, lambda: ShownOperation.of(operations.get(tx, caller.org, id_)))
        return operations.stop(tx, caller.org, id_, by=caller.by, at=now)

    return ShownOperation.of(await app.store.write(stopped))


def _selection(app: Application, given: GivenOperation) -> Selection:
    found = selected(given.selection, app.clock, path="selection.")
    if found.everything and not given.everything:
        raise Invalid("selection", "say which deliveries, or `everything` when you mean all of them")
    return found


def _plan(tx: Tx, caller: Caller, given: GivenOperation, selection: Selection) -> control.Plan:
    _known(tx, caller, selection)
    return control.plan(tx, caller.org, given.control, selection, again=given.again)


def _begin(
    tx: Tx,
    app: Application,
    id: OperationId,  # noqa: A002
    caller: Caller,
    given: GivenOperation,
    selection: Selection,
) -> ShownOperation:
    _known(tx, caller, selection)
    now = app.clock.now()
    new = operations.begin(
        tx,
        id,
        caller.org,
        given.control,
        selection,
        reason=given.reason,
        again=given.again,
        by=caller.by,
        at=now,
    )
    return ShownOperation.of(control.step(tx, new, at=now, brakes=app.config.brakes))


def _known(tx: Tx, caller: Caller, selection: Selection) -> None:
    """Raises Unknown for a delivery that is named and not there, or not for the caller to see."""
    named = selection.deliveries
    if named:
        only = Selection(deliveries=named)
        there, _ = selections.ids(tx, caller.org, only, limit=len(named), viewer=caller.viewer)
        missing = next((one for one in named if one not in there), None)
        if missing is not None:
            raise Unknown(f"There is no delivery {missing}")
