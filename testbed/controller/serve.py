"""The controller's process: `python -m testbed.controller.serve --framework ryu --app PATH --config FILE`.

It talks to the testbed by lines of JSON on standard input and output:

    out  {"ready": true, "fabric": true}          it listens; `fabric`: the application is a `FabricApp`
    in   {"settle": 1, "down": {"s1": [3]}}       these ports have no carrier now
    out  {"settled": 1, "changed": ["s1"]}        it knows, and all switches have the tables for it; those of `changed`
                                                  have been sent something since the last such line
    in   {"discover": true}
    out  {"discovering": 24}, {"link": ["l1", 5, "s1", 1]}, ...
    out  {"error": "..."}                         a switch has refused a message

It ends when its standard input does.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testbed.controller.app_setup import VARIABLE, Setup
from testbed.spec.codec import from_dict
from testbed.spec.experiment import FRAMEWORKS

OUR_APP = "testbed.controller.app"


def main(arguments: list[str]) -> int:
    """Run the application until standard input ends."""
    options = _parser().parse_args(arguments)
    os.environ[VARIABLE] = options.framework  # `framework` chooses when it is imported
    from testbed.controller import framework as fw

    fw.hub.patch()
    from testbed.controller import app as ours

    manager = fw.app_manager.AppManager.get_instance()
    ours.FabricApp.setup = from_dict(Setup, json.loads(Path(options.config).read_text(encoding="utf-8")))
    manager.load_apps([options.app or OUR_APP, fw.OFP_HANDLER])
    if options.app and options.app not in manager.applications_cls:
        print(f"{options.app} has no application: no class derived from RyuApp or FabricApp", file=sys.stderr)
        return 2
    manager.instantiate_apps(**manager.create_contexts())
    for descriptor in options.listening:
        fw.hub.spawn(_accept, fw, socket.socket(fileno=descriptor))
    found = [app for app in manager.applications.values() if isinstance(app, ours.FabricApp)]
    ours.emit({"ready": True, "fabric": bool(found)})
    for request in _requests():
        for application in found:
            application.send_event(application.name, ours.EventRequest(request))
    os._exit(0)  # the threads of the framework do not end by themselves


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="serve")
    parser.add_argument("--framework", choices=FRAMEWORKS, required=True)
    parser.add_argument("--app", default="", help="a user's application; ours by default")
    parser.add_argument(
        "--listening",
        type=int,
        nargs="*",
        default=[],
        help="descriptors of sockets on which switches call, too",
    )
    parser.add_argument("--config", required=True, help="a Setup as JSON")
    return parser


def _accept(fw: Any, listener: socket.socket) -> None:  # noqa: ANN401
    """Serve the switches that call on a socket in another network namespace."""
    while True:
        fw.hub.spawn(fw.controller.datapath_connection_factory, *listener.accept())


def _requests() -> Iterator[dict[str, Any]]:
    """The lines of standard input, while other green threads go on."""
    text = b""
    while chunk := os.read(0, 1 << 16):
        *lines, text = (text + chunk).split(b"\n")
        yield from map(json.loads, lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
