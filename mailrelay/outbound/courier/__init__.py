"""Ways to deliver, one file each; `load` finds them by scanning this package (architecture §7)."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from mailrelay.config.schema import Route
from mailrelay.outbound.courier.base import Courier, Kit


def load(kit: Kit) -> Courier:
    """The courier of the configured route. Raises LookupError when no file declares it, or two do."""
    found: dict[Route, ModuleType] = {}
    for info in pkgutil.iter_modules(__path__, f"{__name__}."):
        module = importlib.import_module(info.name)
        route: Route | None = getattr(module, "ROUTE", None)
        if route is None:
            continue
        if route in found:
            raise LookupError(f"{info.name} and {found[route].__name__} both declare the route {route}")
        found[route] = module
    wanted = kit.settings.route
    if wanted not in found:
        raise LookupError(f"no courier declares the route {wanted}")
    courier: Courier = found[wanted].make(kit)
    return courier
