"""examples/crm.py as a process beside a real daemon: what is mailed shows on the contact once, whoever of the two was away (K9)."""

from __future__ import annotations

import html
import http.client
import json
import re
import signal
import smtplib
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, daemon, until
from tests.support.postfix import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

EXAMPLE = Path(__file__).parents[3] / "examples" / "crm.py"
SETTINGS = {"webhooks": {"allow_private": ["127.0.0.0/8"], "allow_http": True}}
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


@dataclass
class Crm:
    """The example as a process, and a browser that looks at it."""

    relay: Daemon
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    dropbox: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it says where it is."""
        said = self.folder / "crm.out"
        with said.open("wb") as out:
            self.process = subprocess.Popen(
                [
                    # Whoever runs the tests in the background has Ctrl-C ignored, and so would this.
                    *("/usr/bin/env", "--default-signal=INT", sys.executable),
                    *("-W", "error", EXAMPLE, "--api", f"127.0.0.1:{self.relay.api}", "--port", str(self.port)),
                    *("--socket", self.relay.data / "mailrelay.sock", "--database", self.folder / "crm.db"),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
            )

        def up() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, said.read_text()
            try:
                return "Bob Baker" in self.page("/")
            except OSError:
                return False

        until(up, "the example has read the journal", seconds=60)
        found = re.search(r"dropbox is (bcc-\S+@inbound\.test)", said.read_text())
        assert found
        self.dropbox = found[1]

    def kill(self) -> None:
        """As a crash does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def page(self, path: str = "/of/contact/1") -> str:
        """A page as a person reads it."""
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            assert answer.headers.get_content_type() == "text/html"
            return html.unescape(answer.read().decode())

    def post(self, path: str, body: bytes, **headers: str) -> int:
        """The status of the answer; a redirect is followed."""
        request = urllib.request.Request(self.url + path, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return int(error.code)

    def write(self, subject: str, text: str, *, key: str) -> int:
        """Fill in the form on Bob's page and send it."""
        form = {"key": key, "ref": "contact/1", "subject": subject, "text": text}
        return self.post("/send", urllib.parse.urlencode(form).encode(), Origin=self.url)

    def mail_in(self, subject: str, to: str = "bob@customer.example") -> None:
        """What Anna's mail server sends to her dropbox."""
        self._deliver("anna@tinycrm.example", self.dropbox, f"To: {to}\r\nSubject: {subject}\r\n")

    def answer(self, letter: Path) -> None:
        """Bob's mail program answers a letter, to where it came from."""
        envelope = json.loads(letter.with_suffix(".json").read_text())
        answered = re.search(r"^Message-ID: (<\S+>)", letter.read_text(), re.MULTILINE)
        assert answered
        head = f"To: anna@tinycrm.example\r\nSubject: Re: An offer\r\nIn-Reply-To: {answered[1]}\r\n"
        self._deliver(envelope["rcpt_to"], envelope["mail_from"], head)

    def _deliver(self, sender: str, to: str, head: str) -> None:
        mail = f"From: {sender}\r\nMessage-ID: <{time.time_ns()}@example.test>\r\n{head}\r\nHello.\r\n"
        with smtplib.SMTP("127.0.0.1", self.relay.edge, local_hostname="client.test", timeout=20) as client:
            client.sendmail(sender, to, mail)


@contextmanager
def _crm(folder: Path) -> Iterator[Crm]:
    with daemon(folder / "relay", SETTINGS, start=False) as relay:
        relay.start(sample=False)
        crm = Crm(relay, folder)
        try:
            crm.start()
            yield crm
        finally:
            if crm.process is not None:
                crm.process.send_signal(signal.SIGINT)
                assert crm.process.wait(20) == 0, (folder / "crm.out").read_text()
                assert "Traceback" not in (folder / "crm.out").read_text()


def test_what_came_while_it_was_away_is_there_once_and_nothing_is_missing(tmp_path: Path) -> None:
    with _crm(tmp_path) as crm:
        crm.mail_in("Your two ovens")
        until(lambda: "Your two ovens" in crm.page(), "the mail is on Bob's page")
        until(lambda: re.search(r"[1-9]\d* webhooks came", crm.page()), "webhooks ring")
        crm.kill()
        relay = crm.relay
        crm.mail_in("While you were away")
        crm.mail_in("Somebody new", to="Eve <eve@new.example>")
        until(lambda: len(relay.cli("message", "list")["items"]) == 3, "all are filed")
        relay.kill()  # and mailrelay itself
        relay.start(sample=False)
        crm.start()
        until(lambda: "While you were away" in crm.page(), "what was missed is there")
        lead = until(lambda: re.search(r'href="(/of/lead/[^"]+)"', crm.page("/")), "whoever is new is a lead")
        assert crm.page(lead[1]).count("Somebody new") == 1
        time.sleep(6)  # the webhooks that were not taken come again
        page = crm.page()
        assert page.count("While you were away") == page.count("Your two ovens") == 1
        events = relay.cli("event", "list", "--after", "0", "--limit", "1000")["items"]
        until(
            lambda: f"Events 1 to {events[-1]['seq']} are read, none is missing" in crm.page("/"),
            "it has read to the end",
        )
        assert events[-1]["seq"] == len(events)


def test_what_becomes_of_a_mail_shows_on_the_contact(tmp_path: Path) -> None:
    with _crm(tmp_path) as crm, closing(http.client.HTTPConnection("127.0.0.1", crm.port, timeout=20)) as browser:
        # A stream of Anna's notices, as the page in her browser has it.
        browser.request("GET", "/notices")
        stream = browser.getresponse()
        assert stream.headers.get_content_type() == "text/event-stream"
        assert [
            crm.write("An offer", "See [our offer](https://tinycrm.example/offer).", key="offer-1") for _ in range(2)
        ] == [
            200,
            200,
        ]
        until(lambda: re.search(r"An offer</td><td>sent", crm.page()), "it is sent")
        (letter,) = (crm.relay.data / "sent").rglob("*.eml")  # sent twice, it went once
        time.sleep(2.5)  # who is faster is a machine
        _visit(crm.relay, letter, "o", status=200)
        _visit(crm.relay, letter, "c", status=302)
        until(lambda: "opened 1×" in crm.page(), "it was opened")
        until(lambda: "https://tinycrm.example/offer clicked 1×" in crm.page(), "its link was followed")
        crm.answer(letter)
        until(lambda: "<td>replied" in crm.page(), "it was answered")
        told: list[str] = []
        while {"event: opened", "event: clicked", "event: replied"} - set(told):
            told.append(stream.readline().decode().strip())
            assert len(told) < 100
        stream.close()
        until(lambda: crm.page().count(">Re: An offer</td>") == 1, "the answer is there as well")
        assert crm.page().count(">An offer</td>") == 1


def _visit(relay: Daemon, letter: Path, kind: str, *, status: int) -> None:
    """Load the pixel of a letter, or follow its first link, as a browser does."""
    found = re.search(rf"http://localhost:{relay.public}(/{kind}/[\w.-]+)", letter.read_text().replace("=\n", ""))
    assert found
    with closing(http.client.HTTPConnection("127.0.0.1", relay.public, timeout=20)) as browser:
        browser.request("GET", found[1], headers={"User-Agent": BROWSER, "Host": f"localhost:{relay.public}"})
        assert browser.getresponse().status == status


def test_what_keeps_it_from_starting_is_said_in_one_line(tmp_path: Path) -> None:
    with _crm(tmp_path) as crm:
        calls = until(lambda: re.search(r"([1-9]\d*) webhooks came", crm.page()), "webhooks ring")
        assert calls
        (hook,) = crm.relay.cli("webhook", "list")["items"]
        assert hook["health"]["failed_at"] is None  # it listened before it asked for them

        def said(*arguments: str) -> str:
            command = [sys.executable, EXAMPLE, "--api", f"127.0.0.1:{crm.relay.api}", *arguments]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
            assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
            return done.stderr

        port = ("--port", str(free_port()))
        assert "name another by --port" in said("--port", str(crm.port))
        assert "start it with `make run`" in said(*port, "--socket", "nowhere.sock", "--database", "new.db")
        with closing(sqlite3.connect(tmp_path / "other.db")) as db, db:
            db.execute("create table state (name text primary key, value text not null)")
            db.execute("insert into state values ('token', 'mr_of_a_daemon_that_is_gone')")
        assert "remove other.db" in said(*port, "--database", "other.db")


def test_what_is_refused_is_said(tmp_path: Path) -> None:
    with _crm(tmp_path) as crm:
        forged = {"webhook-id": "x", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA"}
        assert crm.post("/hooks", b"{}", **forged) == 401
        assert crm.post("/hooks", b"{}") == 401
        form = b"key=1&ref=contact/1&subject=x&text=y"
        assert crm.post("/send", form, Origin="https://elsewhere.example") == 403
        assert crm.post("/send", b"ref=contact/1") == 400
        crm.relay.cli("suppression", "add", "bob@customer.example")
        until(lambda: "<em>by hand</em>" in crm.page(), "Bob gets no more mail")
        assert crm.write("An offer", "Hello", key="another") >= 400
        crm.relay.cli("suppression", "lift", "bob@customer.example")
        until(lambda: "<em></em>" in crm.page(), "Bob gets mail again")
        with pytest.raises(urllib.error.HTTPError) as error:
            crm.page("/of/contact/none")
        assert error.value.code == 404
        error.value.close()


def test_who_unsubscribes_is_shown_with_the_list_that_they_left(tmp_path: Path) -> None:
    with _crm(tmp_path) as crm:
        relay = crm.relay
        relay.cli("mailing-list", "add", "news", "Spring news")
        mail = ("--from", "anna@tinycrm.example", "--to", "bob@customer.example", "--subject", "News", "--text", "New!")
        relay.cli("message", "send", *mail, "--job", "spring", "--list", "news")
        (letter,) = until(lambda: list((relay.data / "sent").rglob("*.eml")), "it is sent")
        found = re.search(rf"http://localhost:{relay.public}(/u/[\w.-]+)", letter.read_text().replace("=\n", ""))
        assert found
        with closing(http.client.HTTPConnection("127.0.0.1", relay.public, timeout=20)) as browser:
            headers = {"Host": f"localhost:{relay.public}", "Content-Type": "application/x-www-form-urlencoded"}
            browser.request("POST", found[1], "List-Unsubscribe=One-Click", headers)
            assert browser.getresponse().status == 200
        until(lambda: "<em>unsubscribed news</em>" in crm.page(), "Bob left the list")
