"""`mailrelay run`: the daemon itself."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mailrelay.cli import start

if TYPE_CHECKING:
    from mailrelay.daemon import Running

_SELDOM = 100_000
"""Of new objects, while the daemon is put together: nearly all that is made then stays, and looking for garbage in it takes a
sixth of the start. Python's own is 700."""


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

    usual = gc.get_threshold()
    gc.set_threshold(_SELDOM)

    # The daemon and all it stands on, imported only here.
    from mailrelay import daemon
    from mailrelay.cli.sample import ready
    from mailrelay.errors import ConfigError

    async def started(running: Running) -> None:
        gc.freeze()  # what there is now is never garbage, and need not be looked through while mail waits
        gc.set_threshold(*usual)
        if sample:
            await ready(running)

    try:
        raise SystemExit(daemon.main(loaded, ready=started))
    except ConfigError as error:
        raise start.refused(error.errors) from None
    finally:
        gc.freeze()  # nor is what is left at the end: all of it goes with the process
