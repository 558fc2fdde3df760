"""Bad input through the real command line: one clear error with a remedy, nothing built, nothing left."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from testbed.fabric import build
from testbed.fabric.state import STATE_DIRECTORY
from testbed.run import execute
from tests.fabric.command_line import ROOT

SCRIPT = """
from testbed.spec.experiment import Experiment, Scenario
EXPERIMENT = Experiment(
    name="mine", question="?", topology="leaf_spine", switch="tomahawk5", nics=("rdma",),
    sizes_bytes=(4096,), scenarios=(Scenario(name="load", kind="poisson", load_permille=500),),
    records=100, emulated_records=100, {more}
)
"""

TOPOLOGY = """
import topologies
from testbed.registry import Registry
from testbed.spec.fabric import Endpoint, Fabric, Link, Switch

def build():
    "A fabric of the user's own."
    ends = [Endpoint(name=f"c{{n}}", server="a") for n in (1, 2)]
    links = [
        Link(a=a, a_port=ap, b="l1", b_port=bp, rate_bps={rate}, medium="dac", length_mm=1000)
        for a, ap, bp in {links}
    ]
    switches = (Switch(name="l1", tier=0), *{more})
    return Fabric(topology="mine", parameters={{}}, endpoints=tuple(ends), switches=switches, links=tuple(links))

