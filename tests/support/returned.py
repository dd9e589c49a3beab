"""Mail of ours that a real mail system returns: sent by the API all at once, and what came back of each read from the daemon."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

from mailrelay.mail import message
from mailrelay.mail.bounce import classify
from tests.support.daemon import Daemon, until
from tests.support.peers import need

USER = "ben@example.org"
_SUBJECT = re.compile(rb"^Subject: (case [\w -]+?)\r?$", re.MULTILINE)
_BOUNCE = re.compile(r'^\{"queue_id": "(\w+)",.*"channel": "bounce",.*"event": "arrival\.accepted"', re.MULTILINE)
_LINE = "A line of a mail that is too long for somebody, and looks like one that people write.\r\n"


@dataclass(frozen=True)
class Believed:
    """What a report, or an answer in the dialogue, is to be believed to say."""

    action: str
    category: str
    """Why; "" where no reason is given, so that any will do that is soft and nobody's fault."""
    hard: bool = False
    fault: str = "neither"
    status: str = ""
    """The enhanced status as the report names it; "" when it has none."""


@dataclass(frozen=True)
class Case:
    """A mail to `to`, and the end it comes to. `returned` is what comes back of it, in order."""

    name: str
    to: str
    returned: tuple[Believed, ...] = ()
    refused: Believed | None = None
    """What it is refused with in the dialogue, when the peer does not take it."""
    kilobytes: int = 0
    text: str = "Hello"
    asks_dns: bool = False
    """Whether the peer asks the machine's own resolver for a name that nobody has."""

    @property
    def subject(self) -> str:
        """The subject, by which its returns are known."""
        return f"case {self.name}"

    @property
    def possible(self) -> bool:
        """Whether it can be tried here: a machine without any DNS cannot say that a name is nobody's."""
        return not self.asks_dns or _names_are_denied()

    @property
    def end(self) -> Believed | None:
        """What ended it badly; None when nothing did."""
        failed = [one for one in self.returned if one.action == "failed"]
        return self.refused or (failed[-1] if failed else None)


