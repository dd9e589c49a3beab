"""`mailrelay check`: whether the configuration is right and the daemon ready; the first command at three in the morning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mailrelay.cli import start
from mailrelay.cli.show import pairs, table
from mailrelay.cli.talk import EX_TEMPFAIL, EX_UNAVAILABLE, Failed, Talk, decoded, failure, talks

if TYPE_CHECKING:
    from mailrelay.config.schema import Config


@click.command("check")
@click.option("--ready", is_flag=True, help="Ask the daemon only, whether it can do its work.")
@talks
def command(talk: Talk, ready: bool) -> None:
    """Check the configuration, and ask the daemon that runs on it whether it is ready.

    Exit status: 0 all is well, 69 nobody answers (with --ready), 75 not ready, 78 the configuration is wrong.

    Examples: mailrelay check --config mailrelay.yaml; mailrelay check --ready
    """
    said: dict[str, Any] = {}
    lines: list[str] = []
    if not ready:
        name, config = start.configuration(talk.config)
        warnings = _warnings(config)
        said["configuration"] = {"name": name, "valid": True, "warnings": warnings}
        lines += [f"The configuration is right ({name}).", _told(config), *warnings]
    try:
        state = readiness(talk)
    except Failed as nobody:
        if ready or nobody.exit_code != EX_UNAVAILABLE:
            raise
        said["daemon"] = None
        lines.append(f"No daemon runs on it now: nobody listens on {talk.path}.")
        state = {"ready": True, "parts": {}}
    else:
        said["daemon"] = state
        parts = [(name, "ready" if one["ready"] else one["reason"]) for name, one in state["parts"].items()]
        lines += [
            "The daemon is ready." if state["ready"] else "The daemon is NOT ready.",
            table(parts, "PART", "STATE"),
        ]
    talk.show(said["daemon"] if ready else said, lambda: "\n".join(lines))
    if not state["ready"]:
        raise SystemExit(EX_TEMPFAIL)


def readiness(talk: Talk) -> Any:
    """What /readyz says: `ready`, and `parts` with the reason of each that is not. Raises Failed when nobody answers."""
    answer = talk.raw("GET", "/readyz", prefix="")
    if answer.status not in (200, 503):
        raise failure(answer)
    with answer:
        return decoded(answer.read())


def _warnings(config: Config) -> list[str]:
    """What works as it stands, and not as it could."""
    if not config.public.url.startswith("https://"):
        because = (
            "without https nobody unsubscribes from mass mail by one click (RFC 8058), only by the page and by mail."
        )
        return [f"public.url is {config.public.url}: {because}"]
    if not config.public.trusted_proxies:
        # The door speaks no TLS itself, so there is a proxy.
        return ["public.trusted_proxies is empty: behind a proxy all readers are taken for one (docs/operate/run.md)."]
    return []


def _told(config: Config) -> str:
    route = {
        "catch_all": "stays on this machine, in " + str(config.delivery.catch_all or config.data / "sent"),
        "smart_host": "goes to " + (config.delivery.smart_host.host if config.delivery.smart_host else ""),
        "mx": "goes to the recipients' own servers",
    }
    return pairs(
        [
            ("data", config.data),
            *((str(one.kind), f"{one.host}:{one.port}") for one in config.listeners),
            ("API", f"{config.http.host}:{config.http.port}"),
            ("metrics", f"{config.http.ops_host}:{config.http.ops_port}"),
            ("public", f"{config.public.host}:{config.public.port}, as {config.public.url}"),
            ("outgoing mail", route[config.delivery.route]),
        ],
        indent=2,
    )