topologies.TOPOLOGIES = Registry("topology", {{"mine": build}})
"""

SBIN = ("/usr/sbin", "/sbin")

OVERRIDES: dict[str, tuple[str, str]] = {
    # override: what the error names, and part of what it says
    "topology=leaf_spin": ("topology", "did you mean 'leaf_spine'?"),
    "topology.nosuch=1": ("topology_parameters.nosuch", "unknown parameter"),
    "switch=tomahwk5": ("switch", "did you mean 'tomahawk5'?"),
    "nics=rdmaa": ("nics[0]", "did you mean 'rdma'?"),
    "nics=rdma,rdma": ("nics", "appears 2 times"),
    "scenarios=nope": ("scenarios", "use one of: idle, load, incast"),
    "recrods=1": ("recrods", "did you mean 'records'?"),
    "nope.load=50%": ("nope.load", "unknown key"),
    "records": ("records", "is no key=value"),
    "records=": ("records", "is no key=value"),
    "records=abc": ("records", "no whole number"),
    "records=0": ("records", "out of range"),
    "records=-1": ("records", "out of range"),
    "records=1e6": ("records", "no whole number"),
    "records=99999999999999999999": ("records", "out of range"),
    "emulated_records=-1": ("emulated_records", "out of range"),
    "sizes=0B": ("sizes_bytes[0]", "out of range"),
    "sizes=-4KiB": ("sizes", "is negative"),
    "sizes=4": ("sizes", "not a size"),
    "sizes=9000GB": ("sizes_bytes[0]", "out of range"),
    "sizes=4KiB,4KiB": ("sizes_bytes", "appears 2 times"),
    "sizes=,": ("sizes_bytes", "at least one"),
    "seed=-1": ("seed", "out of range"),
    "seed=18446744073709551616": ("seed", "out of range"),
    "snap=absurd": ("snap", "not a size"),
    "snap=-1": ("snap_bytes", "out of range"),
    "snap=1GiB": ("snap_bytes", "out of range"),
    "load.load=0%": ("scenarios[1].load_permille", "out of range"),
    "load.load=100%": ("scenarios[1].load_permille", "no steady state"),
    "load.load=-5%": ("load.load", "negative"),
    "load.load=much": ("load.load", "much"),
    "load.fan_in=3": ("scenarios[1].fan_in", "no fan-in"),
    "incast.fan_in=0": ("scenarios[2].fan_in", "out of range"),
    "incast.fan_in=16": ("scenarios[2].fan_in", "only 16 endpoints"),
    "topology.cards=0": ("topology_parameters.cards", "out of range"),
    "topology.cards=-4": ("topology_parameters.cards", "out of range"),
    "topology.cards=7": ("topology_parameters.cards", "do not divide"),
    "topology.cards=3.5": ("topology_parameters.cards", "no whole number"),
    "topology.cards=65536": ("topology_parameters.cards", "out of range"),
    "topology.cards=4096": ("switch", "ports"),
    "topology.rate=300Gbps": ("topology_parameters.rate", "no whole number of picoseconds per byte"),
    "topology.rate=0Gbps": ("topology_parameters.rate", "rate"),
    "topology.rate=-1Gbps": ("topology_parameters.rate", "rate"),
    "topology.rate=fast": ("topology_parameters.rate", "rate"),
    "topology.length=300m": ("topology_parameters.length", "too long"),
    "topology.length=-3m": ("topology_parameters.length", "-3m"),
    "topology.medium=string": ("topology_parameters.medium", "unknown medium"),
}

USAGE: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown verb": (("frobnicate",), "No such command"),
    "unknown option": (("run", "--bogus"), "No such option"),
    "unknown engine": (("run", "--engine", "warp"), "--engine"),
    "two experiments": (("run", "quickstart", "again"), "unexpected extra argument"),
    "negative seed": (("run", "--seed", "-1"), "--seed"),
    "seed is text": (("run", "--seed", "one"), "--seed"),
    "repeat 0": (("run", "--repeat", "0"), "--repeat"),
    "repeat is text": (("run", "--repeat", "x"), "--repeat"),
}

NAMES: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown experiment": (("run", "quikstart"), "did you mean 'quickstart'?"),
    "no such script": (("run", "nowhere/mine.py"), "no experiment script at nowhere/mine.py"),
    "a directory for a script": (("run", "./"), "no experiment script"),
    "seeds run out": (
        ("run", "--seed", str(2**64 - 1), "--repeat", "2"),
        "seed: 18446744073709551616 is out of",
    ),
    "snap is negative": (("run", "--snap", "-5"), "snap_bytes: -5 is out of range"),
    "snap is text": (("run", "--snap", "some"), "'some' is not a size"),
    "out is below a file": (("run", "--out", "/etc/passwd/x"), "--out /etc/passwd/x: cannot be written"),
    "out is a file": (("run", "--out", "/etc/passwd"), "--out /etc/passwd: cannot be written"),
    "out in proc": (("run", "--out", "/proc/results"), "--out /proc/results: cannot be written"),
    "show unknown topology": (("show", "leaf_spin"), "did you mean 'leaf_spine'?"),
    "list unknown kind": (("list", "nic"), "did you mean 'nics'?"),
    "plot no result": (("plot", "/nonexistent"), "no result at /nonexistent"),
    "assumptions of no result": (("assumptions", "nothing"), "no result at nothing"),
    "unknown benchmark": (("bench", "twinn"), "unknown benchmark 'twinn'"),
}

SCRIPTS: dict[str, tuple[str, str]] = {
    "no EXPERIMENT": ("x = 1\n", "defines no EXPERIMENT"),
    "another EXPERIMENT": ("EXPERIMENT = 3\n", "defines EXPERIMENT as a int"),
    "syntax error": ("x = 1\nEXPERIMENT = (\n", "line 2: SyntaxError"),
    "import error": ("import nosuch_module\n", "line 1: ModuleNotFoundError"),
    "raises": ("\n\n1 / 0\n", "line 3: ZeroDivisionError"),
    "missing field": (
        "from testbed.spec.experiment import Experiment\nEXPERIMENT = Experiment(name='x')\n",
        "line 2: TypeError",
    ),
    "bad name": (SCRIPT.format(more="").replace('"mine"', '"../up"', 1), "name: '../up' is no name"),
    "bad kind": (SCRIPT.format(more="").replace("poisson", "poison", 1), "did you mean 'poisson'?"),
    "not text": (b"\xff\xfe\x00".decode("latin-1"), "mine.py: "),
    "two links on a port": (
        TOPOLOGY.format(rate=400 * 10**9, links='[("c1", 0, 1), ("c2", 0, 1)]', more="()"),
        "port 1 of 'l1'",
    ),
    "not connected": (
        TOPOLOGY.format(
            rate=400 * 10**9, links='[("c1", 0, 1), ("c2", 0, 2)]', more="[Switch(name='l2', tier=0)]"
        ),
        "not connected",
    ),
    "no whole byte time": (
        TOPOLOGY.format(rate=300 * 10**9, links='[("c1", 0, 1), ("c2", 0, 2)]', more="()"),
        "no whole number of picoseconds per byte",
    ),
    "link to nowhere": (
        TOPOLOGY.format(rate=400 * 10**9, links='[("c1", 0, 1), ("c9", 0, 2)]', more="()"),
        "c9",
    ),
}


@pytest.fixture(autouse=True)
def nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process no run may get as far as doing anything."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was built")

    monkeypatch.setattr(build, "build_fabric", refuse)
    monkeypatch.setattr(execute, "ResultWriter", refuse)


def assert_one_error(result: Result, words: str, *, code: int = 2) -> None:
    """Exactly one error with its remedy on stderr, nothing on stdout."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 1, result.stderr
    assert sum(line.startswith("remedy: ") and len(line) > 12 for line in lines) == 1, result.stderr
    assert words in result.stderr, result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("override", OVERRIDES)
