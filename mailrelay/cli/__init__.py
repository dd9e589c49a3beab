"""The command line: `mailrelay run` is the daemon, everything else asks it over its Unix socket.

A group's module is imported when one of its commands is used, so that each starts fast.
"""

from __future__ import annotations

import importlib

import click

_COMMANDS = {
    "absence": "Who is away until when, or gone.",
    "address": "What is known of an address: why somebody gets no mail.",
    "attachment": "Files of mail and of records, and what they take.",
    "audit": "Compare what was accepted with what ended and what is in flight.",
    "backup": "Copy everything to a new folder while the daemon runs.",
    "check": "Check a configuration file, or whether the daemon is ready.",
    "domain": "Mail domains, their DKIM keys and the lines to publish.",
    "dropbox": "Users' secret addresses.",
    "event": "The journal of everything that happened.",
    "exclusion": "Addresses and domains that are never matched.",
    "find": "Records by what became of their mail, and by their fields.",
    "mailing-list": "What mass mail is about, so that people can leave one list.",
    "message": "Messages and where they were filed.",
    "module": "Kinds of record and their address fields.",
    "notice": "What users hear of at once: who wrote, replied, opened, and what came back.",
    "organisation": "Organisations of this installation and their settings.",
    "organisation-address": "Shared addresses, such as support@.",
    "practice": "Try the daemon out: send it a mail by SMTP, receive its webhooks.",
    "queue": "Mail on its way out.",
    "quota": "What the organisation may still send today.",
    "rate": "Bounces, complaints and unsubscriptions of jobs and domains.",
    "record": "Records of the CRM, one by one or by file.",
    "record-address": "Addresses of records: mail to one is filed on its record.",
    "route": "What would happen to a mail to an address now, and why.",
    "rules": "The rules that file mail, and what they would do today.",
    "run": "Start the daemon.",
    "schedule": "Mail that goes at a time.",
    "sharing": "Who sees whose mail.",
    "shaping": "How much goes to each site now, and what it said.",
    "smart-host": "Servers of users and domains that take their mail from us.",
    "smtp": "Talk to another mail server, and watch.",
    "suppression": "Addresses that must not be sent to.",
    "suspension": "Mail that is held: of jobs and domains, to destinations, by sources.",
    "tls": "Encryption towards other mail servers.",
    "token": "Tokens of the HTTP API.",
    "tracking": "What recipients did with mail, and their consent.",
    "unresolved": "Mail that could not be filed and waits for a person.",
    "unsubscription": "Who wants no more mail, of a list or at all.",
    "user": "People, their addresses and submission passwords.",
    "webhook": "URLs that events are sent to.",
}
"""Name → one sentence; the command is the attribute `command` of `mailrelay.cli.<name>`, with _ for -."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"mailrelay.cli.{name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mailrelay", prog_name="mailrelay", message="%(prog)s %(version)s")
def cli() -> None:
    """The mail pipeline that a CRM stands on.

    Start with `mailrelay run --sample`. Commands find the daemon by MAILRELAY_SOCKET or data/mailrelay.sock, or by their own
    --socket or --config, which stand behind them: `mailrelay queue list --socket PATH`. Where there are several organisations,
    MAILRELAY_ORGANISATION or --organisation says which. Every command takes --json.
    """


def main() -> None:
    """The entry point of `mailrelay` and `python -m mailrelay`."""
    cli(prog_name="mailrelay")
