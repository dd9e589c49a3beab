"""`mailrelay find`: records by their mail and their fields (K2)."""

from __future__ import annotations

import re
from typing import Any

import click

from mailrelay.cli.show import plain, table, when
from mailrelay.cli.talk import Failed, Talk, looks

_COLUMN = re.compile(r"q: column (\d+): (.*)", re.DOTALL)
_PAGE = 1000
_REBUILD = "rebuild"
_WORDS = "words"


@click.command("find")
@click.argument("question", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many, by id.")
@click.option("--explain", is_flag=True, help="Say how they were found, too.")
@looks
def command(talk: Talk, question: tuple[str, ...], limit: int, explain: bool) -> None:
    """Find records by what became of their mail, and by their fields.

    QUESTION is a module, `where`, and conditions; docs/find.md has the language. Put it into quotation marks, or the shell takes
    < and > for itself. `mailrelay find words` lists what can be said; `mailrelay find rebuild` makes what is looked at anew.

    Example: mailrelay find 'contacts where opened within 3 days and not replied'
    """
    said = " ".join(question)
    if said == _WORDS:
        _tell_words(talk)
    elif said == _REBUILD:
        _rebuild(talk)
    else:
        _find(talk, said, limit, explain=explain)


def _find(talk: Talk, said: str, limit: int, *, explain: bool) -> None:
    items: list[Any] = []
    after: str | None = ""
    page: dict[str, Any] = {}
    try:
        while len(items) < limit and after is not None:
            asked = {"q": said, "after": after, "limit": min(_PAGE, limit - len(items)), "explain": explain}
            page = talk.post("/find", asked)
            items += page["items"]
            after = page["next"]
    except Failed as error:
        raise _pointed(error, said) from None
    found = {"items": items, "next": after, "as_of": page["as_of"], "explained": page["explained"]}
    talk.show(found, lambda: "\n".join(_told(found)))


def _pointed(error: Failed, said: str) -> Failed:
    """The error with a caret under the column that it is about."""
    found = _COLUMN.search(error.message)
    if found is None:
        return error
    # The shell's line may hold tabs and line ends; each is one column here.
    line = "".join(" " if one.isspace() else one for one in said)
    click.echo(plain(line), err=True)
    click.echo(" " * (int(found[1]) - 1) + "^", err=True)
    return error


def _told(found: dict[str, Any]) -> list[str]:
    rows = (
        (one["record"], one["name"], "" if one["at"] is None else when(one["at"]), one["message"] or "")
        for one in found["items"]
    )
    told = [table(rows, "RECORD", "NAME", "MAIL OF", "MESSAGE") or "No record is like that."]
    if found["next"] is not None:
        told.append("There may be more: ask for them with --limit.")
    if found["explained"]:
        told.append(f"mailrelay {found['explained']}; as of {when(found['as_of'])}.")
    return told


def _tell_words(talk: Talk) -> None:
    found = talk.get("/find/words")
    mail = [(one["word"], " ".join(one["synonyms"]), one["means"]) for one in found["words"]]
    fields = [
        (kind["name"], place["name"], place["type"], " ".join(place["aliases"]))
        for kind in found["modules"]
        for place in kind["fields"]
    ]
    talk.show(
        found,
        lambda: "\n\n".join(
            (
                table(mail, "WORD", "ALSO", "OF A MAIL"),
                table(fields, "MODULE", "FIELD", "TYPE", "ALSO"),
                *found["times"],
            )
        ),
    )


def _rebuild(talk: Talk) -> None:
    last: dict[str, Any] = {}
    for line in talk.lines(talk.raw("POST", "/find/rebuild", patience=None)):
        last = line
    if not last.get("done"):
        because = plain(last.get("error", "the daemon broke off"))
        raise Failed(f"it was not all made anew: {because}. To begin again is safe", 75)
    talk.show(last, lambda: "What records are found by was made anew.")
