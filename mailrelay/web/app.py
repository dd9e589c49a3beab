"""Assembly of the API: every module of `web.api`, our errors, our JSON."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

import mailrelay
from mailrelay.errors import MailrelayError
from mailrelay.web import api, once, problem
from mailrelay.web.application import APPLICATION, Application
from mailrelay.web.description import describe
from mailrelay.web.docs import pages
from mailrelay.web.once import PREFIX

_PROBLEM = {
    "description": "What is wrong.",
    "content": {problem.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_ERRORS: dict[int | str, dict[str, Any]] = {422: _PROBLEM, "4XX": _PROBLEM, "5XX": _PROBLEM}
"""Also of operations to come; `description` adds which statuses each operation has."""


def build(application: Application) -> ASGIApp:
    """The API of one daemon as an ASGI application; its description is at /api/v1/openapi.json."""
    app = _assembled()

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, APPLICATION: application}, receive, send)

    return serve


@functools.cache
def _assembled() -> FastAPI:
    # Once in a process: FastAPI reads each route anew for each application, which takes a second.
    app = FastAPI(
        title="mailrelay",
        version=mailrelay.__version__,
        description=(
            "Mail in, onto its records; mail out, signed, from a durable queue. Errors are RFC 9457 problems. "
            "On the daemon's Unix socket no token is needed: whoever can open it is the operator."
        ),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=_ERRORS,
    )
    routes: list[BaseRoute] = []
    for found in sorted(pkgutil.iter_modules(api.__path__), key=lambda one: one.name):
        module = importlib.import_module(f"{api.__name__}.{found.name}")
        if hasattr(module, "router"):
            app.include_router(module.router, prefix=PREFIX)
            routes += module.router.routes
    app.add_exception_handler(MailrelayError, problem.on_mailrelay_error)
    app.add_exception_handler(once.Replayed, once.on_replayed)
    app.add_exception_handler(HTTPException, problem.on_http_error)
    app.add_exception_handler(Exception, problem.on_bug)
    app.add_exception_handler(RequestValidationError, problem.on_invalid_request)
    app.openapi = functools.cache(lambda: describe(app, routes))  # type: ignore[method-assign]  # FastAPI's own way to change it
    app.router.routes += pages.routes(app.openapi)
    return app