@pytest.mark.parametrize("engine", ["emulation", "twin"])
def test_bad_input_override_is_named_with_a_remedy(
    tb: Callable[..., Result], tmp_path: Path, override: str, engine: str
) -> None:
    path, words = OVERRIDES[override]
    result = tb("run", "--engine", engine, "--out", str(tmp_path / "out"), "--set", override)
    assert_one_error(result, words)
    assert f"{path}: " in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", NAMES)
def test_bad_input_name_is_told_with_a_remedy(tb: Callable[..., Result], case: str) -> None:
    arguments, words = NAMES[case]
    assert_one_error(tb(*arguments), words)


@pytest.mark.parametrize("case", USAGE)
def test_bad_input_usage_is_told_with_a_hint(tb: Callable[..., Result], case: str) -> None:
    arguments, words = USAGE[case]
    result = tb(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("─ Error ─") == 1
    assert words in result.stderr
    assert "-h' for help" in result.stderr


@pytest.mark.parametrize("case", SCRIPTS)
def test_bad_input_script_is_told_with_its_place(
    tb: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    import topologies

    monkeypatch.setattr(topologies, "TOPOLOGIES", topologies.TOPOLOGIES)  # put back what a script replaces
    text, words = SCRIPTS[case]
    script = tmp_path / "mine.py"
    if text.startswith("\nimport topologies"):
        text += SCRIPT.format(more="").replace('"leaf_spine"', '"mine"')
    script.write_text(text, encoding="latin-1")
    assert_one_error(tb("run", str(script), "--out", str(tmp_path / "out")), words)
    assert not (tmp_path / "out").exists()


def test_bad_input_all_that_is_wrong_is_named_at_once(tb: Callable[..., Result]) -> None:
    wrong = ("records=-1", "switch=nope", "nics=nope", "load.load=100%", "topology.length=300m")
    result = tb("run", *(word for override in wrong for word in ("--set", override)))
    assert_one_error(result, "correct the 5 fields")
    for path in (
        "records: ",
        "switch: ",
        "nics[0]: ",
        "scenarios[1].load_permille: ",
        "topology_parameters.length: ",
    ):
        assert path in result.stderr


# ------------------------------------------------------------------------------------------ the machine's fault


def tb_process(
    *arguments: str, prefix: tuple[str, ...] = (), path: str | None = None
) -> subprocess.CompletedProcess[str]:
    """The command line as a process of its own."""
    environment = {**os.environ, **({} if path is None else {"PATH": path})}
    command = [*prefix, sys.executable, "-P", "-m", "testbed.cli", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def assert_machine_error(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("error: ") == 1
    assert "\nremedy: " in done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def hidden(*paths: Path) -> tuple[str, ...]:
    """A prefix for a command that cannot run these programs, nor open these sockets."""
    script = 'for path in $1; do mount --bind /dev/null "$path" || exit 99; done; shift; exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, "sh", " ".join(map(str, paths)))


@pytest.mark.fabric
@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("ip", ("ip: not installed", "apt-get install iproute2")),
        ("mnexec", ("mininet: mnexec is missing", "apt-get install mininet")),
        ("ovs-vsctl", ("open vswitch: not installed", "apt-get install openvswitch-switch")),
    ],
)
def test_bad_input_tool_is_missing_is_named_with_its_package(
    tmp_path: Path, missing: str, words: tuple[str, ...]
) -> None:
    places = {Path(directory, missing).resolve() for directory in (*os.environ["PATH"].split(":"), *SBIN)}
    prefix = hidden(*(place for place in places if place.exists()))
    done = tb_process("run", "--out", str(tmp_path / "out"), prefix=prefix)
    assert_machine_error(done, "this machine cannot do the run", *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.fabric
@pytest.mark.fabric
def test_bad_input_path_without_sbin_finds_the_tools_all_the_same(tmp_path: Path) -> None:
    sets = ("--set", "topology=single_switch", "--set", "topology.cards=2", "--set", "scenarios=idle")
    few = ("--set", "nics=rdma", "--set", "sizes=4KiB", "--set", "records=20", "--set", "emulated_records=20")
    done = tb_process("run", *sets, *few, "--out", str(tmp_path), path="/usr/local/bin:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr


@pytest.mark.fabric
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_bad_input_no_root_is_told_with_both_ways_out(tmp_path: Path) -> None:
    if not _others_may_read(Path(sys.executable).resolve(), ROOT / "testbed" / "cli" / "app.py"):
        pytest.skip("another user cannot read this tree")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
    tmp_path.chmod(stat.S_IRWXU | stat.S_IRWXO)
    done = tb_process("run", "--out", str(tmp_path / "out"), prefix=nobody)
    assert_machine_error(done, "needs root", "sudo", "--engine twin")
    assert not (tmp_path / "out").exists()


@pytest.mark.fabric
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_bad_input_no_capability_is_told_before_anything_is_built(tmp_path: Path) -> None:
    """Root in name only, as in a container that is not privileged."""
    prefix = ("setpriv", "--bounding-set=-sys_admin,-net_admin", "--inh-caps=-sys_admin,-net_admin", "--")
    done = tb_process("run", "--out", str(tmp_path / "out"), prefix=prefix)
    assert_machine_error(done, "this machine cannot do the run")
    assert not (tmp_path / "out").exists()


@pytest.mark.fabric
@pytest.mark.parametrize(
    ("prefix", "words"),
    [((), "memory: it needs"), (("prlimit", "--nofile=4096:4096", "--"), "open files: it needs")],
    ids=["memory", "files"],
)
def test_bad_input_more_than_the_machine_holds_is_told_in_numbers(
    tmp_path: Path, prefix: tuple[str, ...], words: str
) -> None:
    sets = ("--set", "topology.cards=8192", "--set", "topology.leaves=256", "--set", "switch=ideal")
    done = tb_process("run", *sets, "--out", str(tmp_path / "out"), prefix=prefix)
    assert_machine_error(done, "this machine cannot hold 8192 endpoints", words, "--engine twin")
    assert not (tmp_path / "out").exists()


@pytest.mark.fabric
def test_bad_input_out_on_a_read_only_disk_is_told(tmp_path: Path) -> None:
    script = f'mount -t tmpfs -o ro none "{tmp_path}" && exec "$@"'
    done = tb_process(
        "run", "--out", str(tmp_path / "out"), prefix=("unshare", "--mount", "sh", "-c", script, "sh")
    )
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 1
    assert "Read-only file system" in done.stderr


@pytest.mark.fabric
def test_bad_input_leaves_no_state_file_of_its_own() -> None:
    done = tb_process("run", "--set", "switch=nope")
    assert done.returncode == 2
    paths = STATE_DIRECTORY.glob("*.json") if STATE_DIRECTORY.is_dir() else ()
    pids = [json.loads(path.read_text().splitlines()[0])["orchestrator"]["pid"] for path in paths]
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)


def _others_may_read(*paths: Path) -> bool:
    chain = {parent for path in paths for parent in (path, *path.parents)}
    return all(path.stat().st_mode & (stat.S_IXOTH if path.is_dir() else stat.S_IROTH) for path in chain)
