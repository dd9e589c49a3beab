"""What an operator sees of a running daemon: metrics, the log by queue id, health and readiness to the last moment, `check`."""

from __future__ import annotations

import json
import smtplib
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import PROGRAM, Daemon, daemon, until
from tests.support.peers import need
from tests.support.zone import dns_thread

pytestmark = pytest.mark.e2e

USER, CUSTOMER = "ben@example.org", "bob@bluebird.example"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with (
        dns_thread() as dns,
        daemon(tmp_path_factory.mktemp("relay"), {"dns": {"nameservers": [dns.address]}}) as running,
    ):
        yield running


def house(relay: Daemon) -> dict[str, str]:
    found: dict[str, str] = json.loads((relay.data / "sample.json").read_text())
    return found


def ask(relay: Daemon, path: str) -> tuple[int, dict[str, Any]]:
    """The status and JSON at a path of the operator's port."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{relay.ops}{path}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def lines(relay: Daemon) -> list[dict[str, Any]]:
    """The log; whatever is beside what `--sample` prints for people must be JSON."""
    before, _, rest = relay.log.partition("\nmailrelay listens on")
    _, _, after = rest.partition("mailrelay --help` shows everything else.\n")
    return [json.loads(line) for line in (before + after).splitlines() if line]


def send_in(relay: Daemon) -> str:
    """A mail through the dropbox; the queue id of the 250 reply."""
    arguments = ("--port", str(relay.edge), "--from", USER, "--to", CUSTOMER, "--dropbox", house(relay)["dropbox"])
    queue_id: str = relay.cli("practice", "send", *arguments)["queue_id"]
    until(lambda: relay.cli("message", "show", queue_id)["links"], "it is filed")
    return queue_id


def send_out(relay: Daemon) -> str:
    """A mail to somebody, to its end; its queue id."""
    queued = relay.cli("message", "send", "--from", USER, "--to", CUSTOMER, "--subject", "Hello", "--text", "Hi")
    until(lambda: relay.cli("queue", "show", queued["deliveries"][0]["id"])["state"] == "sent", "it is sent")
    return str(queued["queue_id"])


def test_promtool_likes_the_metrics_of_a_daemon_that_has_worked(relay: Daemon) -> None:
    send_in(relay)
    send_out(relay)
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.ops}/metrics", timeout=5) as answer:
        text = answer.read()
    done = subprocess.run(
        [need("promtool"), "check", "metrics"], input=text, capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    metrics = relay.metrics()
    assert metrics['mailrelay_unaccounted_messages{channel="dropbox"}'] == 0
    assert metrics['mailrelay_filing_arrivals_total{outcome="filed"}'] >= 1


def test_the_log_tells_a_mail_s_way_by_its_queue_id(relay: Daemon) -> None:
    received, sent = send_in(relay), send_out(relay)

    def way(queue_id: str) -> list[str]:
        return [line["event"] for line in lines(relay) if line.get("queue_id") == queue_id]

    assert way(received) == ["arrival.accepted", "message.filed", "arrival.ended"]
    until(lambda: "arrival.ended" in way(sent), "our own mail is filed too")
    there = way(sent)
    assert there[0] == "message.submitted"
    assert there.count("delivery.sent") == 1
    for line in lines(relay):
        if "message" in line or "delivery" in line:
            assert line.get("queue_id"), line


def test_alive_and_ready(relay: Daemon) -> None:
    status, alive = ask(relay, "/healthz")
    assert (status, alive["alive"]) == (200, True)
    status, ready = ask(relay, "/readyz")
    assert (status, ready["ready"]) == (200, True)
    assert all(part["ready"] for part in ready["parts"].values())


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "check", *arguments], capture_output=True, text=True, timeout=30, env={}, check=False
    )


def test_check_says_by_its_exit_status_what_is_wrong(relay: Daemon, tmp_path: Path) -> None:
    done = check("--config", str(relay.config))
    assert done.returncode == 0, done.stderr
    assert "The daemon is ready" in done.stdout
    bad = tmp_path / "bad.yaml"
    bad.write_text("data: here\ninbound:\n  max_sise: 12\n")
    done = check("--config", str(bad))
    assert done.returncode == 78, done.stderr
    assert "max_sise" in done.stderr
    assert "max_size" in done.stderr
    done = check("--ready", "--socket", str(tmp_path / "nobody.sock"))
    assert done.returncode == 69, done.stderr


def test_a_daemon_does_not_start_on_a_bad_configuration(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("listeners: [{kind: edge, port: 70000}]\n")
    done = subprocess.run(
        [PROGRAM, "run", "--config", bad], capture_output=True, text=True, timeout=30, env={}, check=False
    )
    assert done.returncode == 78, done.stderr
    assert "port" in done.stderr
    assert "Traceback" not in done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["bad.yaml"]


def test_while_it_stops_it_lives_is_not_ready_and_takes_the_mail_that_was_begun(tmp_path: Path) -> None:
    with daemon(tmp_path / "relay") as relay:
        with closing(smtplib.SMTP("127.0.0.1", relay.edge, local_hostname="client.test", timeout=20)) as client:
            client.ehlo()
            client.mail(USER)
            client.rcpt(house(relay)["dropbox"])
            assert client.docmd("DATA")[0] == 354
            assert relay.process is not None
            relay.process.terminate()

            def stopping() -> bool:
                status, said = ask(relay, "/readyz")
                return status == 503 and not said["parts"]["listeners"]["ready"]

            until(stopping, "it is not ready")
            status, said = ask(relay, "/readyz")
            assert (status, said["ready"]) == (503, False)
            assert said["parts"]["running"]["reason"] == "the daemon is stopping"
            assert said["parts"]["listeners"]["reason"] == "the listeners are not open"
            assert said["parts"]["store"]["ready"] is True
            assert ask(relay, "/healthz")[0] == 200
            with pytest.raises(ConnectionRefusedError):
                smtplib.SMTP("127.0.0.1", relay.edge, timeout=5)
            client.send(f"From: {USER}\r\nTo: {CUSTOMER}\r\nSubject: late\r\n\r\nHello\r\n.\r\n")
            code, text = client.getreply()
            assert (code, text.startswith(b"2.0.0 queued as Q")) == (250, True)
        assert relay.process.wait(20) == 0
        relay.process = None
        relay.start()
        until(
            lambda: [one for one in relay.cli("message", "list")["items"] if one["records"]],
            "what was taken last is filed",
        )
