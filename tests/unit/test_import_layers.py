"""Data flows one way, so imports do too: each room may import only the rooms named for it here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

BASE = frozenset({"testbed", "testbed.errors", "testbed.units", "testbed.registry"})
SPEC = BASE | {"testbed.spec"}
MODELS = SPEC | {"testbed.links", "testbed.switches", "nic_emulator"}
FABRIC_PLAN = MODELS | {"topologies", "testbed.controller"}
ENGINE = FABRIC_PLAN | {"testbed.engine"}
CONTROL = frozenset({"nic_emulator.control", "nic_emulator.control.nics"})
CONTROLLER_APP = frozenset(f"testbed.controller.{name}" for name in ("framework", "openflow", "app", "serve"))
ANALYSIS = SPEC | {"testbed.analysis"}
STORE = frozenset(
    {
        "testbed.run.store",
        "testbed.run.files",
        "testbed.run.ownership",
        "testbed.run.cell_files",
        "testbed.run.telemetry_files",
        "testbed.run.metadata",
    }
)
REPORT = MODELS | STORE | {"testbed.analysis", "testbed.report"}
# What /proc tells; it imports nothing, and whoever starts processes needs it.
PROCESSES = frozenset({"testbed.process_table"})
COMMIT = frozenset({"testbed.commit"})
VM = BASE | PROCESSES | COMMIT | {"testbed.vm", "testbed.vm.target", "testbed.vm.ssh"}

# A room may always import itself. What is not named here is no room.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "testbed": frozenset(),
    "testbed.errors": frozenset(),
    "testbed.process_table": frozenset(),
    "testbed.commit": frozenset(),
    "testbed.units": BASE,
    "testbed.registry": BASE,
    "testbed.spec": BASE,
    "testbed.links": SPEC,
    "testbed.switches": SPEC,
    "nic_emulator": SPEC,
    "topologies": SPEC | {"testbed.links"},
    "testbed.controller": SPEC | {"testbed.switches"},
    # What runs in the controller's process, on Ryu or os-ken.
    **dict.fromkeys(CONTROLLER_APP, SPEC | CONTROLLER_APP | {"testbed.controller"}),
    "testbed.engine": FABRIC_PLAN,
    # The processes and their control plane; the rest of the room is what they emulate.
    "nic_emulator.control": BASE,
    "nic_emulator.control.nics": ENGINE | CONTROL,
    "nic_emulator.control.local": ENGINE | CONTROL,
    "nic_emulator.host_agent_main": BASE | CONTROL,
    "nic_emulator.process_main": ENGINE | CONTROL,
    "testbed.fabric": ENGINE | PROCESSES,
    "testbed.analysis": SPEC,
    # Saved results, as they lie on disk: a room of its own inside the run's, so that reports can read them.
    **dict.fromkeys(STORE, ANALYSIS | STORE | COMMIT),
    "testbed.report": MODELS | ANALYSIS | STORE,
    "testbed.run": ENGINE | CONTROL | {"testbed.fabric"} | REPORT,
    # What drives other machines; the agent runs on them, by itself.
    "testbed.vm.target": BASE,
    "testbed.vm.ssh": BASE | {"testbed.vm.target"},
    # The rules of what it sends are those by which the other side looks.
    "testbed.vm": VM | {"testbed.run.files", "testbed.vm.agent"},
    "testbed.vm.agent": frozenset(),
    "testbed.vm.runs": ENGINE | VM | {"testbed.run"} | REPORT,
    "testbed.validate": ENGINE | {"testbed.fabric", "testbed.run"} | ANALYSIS,
    "testbed.cli": ENGINE
    | VM
    | {"testbed.fabric", "testbed.run", "testbed.validate", "testbed.vm.runs"}
    | REPORT,
    "experiments": SPEC,
    "experiments.controllers": SPEC | CONTROLLER_APP | {"testbed.controller"},
}

# Only these rooms may import these packages.
KEPT_TO: dict[str, frozenset[str]] = {
    "mininet": frozenset({"testbed.fabric"}),
    "ovs": frozenset({"testbed.controller"}),
    "ryu": frozenset(),
    "os_ken": frozenset(),
    "eventlet": frozenset(),
    "matplotlib": frozenset({"testbed.report"}),
    "prometheus_client": frozenset({"testbed.report"}),
    "paramiko": frozenset({"testbed.vm.ssh"}),
    "typer": frozenset({"testbed.cli"}),
    "rich": frozenset({"testbed.cli", "testbed.report"}),
    "pyarrow": STORE | {"testbed.analysis", "testbed.run", "testbed.report"},
}
# These rooms are values and arithmetic: no files, sockets, processes, clocks or chance.
PURE = (
    "testbed.errors",
    "testbed.units",
    "testbed.registry",
    "testbed.spec",
    "testbed.links",
    "testbed.switches",
)
PURE += ("topologies", "testbed.controller")
IMPURE_MODULES = {
    "os",
    "socket",
    "subprocess",
    "pathlib",
    "tempfile",
    "shutil",
    "time",
    "random",
    "threading",
    "io",
}

# Every topology is also a file for `mn --custom`: it finds the tree by its own path.
EXCEPTIONS = {("topologies", "mininet"), ("topologies", "pathlib")}


def room_of(module: str) -> str | None:
    """The room a module is in: the longest room name that is a prefix of it."""
    parts = module.split(".")
    for length in (3, 2, 1):
        name = ".".join(parts[:length])
        if name in MAY_IMPORT and not (name == "testbed" and len(parts) > 1):
            return name
    return None


def sources(root: Path) -> Iterator[tuple[str, Path]]:
    for top in ("testbed", "topologies", "nic_emulator", "experiments"):
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__"), path


def imports(text: str, module: str) -> Iterator[tuple[str, int]]:
    """Every module a source imports, at any depth of it, with the line; for type checking only, too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}, line {node.lineno}: imports are absolute"
            name = node.module or ""
            # `from testbed import units` imports the module testbed.units
            for alias in node.names:
                whole = f"{name}.{alias.name}"
                yield whole if name == "testbed" or whole in MAY_IMPORT else name, node.lineno


