"""A tiny CRM on mailrelay, in one file and the standard library: contacts, what was mailed with each, and what became of it.

    make run                      (in one terminal)
    python3 examples/crm.py       (in another, in the same folder; then open http://127.0.0.1:8030)

At its first start it makes an organisation of its own over the daemon's Unix socket. What it shows comes out of the journal of
events alone: webhooks only ring when there is something to read. So it may be down for as long as it likes and misses nothing;
delete crm.db while it is down, and it begins anew.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import http.client
import json
import os
import re
import secrets
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

ORGANISATION, USER = "Tiny CRM", "anna@tinycrm.example"
PEOPLE = {"1": ("Bob Baker", "bob@customer.example"), "2": ("Dora Fell", "dora@harbour.example")}
TABLES = """
create table if not exists state (name text primary key, value text not null);
create table if not exists person (ref text primary key, name text, address text, stopped text not null default '');
create table if not exists mail (ref text, message text, at text, who text, subject text, status text, primary key (ref, message));
"""

AWAY = (OSError, http.client.HTTPException)
"""What is raised when mailrelay does not answer, or breaks off."""
STOPS = ("address.unsubscribed", "address.suppressed", "address.resubscribed", "suppression.lifted")
"""Events after which somebody gets mail no more, or again."""


class Problem(Exception):
    """An answer that says why not: its status, and a sentence for a person."""


class Unix(http.client.HTTPConnection):
    """The daemon's own socket: whoever can open it is the operator."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


