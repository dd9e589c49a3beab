"""What follows from how a call ended: for the call, for its webhook, and for whoever must hear of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from mailrelay import log, metrics
from mailrelay.clock import to_micros
from mailrelay.model.webhook import CallState, Claimed, Result, Webhook
from mailrelay.store import webhook_calls, webhooks
from mailrelay.store.base import Tx
from mailrelay.webhook import retry

_FORGIVEN = timedelta(hours=24)
"""Failures with as long a silence between them, in which nothing waited, are not of one row."""
_logger = log.get(service="webhooks")


def settle(
    tx: Tx, claimed: Claimed, result: Result, *, now: datetime, disable_after: timedelta, random: float
) -> CallState | None:
    """Write the end of a call down; how it stands then, None when the claim was lost. `random` is from 0 to 1."""
    hook = webhook_calls.held(tx, claimed)
    if hook is None:
        return None
    if result.taken:
        return _taken(tx, hook, claimed, result, now)
    return _failed(tx, hook, claimed, result, now, disable_after, random)


def _taken(tx: Tx, hook: Webhook, claimed: Claimed, result: Result, now: datetime) -> CallState:
    webhook_calls.end(tx, claimed.call, CallState.TAKEN, at=now, status=result.status)
    if hook.failures >= retry.TRIPS:
        webhook_calls.hasten(tx, hook.id, now=now)  # it is back: nothing waits for the end of its pause
    webhook_calls.went(
        tx, hook, paused_until=None, failures=0, failing_since=None, failure="", succeeded_at=to_micros(now)
    )
    return CallState.TAKEN


def _failed(
    tx: Tx, hook: Webhook, claimed: Claimed, result: Result, now: datetime, disable_after: timedelta, random: float
) -> CallState:
    call = claimed.call
    forgiven = _forgiven(tx, hook, now)
    failures = 1 if forgiven else hook.failures + 1
    since = now if forgiven or hook.failing_since is None else hook.failing_since
    wait = timedelta(seconds=result.retry_after or 0)
    state = CallState.DEAD if now >= call.expires_at and not result.gone else CallState.WAITING
    told = {"status": result.status, "failure": result.failure, "said": result.said}
    if state is CallState.DEAD:
        webhook_calls.end(tx, call, state, at=now, **told)  # type: ignore[arg-type]  # each by its name
        _died(tx, hook, 1)
    else:
        due = now + max(retry.pause(call.attempts, lambda: random), wait)
        webhook_calls.again(tx, call, due_at=max(now, min(due, call.expires_at)), **told)  # type: ignore[arg-type]
    if failures >= retry.TRIPS:
        _died(
            tx, hook, webhook_calls.give_up(tx, hook, now=now, failure=f"its receiver took nothing: {result.failure}")
        )
    because = _why_disabled(result, since=since, now=now, disable_after=disable_after)
    if because and hook.active:
        _disable(tx, hook, because, now=now, gone=result.gone)
    webhook_calls.went(
        tx,
        hook,
        paused_until=now + max(retry.rest(failures), wait),
        failures=failures,
        failing_since=to_micros(since),
        failed_at=to_micros(now),
        failure=result.failure,
    )
    return state


def _forgiven(tx: Tx, hook: Webhook, now: datetime) -> bool:
    """Whether what failed before says nothing any more: for long there was nothing to take."""
    if hook.failed_at is None or now - hook.failed_at <= _FORGIVEN:
        return False
    since = webhook_calls.waited_since(tx, hook)
    return since is None or since - hook.failed_at > _FORGIVEN


def _why_disabled(result: Result, *, since: datetime, now: datetime, disable_after: timedelta) -> str:
    if result.gone:
        return f"{webhooks.RECEIVER}answered 410: gone for good"
    if now - since >= disable_after:
        return f"{webhooks.RECEIVER}took nothing since {since:%Y-%m-%d %H:%M} UTC; the last time, {result.failure}"
    return ""


def _disable(tx: Tx, hook: Webhook, because: str, *, now: datetime, gone: bool) -> None:
    webhooks.disable(tx, hook, because=because, at=now)
    tx.afterwards(metrics.webhooks_disabled.labels("gone" if gone else "failing").inc)
    tx.afterwards(partial(_logger.error, "webhook.disabled", org=hook.org, webhook=hook.id, because=because))


def _died(tx: Tx, hook: Webhook, number: int) -> None:
    if number:
        tx.afterwards(partial(metrics.webhook_calls.labels("dead").inc, number))
        tx.afterwards(partial(_logger.warning, "webhook.given-up", org=hook.org, webhook=hook.id, calls=number))
