"""`mailrelay backup`: a copy of everything while the daemon runs (R5, D14)."""

from __future__ import annotations

from pathlib import Path

import click

from mailrelay.cli import start
from mailrelay.cli.show import pairs
from mailrelay.cli.talk import EX_DATAERR, Failed, Talk, talks


@click.command("backup")
@click.argument("folder", type=click.Path(path_type=Path))
@talks
def command(talk: Talk, folder: Path) -> None:
    """Copy the data folder to the new FOLDER, consistent and checked, whether the daemon runs or not.

    It reads the files itself, so it needs the configuration, and the right to read the data folder. To restore, stop the daemon,
    put FOLDER in the place of the data folder, and start it: docs/operate/run.md says what happens to mail that left since.

    Exit status: 0 it is whole, 65 something is missing or damaged and nothing was kept, 78 the configuration is wrong.

    Example: mailrelay backup --config mailrelay.yaml /backup/2026-11-22
    """
    _, config = start.configuration(talk.config)

    from mailrelay.errors import MailrelayError
    from mailrelay.upkeep import backup

    try:
        made = backup.make(config.data, folder)
    except MailrelayError as error:
        raise Failed(str(error), exit_code=EX_DATAERR) from None
    said = {"folder": str(made.folder), "bodies": made.bodies, "bytes": made.size}
    talk.show(said, lambda: pairs(said.items()))
