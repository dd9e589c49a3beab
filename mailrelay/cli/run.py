"""`mailrelay run`: the daemon itself."""

from __future__ import annotations

from pathlib import Path

import click

from mailrelay.cli import start


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
    from mailrelay.cli.sample import ready
    from mailrelay.errors import ConfigError

    try:
        raise SystemExit(daemon.main(loaded, ready=ready if sample else None))
    except ConfigError as error:
        raise start.refused(error.errors) from None