class Api:
    """mailrelay's HTTP API."""

    def __init__(self, connect: Callable[[], http.client.HTTPConnection], **headers: str) -> None:
        self.connect = connect
        self.headers = headers

    def __call__(self, method: str, path: str, body: object = None, *, key: str = "") -> Any:
        """The JSON of the answer. Raises Problem, and one of AWAY. What has a `key` is done once, however often asked."""
        headers = {**self.headers, "Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
        with closing(self.connect()) as connection:
            connection.request(method, "/api/v1" + path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        if answer.status >= 400:
            raise Problem(answer.status, json.loads(text)["detail"])
        return json.loads(text) if text else None

    def unless(self, status: int, *request: Any) -> Any:
        """The same; None when it is answered by this status, such as 409 for what is there already."""
        try:
            return self(*request)
        except Problem as problem:
            if problem.args[0] == status:
                return None
            raise


class Crm:
    """The database, and the reading of the journal into it."""

    def __init__(self, host: str, path: Path, database: Path, url: str) -> None:
        self.database, self.url = database, url
        self.heard, self.webhooks, self.fault = threading.Event(), 0, ""
        with closing(self.connect()) as db:
            db.executescript(TABLES)
        if not self.state("token"):  # nobody has one before the first: the operator makes it
            made = {"name": ORGANISATION, "domains": [USER.partition("@")[2]]}
            Api(lambda: Unix(path)).unless(409, "POST", "/organisations", made)
            operator = Api(lambda: Unix(path), **{"X-Mailrelay-Organisation": ORGANISATION})
            self.keep("token", operator("POST", "/tokens", {"name": "crm.py", "rights": ["admin"]})["secret"])
        bearer = f"Bearer {self.state('token')}"
        self.api = Api(lambda: http.client.HTTPConnection(host, timeout=60), Authorization=bearer)
        self.set_up()

    def connect(self) -> sqlite3.Connection:
        """A connection for one use; `with` it is a transaction."""
        db = sqlite3.connect(self.database, timeout=30)
        db.row_factory = sqlite3.Row
        return db

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """What a statement finds; what it changes is kept."""
        with closing(self.connect()) as db, db:
            return db.execute(sql, values).fetchall()

    def state(self, name: str) -> str:
        """What was kept by this name, "" for nothing."""
        return "".join(row["value"] for row in self.rows("select value from state where name = ?", name))

    def keep(self, name: str, value: str) -> None:
        """Keep it over a restart."""
        self.rows("insert or replace into state values (?, ?)", name, value)

    def set_up(self) -> None:
        """A user with a dropbox, contacts who agree to tracking, and the webhook; what is there already stays."""
        if not self.state("dropbox"):
            self.api.unless(409, "POST", "/users", {"name": "Anna Ames", "primary": USER})
            self.api("PATCH", "/organisation", {"settings": {"tracking": "individual"}})
            for id_, (name, address) in PEOPLE.items():
                contact = {"name": name, "owner": USER, "addresses": {"email": address}}
                self.api("PUT", f"/records/contact/{id_}", contact)
                self.api("PUT", f"/consents/{address}", {"given": True, "evidence": "they are examples"})
            self.keep("dropbox", self.api("POST", f"/users/{USER}/dropboxes")["address"])
        id_, url = self.state("webhook"), f"{self.url}/hooks"
        hook = self.api.unless(404, "GET", f"/webhooks/{id_}") if id_ else None
        if hook is None:
            made = self.api("POST", "/webhooks", {"url": url})
            self.keep("secret", made["secret"])
            self.keep("webhook", made["id"])
            return
        if hook["url"] != url:
            self.api("PATCH", f"/webhooks/{id_}", {"url": url})
        if not hook["active"]:  # it was switched off because we were away for days
            self.api("POST", f"/webhooks/{id_}/enable")

    def send(self, person: sqlite3.Row, subject: str, text: str, key: str) -> None:
        """Mail with tracking; the form's key makes a second click the same mail."""
        # [a word](https://…), since a link that shows a URL is not tracked: it would lead elsewhere than it says.
        linked = re.sub(r"\[([^\]]+)\]\((https?://[^\s)]+)\)", r'<a href="\2">\1</a>', escape(text))
        html = linked.replace("\n", "<br>\n")
        mail = {"from": f"Anna Ames <{USER}>", "to": [person["address"]], "subject": subject, "text": text}
        self.api("POST", "/messages", {**mail, "html": f"<p>{html}</p>", "tracking": "individual"}, key=key)

    def follow(self) -> None:
        """Read the journal: at the start, at each webhook, and now and then all the same."""
        while not self.fault:
            try:
                while events := self.api("GET", f"/events?after={self.state('cursor') or 0}&limit=500")["items"]:
                    self.apply(events)
                self.heard.wait(10)
                self.heard.clear()
            except (*AWAY, Problem) as error:
                print(f"mailrelay cannot be asked, trying again: {error}", flush=True)
                time.sleep(1)
            except LookupError as error:
                self.fault = str(error)

    def apply(self, events: list[Mapping[str, Any]]) -> None:
        """What they tell of is looked at as it is now, and kept in one transaction with how far we have read: each counts once."""
        cursor = int(self.state("cursor") or 0)
        for event in events:
            if event["seq"] != cursor + 1:  # numbers have no gaps, so this proves that nothing is missed
                raise LookupError(f"event {cursor + 1} is missing: {event['seq']} came in its place")
            cursor = event["seq"]
        about = {event["message"] for event in events} - {""}
        changed = {event["record"] for event in events if event["type"].startswith("record.")}
        moved = {event["data"]["address"].lower() for event in events if event["type"] in STOPS}
        mails = {id_: self.api.unless(404, "GET", f"/messages/{id_}") for id_ in about}
        records = {ref: self.api.unless(404, "GET", f"/records/{quote(ref)}") for ref in changed}
        stops = {address: self.api("GET", f"/suppressions/{quote(address)}")["items"] for address in moved}
        with closing(self.connect()) as db, db:
            for ref, record in records.items():
                keep_person(db, ref, record)
            for message, mail in mails.items():
                db.execute("delete from mail where message = ?", (message,))
                db.executemany("insert into mail values (?, ?, ?, ?, ?, ?)", lines(mail) if mail else ())
            for address, all_ in stops.items():
                why = {f"{one['reason']} {one['list']}".strip() for one in all_ if one["lifted_at"] is None}
                told = ", ".join(sorted(why)).replace("_", " ")
                db.execute("update person set stopped = ? where address = ?", (told, address))
            db.execute("insert or replace into state values ('cursor', ?)", (str(cursor),))


def keep_person(db: sqlite3.Connection, ref: str, record: Mapping[str, Any] | None) -> None:
    """A contact or lead as it is now: ours, or one that mailrelay made of somebody unknown who wrote."""
    if record is None:
        db.execute("delete from person where ref = ?", (ref,))
    elif ref.startswith(("contact/", "lead/")):
        address = next((one["address"].lower() for one in record["addresses"]), "")
        db.execute("insert or ignore into person (ref) values (?)", (ref,))
        db.execute("update person set name = ?, address = ? where ref = ?", (record["name"], address, ref))


def lines(mail: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    """A mail as a line for each record that it is on."""
    sender, to = (
        ", ".join(one["address"] for one in mail["participants"] if one["role"] == role) for role in ("from", "to")
    )
    status = [str(mail["status"] or "received").replace("_", " ")]
    for seen in filter(None, (delivery["engagement"] for delivery in mail["deliveries"])):
        if seen["opens"]:
            status.append(f"opened {seen['opens']}×, last at {seen['last_opened_at'][:16]}")
        status += [f"{link['url']} clicked {link['clicks']}×" for link in seen["links"] if link["clicks"]]
    for link in mail["links"]:
        if link["removed_at"] is None:
            at, who = mail["received_at"], f"{sender} → {to}"
            yield link["record"], mail["id"], at, who, mail["subject"], "; ".join(status)


def is_ours(secret: str, headers: Any, body: bytes) -> bool:
    """Whether a webhook is signed by our secret, and of now (Standard Webhooks)."""
    id_, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    ours = "v1," + base64.b64encode(hmac.digest(key, f"{id_}.{at}.".encode() + body, hashlib.sha256)).decode()
    given = headers.get("webhook-signature", "").split()
    is_now = at.isdecimal() and abs(time.time() - int(at)) < 300
    return is_now and any(hmac.compare_digest(ours.encode(), each.encode()) for each in given)


PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Tiny CRM</title>
<style>body { font: 16px system-ui; max-width: 55em; margin: 2em auto } td { padding: .2em 1em .2em 0 }</style>
<h1><a href="/">Tiny CRM</a></h1><ul id="notices"></ul><main>MAIN</main><hr><small>FOOT</small>
<script>
const notices = new EventSource("/notices");
for (const kind of ["wrote", "replied", "opened", "clicked", "bounced"]) notices.addEventListener(kind, async event => {
  const line = document.createElement("li");
  line.textContent = JSON.parse(event.data).sentence;
  document.getElementById("notices").prepend(line);
  const page = new DOMParser().parseFromString(await (await fetch(location)).text(), "text/html");
  document.getElementById("list").replaceWith(page.getElementById("list"));
});
</script>"""
SEND = """<form method="post" action="/send"><input type="hidden" name="key" value="KEY"><input type="hidden" name="ref" value="REF">
<p><input name="subject" placeholder="Subject" required>
<p><textarea name="text" rows="6" cols="60" placeholder="Hello. See [our offer](https://…)." required></textarea>
<p><button>Send</button></form>"""


def table(rows: Iterable[Iterable[str]]) -> str:
    """Cells, which are HTML already."""
    return f'<table id="list">{"".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) for row in rows)}</table>'


class Door(BaseHTTPRequestHandler):
    """The CRM's pages, its form, and where webhooks come to."""

    crm: Crm

    def do_GET(self) -> None:
        if not self.is_own():
            self.answer(403, "This CRM is for its own pages only")
        elif self.path == "/":
            people = self.crm.rows("select ref, name, address, stopped from person order by name")
            links = (f'<a href="/of/{quote(one["ref"])}">{escape(one["name"])}</a>' for one in people)
            self.show(table((link, *map(escape, one[2:])) for link, one in zip(links, people, strict=True)))
        elif self.path == "/notices":
            self.notices()
        elif found := self.crm.rows("select * from person where ref = ?", self.path.removeprefix("/of/")):
            self.person(found[0])
        else:
            self.answer(404, "There is no such page")

    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 1_000_000))
        if self.path == "/hooks":
            ours = is_ours(self.crm.state("secret"), self.headers, body)
            self.answer(204 if ours else 401)  # first; and one that comes twice or out of order does no harm
            self.crm.webhooks += ours
            self.crm.heard.set()
        elif not self.is_own() or self.path != "/send":
            self.answer(403, "This form is not ours")
        else:
            self.send({name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()})

    def is_own(self) -> bool:
        """Whether our own pages ask, and not another site in the same browser."""
        ours = urlsplit(self.crm.url).netloc
        return self.headers["Host"] == ours and self.headers.get("Origin") in (None, self.crm.url)

    def send(self, form: Mapping[str, str]) -> None:
        """Send what was written, and show the contact again."""
        try:
            (person,) = self.crm.rows("select * from person where ref = ?", form["ref"])
            self.crm.send(person, form["subject"], form["text"], form["key"])
        except Problem as problem:
            self.answer(*problem.args)
        except (KeyError, ValueError):
            self.answer(400, "Something is missing in this form, or there is no such contact")
        except AWAY as error:
            self.answer(503, f"mailrelay does not answer ({error}). Send the form again: it is sent once")
        else:
            self.answer(303, Location=f"/of/{quote(form['ref'])}")

    def person(self, person: sqlite3.Row) -> None:
        """A contact, the mail with them, and a form to write to them."""
        name, address, why = map(escape, (person["name"], person["address"], person["stopped"]))
        sql = "select substr(at, 1, 16), who, subject, status from mail where ref = ? order by at desc"
        timeline = table(map(escape, row) for row in self.crm.rows(sql, person["ref"]))
        write = SEND.replace("KEY", secrets.token_hex(8)).replace("REF", escape(person["ref"]))
        self.show(f"<h2>{name} &lt;{address}&gt; <em>{why}</em></h2>{timeline}{write}")

    def notices(self) -> None:
        """mailrelay's stream of Anna's notices, passed on: a browser should not have the token."""
        headers = {**self.crm.api.headers, "X-Mailrelay-User": USER}
        if last := self.headers.get("Last-Event-ID"):
            headers["Last-Event-ID"] = last
        # Either end may go; the browser comes again with the last id that it has, and misses nothing.
        with suppress(*AWAY), closing(self.crm.api.connect()) as connection:
            connection.request("GET", "/api/v1/notices/stream", headers=headers)
            stream = connection.getresponse()
            self.send_response(stream.status)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            while line := stream.readline():
                self.wfile.write(line)

    def show(self, main: str) -> None:
        """A page of ours."""
        read = self.crm.fault or f"Events 1 to {self.crm.state('cursor') or 0} are read, none is missing"
        foot = f"{read}. {self.crm.webhooks} webhooks came. Anna's dropbox is {self.crm.state('dropbox')}"
        self.answer(200, PAGE.replace("FOOT", escape(foot)).replace("MAIN", main), "text/html")

    def answer(self, status: int, text: str = "", kind: str = "text/plain", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": f"{kind}; charset=utf-8", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the parent's word)
        """Nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description="A tiny CRM on mailrelay.")
    parser.add_argument("--api", default="127.0.0.1:8025", help="host and port of mailrelay's API")
    parser.add_argument("--socket", type=Path, default=Path("data/mailrelay.sock"), help="to make the first token by")
    parser.add_argument("--port", type=int, default=8030)
    parser.add_argument("--database", type=Path, default=Path("crm.db"))
    given = parser.parse_args()
    os.umask(0o077)  # the database holds the token
    try:
        server = ThreadingHTTPServer(("127.0.0.1", given.port), Door)  # first, so that the first webhook is not refused
    except OSError as error:
        raise SystemExit(f"port {given.port} cannot be had ({error.strerror}): name another by --port") from None
    try:
        Door.crm = crm = Crm(given.api, given.socket, given.database, f"http://127.0.0.1:{given.port}")
    except Problem as problem:
        status, because = problem.args
        hint = f"; for another mailrelay than before, remove {given.database}" if status == 401 else ""
        raise SystemExit(f"mailrelay refuses: {because}{hint}") from None
    except AWAY as error:
        raise SystemExit(f"mailrelay does not run ({error}): start it with `make run`") from None
    threading.Thread(target=crm.follow, daemon=True).start()
    with server, suppress(KeyboardInterrupt):
        print(f"The CRM is at {crm.url}/ and Anna's dropbox is {crm.state('dropbox')}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
