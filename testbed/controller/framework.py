"""Ryu, or os-ken where Ryu cannot be installed: the names of either that our application uses, so that it is one file.

os-ken is a fork of Ryu with the same classes. Which of them is chosen before this module is imported, by the
environment variable `VARIABLE`; without it Ryu is taken if it is there.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from testbed.controller.app_setup import VARIABLE, available, package_of
from testbed.spec.experiment import FRAMEWORKS


def _prepare(framework: str) -> None:
    """Ryu 4.34 imports from eventlet what eventlet has had no more since 0.31: a mark that nobody returns."""
    if framework == "ryu":
        wsgi: Any = importlib.import_module("eventlet.wsgi")
        if not hasattr(wsgi, "ALREADY_HANDLED"):
            wsgi.ALREADY_HANDLED = object()


def _module(name: str) -> Any:  # noqa: ANN401  # untyped packages
    return importlib.import_module(f"{package_of(NAME)}.{name}")


NAME = os.environ.get(VARIABLE) or next(iter(available()), FRAMEWORKS[0])
_prepare(NAME)
app_manager = _module("base.app_manager")
controller = _module("controller.controller")
event = _module("controller.event")
handler = _module("controller.handler")
ofp_event = _module("controller.ofp_event")
ofproto = _module("ofproto.ofproto_v1_3")
parser = _module("ofproto.ofproto_v1_3_parser")
hub = _module("lib.hub")
packet = _module("lib.packet.packet")
ethernet = _module("lib.packet.ethernet")
lldp = _module("lib.packet.lldp")
OFP_HANDLER = f"{package_of(NAME)}.controller.ofp_handler"
App: Any = app_manager.RyuApp if NAME == "ryu" else app_manager.OSKenApp
