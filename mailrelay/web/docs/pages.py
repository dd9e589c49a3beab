"""The pages: an index, one for each tag, and what is at `/`. Nothing on them comes from elsewhere, and nothing runs."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from mailrelay.web.docs.reading import Group, groups
from mailrelay.web.once import PREFIX


def routes(description: Callable[[], dict[str, Any]]) -> list[BaseRoute]:
    """The routes of the pages and of the description, which is made at the first look."""
    pages = _Pages(description)
    return [
        Route("/", pages.root),
        Route(f"{PREFIX}/openapi.json", pages.described),
        Route(f"{PREFIX}/docs", pages.index),
        Route(f"{PREFIX}/docs/{{group}}", pages.group),
    ]


class _Pages:
    def __init__(self, description: Callable[[], dict[str, Any]]) -> None:
        self._description = description
        self._groups: tuple[Group, ...] = ()

    async def root(self, request: Request) -> Response:
        """Where things are."""
        where = {"name": "mailrelay", "api": PREFIX, "docs": f"{PREFIX}/docs", "openapi": f"{PREFIX}/openapi.json"}
        return JSONResponse(where)

    async def described(self, request: Request) -> Response:
        """The description itself."""
        await asyncio.to_thread(self._read)
        return JSONResponse(self._description())

    async def index(self, request: Request) -> Response:
        """The start page."""
        found = await asyncio.to_thread(self._read)
        return self._shown("index.html", groups=found, version=self._description()["info"]["version"])

    async def group(self, request: Request) -> Response:
        """The operations of one tag."""
        slug = request.path_params["group"]
        for one in await asyncio.to_thread(self._read):
            if one.slug == slug:
                return self._shown("group.html", group=one)
        raise HTTPException(404)

    def _read(self) -> tuple[Group, ...]:
        """Read once; that takes a second, so beside the event loop."""
        if not self._groups:
            self._groups = groups(self._description())
        return self._groups

    @functools.cached_property
    def _templates(self) -> Environment:
        return Environment(
            loader=PackageLoader("mailrelay.web.docs"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    @functools.cached_property
    def _style(self) -> str:
        loader = self._templates.loader
        assert loader is not None  # noqa: S101 (given above)
        return loader.get_source(self._templates, "style.css")[0].strip()

    def _shown(self, template: str, **given: object) -> Response:
        style = self._style
        page = self._templates.get_template(template).render(style=Markup(style), root=PREFIX, **given)  # noqa: S704 (our own file)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
        }
        return HTMLResponse(page, headers=headers)
