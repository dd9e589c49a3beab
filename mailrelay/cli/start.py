"""Which configuration a command goes by: the one named, else the first that is in a usual place, else the defaults."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mailrelay.config.schema import Config

EX_CONFIG = 78
USUAL = (Path("mailrelay.yaml"), Path("/etc/mailrelay/mailrelay.yaml"))


def usual() -> Path | None:
    """The configuration file in a usual place, None without one."""
    return next((path for path in USUAL if path.is_file()), None)


def configuration(given: Path | None) -> tuple[str, Config]:
    """What the configuration is called, and what it says; of the defaults the data folder is ./data.

    Prints every fault on a line of its own and ends the command with EX_CONFIG.
    """
    from mailrelay.config.load import load, loads
    from mailrelay.errors import ConfigError

    path = given or usual()
    try:
        if path is None:
            return "built-in defaults", loads("", "defaults", folder=Path.cwd(), environ=os.environ)
        return str(path), load(path, environ=os.environ)
    except ConfigError as error:
        raise refused(error.errors) from None


def refused(errors: tuple[str, ...]) -> SystemExit:
    """The end of a command whose configuration is wrong, once each fault is printed."""
    for line in errors:
        click.echo(line, err=True)
    return SystemExit(EX_CONFIG)
