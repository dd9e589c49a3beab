"""`mailrelay practice webhook`: a receiver of webhooks on this machine, to see what a CRM is sent, and that it is ours (R6)."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

import click

from mailrelay.cli.show import plain
from mailrelay.cli.talk import EX_UNAVAILABLE, Failed
from mailrelay.webhook import sign

PORT = 8027
_LONGEST = 1_000_000
_TIMEOUT = 30


@click.command("webhook")
@click.option(
    "--secret", required=True, envvar="MAILRELAY_WEBHOOK_SECRET", help="The webhook's: what verifies each request."
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print each body that was verified, as it came.")
def command(secret: str, host: str, port: int, as_json: bool) -> None:
    """Take webhooks on this machine, verify each, and print what it says, until you stop it.

    The daemon sends none to a private address unless `webhooks.allow_private` and `allow_http` say so, as
    config/minimal.yaml does.

    Example: mailrelay practice webhook --secret whsec_…
    """
    try:
        sign.signature(secret, "", datetime.now(UTC), b"")
    except ValueError:
        raise click.UsageError("a secret is whsec_ and base64, as it was shown when the webhook was made") from None
    try:
        server = _Server(secret, host, port, as_json=as_json)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise Failed(f"{host}:{port} cannot be listened on: {why}; choose another --port", EX_UNAVAILABLE) from None
    with server:
        click.echo(f"Taking webhooks at http://{host}:{server.server_address[1]}/", err=as_json)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


class _Server(ThreadingTCPServer):
    # Not HTTPServer, which asks the DNS for this machine's name at each start.
    daemon_threads = True
    request_queue_size = 64
    allow_reuse_address = True

    def __init__(self, secret: str, host: str, port: int, *, as_json: bool) -> None:
        self.secret = secret
        self.as_json = as_json
        super().__init__((host, port), _Receiver)


class _Receiver(BaseHTTPRequestHandler):
    server: _Server
    timeout = _TIMEOUT

    def do_POST(self) -> None:
        """Answer 204 to what is signed by the secret, 401 to all else."""
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if not 0 <= length <= _LONGEST:
            self._answer(400)
            return
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not sign.verified(self.server.secret, headers, body, datetime.now(UTC)):
            click.echo("refused: not signed by this secret, or not of now", err=self.server.as_json)
            self._answer(401)
            return
        # Before the answer: the next call may be on its way as soon as this one is answered.
        click.echo(body.decode() if self.server.as_json else _line(json.loads(body)))
        self._answer(204)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the parent's word)
        """Nothing: what counts is printed."""

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _line(said: dict[str, Any]) -> str:
    """`message.filed  seq=9 message=M…`; nothing that has nothing in it."""
    told = {name: value for name, value in said["data"].items() if name not in ("at", "type", "data")}
    told |= said["data"].get("data", {})
    return "  ".join((plain(said["type"]), " ".join(f"{name}={plain(value)}" for name, value in told.items() if value)))
