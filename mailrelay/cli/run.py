"""`mailrelay run`: the daemon itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mailrelay.cli import start
from mailrelay.cli.talk import EX_UNAVAILABLE, Failed

if TYPE_CHECKING:
    from mailrelay.daemon import Ready


@click.command("run")
@click.option("--config", type=click.Path(path_type=Path), envvar="MAILRELAY_CONFIG", help="The configuration file.")
@click.option("--sample", is_flag=True, help="Make a sample organisation where there is none, and print what to try.")
def command(config: Path | None, sample: bool) -> None:
    """Start the daemon and stay until SIGTERM or Ctrl-C; SIGHUP reads the certificate again.

    Without --config it goes by ./mailrelay.yaml, else /etc/mailrelay/mailrelay.yaml, else the built-in defaults with
    everything in ./data, on loopback ports, and nothing leaves the machine. Exit status: 0 stopped, 1 had to stop,
    78 the configuration is wrong.

    Example: mailrelay run --config mailrelay.yaml
    """
    _, loaded = start.configuration(config)

    # The daemon and all it stands on, imported only here.
    from mailrelay import daemon
    from mailrelay.errors import ConfigError

    try:
        raise SystemExit(daemon.main(loaded, ready=_sample() if sample else None))
    except ConfigError as error:
        raise start.refused(error.errors) from None


def _sample() -> Ready:
    """What makes the sample organisation, once everything listens."""
    import importlib

    try:
        ready: Ready = importlib.import_module("mailrelay.cli.sample").ready
    except ModuleNotFoundError:
        raise Failed("this build has no sample organisation; leave --sample out", EX_UNAVAILABLE) from None
    return ready