def offences(module: str, text: str) -> Iterator[str]:
    room = room_of(module)
    assert room is not None, f"{module} is in no room: name it in MAY_IMPORT"
    for imported, line in imports(text, module):
        target = room_of(imported)
        where = f"{module}, line {line}: imports {imported}"
        if (
            target is not None
            and target != room
            and target not in MAY_IMPORT[room]
            and imported != "testbed.__version__"
        ):
            yield f"{where}, and {room} may not import {target}"
        top = imported.partition(".")[0]
        if (room, top) in EXCEPTIONS:
            continue
        allowed = KEPT_TO.get(top)
        if allowed is not None and room not in allowed:
            yield f"{where}, which only {', '.join(sorted(allowed))} may"
        if room in PURE and top in IMPURE_MODULES:
            yield f"{where}, and {room} is pure"


def test_every_module_imports_only_what_its_room_may(repository: Path) -> None:
    found = [
        offence
        for module, path in sources(repository)
        for offence in offences(module, path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_table_of_rooms_has_no_cycle() -> None:
    done: set[str] = set()

    def visit(room: str, above: tuple[str, ...]) -> None:
        assert room not in above, f"cycle: {' -> '.join((*above, room))}"
        if room not in done:
            for other in MAY_IMPORT[room] - {room}:
                if not any({room, other} <= family for family in (BASE, STORE, CONTROLLER_APP)):
                    visit(other, (*above, room))
            done.add(room)

    for room in MAY_IMPORT:
        visit(room, ())


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("testbed.spec.fabric", "from testbed.run import execute"),
        ("testbed.analysis.percentiles", "import testbed.fabric.build"),
        ("testbed.report.plot", "def f():\n    from testbed.cli import app"),
        ("testbed.run.execute", "from testbed.cli.app import app"),
        ("testbed.run.execute", "import mininet.net"),
        ("testbed.spec.experiment", "import time"),
        ("testbed.errors", "from testbed import units"),
        ("experiments.quickstart", "from testbed.engine import twin"),
    ],
)
def test_an_import_against_the_flow_is_found(module: str, text: str) -> None:
    assert list(offences(module, text))


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("testbed.run.execute", "from testbed.fabric.build import build\nfrom testbed.report import text"),
        ("testbed.cli.run", "from testbed import __version__\nimport typer"),
        ("testbed.fabric.build", "from mininet.net import Mininet"),
        (
            "testbed.spec.fabric",
            "from testbed.spec.sourced import Sourced\nfrom dataclasses import dataclass",
        ),
    ],
)
def test_an_import_along_the_flow_is_allowed(module: str, text: str) -> None:
    assert not list(offences(module, text))


def test_engine_sources_include_no_switch_and_no_nic(repository: Path) -> None:
    include = re.compile(r'^\s*#include\s+"([^"]*\b(?:switches|nic_emulator)/[^"]*)"', re.MULTILINE)
    found = [
        f"{path.name} includes {name}"
        for path in sorted((repository / "testbed" / "engine").glob("*.[ch]pp"))
        if not path.stem.startswith("bindings")  # where the one extension module is put together
        for name in include.findall(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)