@dataclass
class Sender:
    """Our side: the daemon, what was sent, and what has come back so far, by subject."""

    relay: Daemon
    log: Callable[[], str]
    """What the peers logged, for the message when something does not come."""
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    back: dict[str, list[bytes]] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def ask(self, path: str, body: object = None) -> Any:
        """What the API answers; POST with a body."""
        with urllib.request.urlopen(self._request(path, body), timeout=20) as answer:
            return json.load(answer)

    def send(self, case: Case) -> None:
        """Queue the mail of a case."""
        lines = _LINE * (case.kilobytes * 1024 // len(_LINE)) + case.text
        fields = {"from": USER, "to": [case.to], "subject": case.subject, "text": lines}
        self.sent[case.subject] = self.ask("messages", fields)

    def returned(self, case: Case, number: int) -> list[bytes]:
        """The mails that came back of a case, oldest first, once there are `number`."""

        if not case.possible:
            pytest.skip("DNS is missing: a resolver that denies the names which do not exist")

        def come() -> bool:
            self._look()
            return len(self.back.get(case.subject, [])) >= number

        until(come, f"{case.name} comes back; the log ends {self.log()[-3000:]}", seconds=40, pause=0.2)
        return self.back.get(case.subject, [])

    def dialogue(self, case: Case) -> dict[str, Any]:
        """The delivery of a case as the API shows it once its dialogue is over."""

        def over() -> dict[str, Any]:
            shown = self.delivery(case)
            return shown if shown["state"] not in ("queued", "sending") else {}

        return until(over, f"{case.name} is answered; the log ends {self.log()[-3000:]}")

    def delivery(self, case: Case) -> dict[str, Any]:
        """The delivery of a case as the API shows it now."""
        found: dict[str, Any] = self.ask(f"queue/{self.sent[case.subject]['deliveries'][0]['id']}")
        return found

    def consequences(self, case: Case) -> None:
        """Check what the API says of a case in the end: the delivery, the journal, and the suppression list.

        Raises AssertionError when anything is missing, or more than it should be.
        """

        def told() -> list[dict[str, Any]]:
            found = [one for one in self.events(case) if one["type"] == "delivery.returned"]
            return found if len(found) >= len(case.returned) else []

        told_of = until(told, f"the return of {case.name} is in the journal") if case.returned else []
        assert len(told_of) == len(case.returned)
        for told_one, one in zip((event["data"] for event in told_of), case.returned, strict=True):
            assert (told_one["action"], told_one["class"]) == (one.action, "hard" if one.hard else "soft")
            assert told_one["category"] == one.category or not one.category
            assert told_one["believed"] == "true"
        shown = self.dialogue(case)
        end = case.end
        bounces = [one["data"] for one in self.events(case) if one["type"] == "delivery.bounced"]
        if end is None:
            assert (shown["state"], shown["bounce"], bounces) == ("sent", None, [])
        else:
            by_us = case.refused is not None and not bounces  # we did not even offer it
            assert shown["state"] == ("failed" if by_us else "bounced")
            assert (shown["category"], shown["fault"]) == (end.category, end.fault)
            assert [(one["category"], one["class"]) for one in bounces] == (
                [] if by_us else [(end.category, "hard" if end.hard else "soft")]
            )
        stands = self.suppressed(case.to)
        assert [one["reason"] for one in stands] == (["hard_bounce"] if end and end.hard else [])

    def refusal(self, case: Case) -> str:
        """What the API says when it does not take the mail of a case."""
        try:
            self.send(case)
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()
        raise AssertionError(f"{case.name} was taken")

    def suppressed(self, address: str) -> list[dict[str, Any]]:
        """What stands against an address."""
        return [one for one in self.ask(f"suppressions/{address}")["items"] if not one["lifted_at"]]

    def events(self, case: Case) -> list[dict[str, Any]]:
        """The events about the delivery of a case, oldest first."""
        id_ = self.sent[case.subject]["deliveries"][0]["id"]
        return [one for one in self.ask("events?last=1000")["items"] if one["delivery"] == id_]

    def _request(self, path: str, body: object) -> urllib.request.Request:
        token = json.loads((self.relay.data / "sample.json").read_text())["token"]
        return urllib.request.Request(
            f"http://127.0.0.1:{self.relay.api}/api/v1/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )

    def _look(self) -> None:
        for queue_id in _BOUNCE.findall(self.relay.log):
            if queue_id in self._seen:
                continue
            self._seen.add(queue_id)
            with urllib.request.urlopen(self._request(f"arrivals/{queue_id}/raw", None), timeout=20) as answer:
                raw: bytes = answer.read()
            (subject,) = set(_SUBJECT.findall(raw))
            self.back.setdefault(subject.decode(), []).append(raw)


@cache
def _names_are_denied() -> bool:
    try:
        socket.getaddrinfo("nowhere.test", 25)
    except socket.gaierror as error:
        return error.errno == socket.EAI_NONAME
    return False


def believed(raw: bytes, expected: Believed) -> tuple[str, Believed]:
    """Whom a mail that came back is believed to be about, and what it is believed to say. It must name exactly one recipient.

    Where no reason is expected, none is told.
    """
    report = classify(message.parse(raw), envelope_from_null=True)
    assert report is not None
    (one,) = report.recipients
    assert report.kind == ("delay" if one.action == "delayed" else "bounce")
    status = str(one.status or "")
    category = one.category if expected.category else ""
    return one.recipient, Believed(one.action, category, hard=one.hard, fault=one.fault, status=status)


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Somebody who takes every mail on that port from now on."""
    process = subprocess.Popen(
        [need("smtp-sink"), "-u", "postfix", f"127.0.0.1:{port}", "10"], stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)
