"""How commands talk to the daemon: its API over the Unix socket, with one clear line when that fails.

Nothing heavy is imported here: a command starts, asks and is done within a few hundred milliseconds.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote, urlencode

import click

from mailrelay.cli import start
from mailrelay.cli.show import plain

F = TypeVar("F", bound=Callable[..., Any])

# sysexits.h
EX_DATAERR, EX_NOINPUT, EX_UNAVAILABLE, EX_SOFTWARE, EX_TEMPFAIL, EX_NOPERM = 65, 66, 69, 70, 75, 77
_EXITS = {401: EX_NOPERM, 403: EX_NOPERM, 404: EX_NOINPUT, 500: EX_SOFTWARE, 503: EX_TEMPFAIL, 507: EX_TEMPFAIL}
_PREFIX = "/api/v1"
_ORGANISATION = "X-Mailrelay-Organisation"
_USER = "X-Mailrelay-User"
_TIMEOUT = 120
_PAGE = 1000
_BROKE_OFF = "the daemon broke off its answer; whether it did what was asked shows when you look"


class Failed(click.ClickException):
    """What went wrong in one line, and the exit status for it."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(plain(" ".join(sentence.split())))
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(f"mailrelay: {self.format_message()}", err=True)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, patience: float | None) -> None:
        super().__init__("mailrelay", timeout=patience)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Talk:
    """One command's conversation with the daemon, and its way to print."""

    def __init__(
        self, *, socket: Path | None, config: Path | None, organisation: str, as_json: bool, on_behalf_of: str = ""
    ) -> None:
        self.config = config
        self.on_behalf_of = on_behalf_of
        self.as_json = as_json
        self._socket = socket
        self._organisation = organisation

    def each(self) -> Iterator[_OfOne]:
        """A conversation about each organisation, where none is named, nor a user, and there are several; else nothing. Raises Failed."""
        found = [] if self._organisation or self.on_behalf_of else self.all("/organisations")
        if len(found) > 1:
            yield from (_OfOne(self, one) for one in found)

    @functools.cached_property
    def path(self) -> Path:
        """The daemon's Unix socket: as given, else of the configuration given, else where a daemon usually has it."""
        return self._socket or _where(self.config)

    def get(self, path: str, **query: object) -> Any:
        """The JSON at an API path. Raises Failed."""
        return self._json("GET", path, query)

    def post(self, path: str, body: object = None, **query: object) -> Any:
        """POST JSON; the JSON of the answer, None without one."""
        return self._json("POST", path, query, body)

    def put(self, path: str, body: object = None, **query: object) -> Any:
        """PUT JSON."""
        return self._json("PUT", path, query, body)

    def patch(self, path: str, body: object) -> Any:
        """PATCH with JSON."""
        return self._json("PATCH", path, {}, body)

    def delete(self, path: str, **query: object) -> Any:
        """DELETE."""
        return self._json("DELETE", path, query)

    def pages(self, path: str, limit: int, **query: object) -> dict[str, Any]:
        """Up to `limit` items of a paged list, as one page: `items`, and `next` where there are more."""
        items: list[Any] = []
        after: str | None = ""
        while len(items) < limit and after is not None:
            page = self.get(path, limit=min(_PAGE, limit - len(items)), after=after, **query)
            items += page["items"]
            after = page["next"]
        return {"items": items, "next": after}

    def all(self, path: str, **query: object) -> list[Any]:
        """Every item of a paged list."""
        items: list[Any] = []
        after: str | None = ""
        while after is not None:
            page = self.get(path, limit=_PAGE, after=after, **query)
            items += page["items"]
            after = page["next"]
        return items

    def raw(
        self,
        method: str,
        path: str,
        *,
        body: bytes | IO[bytes] | None = None,
        content_type: str = "",
        headers: Mapping[str, str] | None = None,
        prefix: str = _PREFIX,
        query: Mapping[str, object] | None = None,
        patience: float | None = _TIMEOUT,
    ) -> http.client.HTTPResponse:
        """An answer whose body is still to be read, whatever its status. Raises Failed when nobody answers."""
        sent = {"Connection": "close", **(headers or {})}
        if content_type:
            sent["Content-Type"] = content_type
        if self._organisation:
            sent[_ORGANISATION] = self._organisation
        if self.on_behalf_of:
            sent[_USER] = self.on_behalf_of
        given = {name: value for name, value in (query or {}).items() if value not in (None, "", ())}
        target = prefix + path + (f"?{urlencode(given, doseq=True, errors='replace')}" if given else "")
        connection = _UnixConnection(str(self.path), patience)
        try:
            return self._asked(connection, method, target, body, sent)
        finally:
            if connection.sock is not None:
                connection.sock.close()  # an answer keeps it open until it is read

    def _asked(
        self,
        connection: _UnixConnection,
        method: str,
        target: str,
        body: bytes | IO[bytes] | None,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        try:
            # Who refuses a body while it is sent has answered before it hung up.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body=body, headers=headers)
            return connection.getresponse()
        except (FileNotFoundError, ConnectionRefusedError):
            raise Failed(
                f"no daemon listens on {self.path}. Start one with `mailrelay run`, or say where it is: "
                "--socket, --config or MAILRELAY_SOCKET",
                EX_UNAVAILABLE,
            ) from None
        except ValueError:
            because = "a header cannot hold the name or key given here; of an organisation give the id"
            raise Failed(because, EX_DATAERR) from None
        except PermissionError:
            raise Failed(
                f"{self.path} is the operator's: run this as the user that the daemon runs as, or as root", EX_NOPERM
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise Failed(
                f"the daemon on {self.path} does not answer ({type(error).__name__}: {error})", EX_UNAVAILABLE
            ) from None

    def bytes(self, path: str) -> bytes:
        """The bytes at an API path. Raises Failed."""
        return _read(self.raw("GET", path))

    def lines(self, answer: http.client.HTTPResponse) -> Iterator[Any]:
        """The JSON lines of a streaming answer, as they come. Raises Failed for an error answer, or one that breaks off."""
        if answer.status >= 400:
            raise failure(answer)
        try:
            with answer:
                for line in answer:
                    yield json.loads(line)
        except (OSError, http.client.HTTPException, ValueError):
            raise Failed(_BROKE_OFF, EX_TEMPFAIL) from None

    def show(self, value: object, human: Callable[[], str]) -> None:
        """Print what a command found: as JSON where that was asked for, else for people."""
        click.echo(json.dumps(value, indent=2) if self.as_json else human())

    def _json(self, method: str, path: str, query: Mapping[str, object], body: object = None) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        answer = self.raw(method, path, body=sent, content_type="application/json" if sent else "", query=query)
        data = _read(answer)
        return decoded(data) if data else None


class _OfOne(Talk):
    """The conversation about one of several organisations: what it prints stands under its name, and an empty list is not printed."""

    def __init__(self, talk: Talk, organisation: Mapping[str, Any]) -> None:
        super().__init__(
            socket=talk.path,
            config=talk.config,
            organisation=organisation["id"],
            as_json=talk.as_json,
            on_behalf_of=talk.on_behalf_of,
        )
        self._name = f"{organisation['name']} ({organisation['id']})"
        self.printed = False

    def show(self, value: object, human: Callable[[], str]) -> None:
        """The same under the organisation's name; of JSON one value for each."""
        if self.as_json:
            super().show({"organisation": self._organisation, "found": value}, human)
        elif not isinstance(value, dict) or value.get("items") != []:
            self.printed = True
            click.echo(f"{plain(self._name)}\n{human()}\n")


def _read(answer: http.client.HTTPResponse) -> bytes:
    """The whole body. Raises Failed for an error answer, or one that breaks off."""
    if answer.status >= 400:
        raise failure(answer)
    try:
        with answer:
            return answer.read()
    except (OSError, http.client.HTTPException):
        raise Failed(_BROKE_OFF, EX_TEMPFAIL) from None


def decoded(data: bytes) -> Any:
    """The JSON of an answer. Raises Failed for what is none."""
    try:
        return json.loads(data)
    except ValueError:
        raise Failed(
            "what answers there is no mailrelay of this version: it does not speak JSON", EX_UNAVAILABLE
        ) from None


def failure(answer: http.client.HTTPResponse) -> Failed:
    """An error answer as one line."""
    try:
        with answer:
            said = str(json.loads(answer.read())["detail"])
        # What the header is called is nothing that a person has written.
        sentence = said.replace(_ORGANISATION, "--organisation").replace(_USER, "--as")
        if said.startswith(_ORGANISATION):
            sentence += "; MAILRELAY_ORGANISATION in the environment says it once for all commands"
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        sentence = f"the daemon answered {answer.status} {answer.reason}"
    return Failed(sentence, _EXITS.get(answer.status, EX_DATAERR))


def part(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="@", errors="replace")


def talks(command: F) -> F:
    """Give a command its `talk`, and the options that every command has."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @click.option(
        "--socket", type=click.Path(path_type=Path), envvar="MAILRELAY_SOCKET", help="The daemon's Unix socket."
    )
    @click.option(
        "--config", type=click.Path(path_type=Path), envvar="MAILRELAY_CONFIG", help="Take the socket from this file."
    )
    @click.option(
        "--organisation", default="", envvar="MAILRELAY_ORGANISATION", help="Name or id, where there are several."
    )
    @click.option("--as", "on_behalf_of", default="", help="See and do only what this user may, by id or address.")
    @functools.wraps(command)
    def with_talk(
        as_json: bool, socket: Path | None, config: Path | None, organisation: str, on_behalf_of: str, **given: Any
    ) -> Any:
        talk = Talk(socket=socket, config=config, organisation=organisation, as_json=as_json, on_behalf_of=on_behalf_of)
        return command(talk, **given)

    return with_talk  # type: ignore[return-value]  # click's decorators keep what they wrap


def look(talk: Talk, at: Callable[[Talk], object]) -> None:
    """Do what only looks: where there are several organisations and none is named, at each of them."""
    told = [(at(one), one.printed)[1] for one in talk.each()]
    if not told:
        at(talk)
    elif not any(told) and not talk.as_json:
        click.echo("Nothing, in any organisation.")


def looks(command: F) -> F:
    """`talks` for a command that only looks."""

    @talks
    @functools.wraps(command)
    def with_each(talk: Talk, **given: Any) -> None:
        look(talk, lambda one: command(one, **given))

    return with_each  # type: ignore[return-value]  # click's decorators keep what they wrap


def _where(config: Path | None) -> Path:
    here = Path("data/mailrelay.sock")
    usual = config or start.usual()
    # A ./mailrelay.yaml speaks for this folder; a file in /etc does not, when a daemon has its data here.
    if usual is None or (usual.is_absolute() and config is None and here.exists()):
        return here
    # Only here is the configuration read: that takes longer than all the rest.
    _, loaded = start.configuration(config)
    return loaded.http.socket or loaded.data / here.name
