from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import Result

from testbed.cli import capture as verb
from testbed.cli import privilege
from testbed.errors import MeasurementError
from testbed.fabric import capacity
from testbed.fabric.pcapng import PcapngWriter
from testbed.run import capture_cell, dissector, preflight
from testbed.run.capture_cell import CaptureJob, CaptureOutcome
from testbed.run.capture_file import PortFrames, Written
from tests.unit.test_json_documentation import documented, paths

Tb = Callable[..., Result]
PORT = PortFrames(port="s1-eth3", peer="l3-eth5", in_frames=1_234, out_frames=5, foreign_frames=0)


class FakeCapture:
    """Stands in for the run: keeps what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[CaptureJob, Path]] = []
        self.raises: BaseException | None = None
        self.written = Written(first_ps=1_174_000, last_ps=10_251_240_000, ports=(PORT,))

    def __call__(self, job: CaptureJob, path: Path, progress: Any) -> CaptureOutcome:
        self.calls.append((job, path))
        progress.start(job.run.records)
        if self.raises is not None:
            raise self.raises
        return CaptureOutcome(path=path, records=1_000, records_digest="ab12", written=self.written)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCapture:
    fake = FakeCapture()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(capture_cell, "capture_cell", fake)
    monkeypatch.setattr(preflight, "require", lambda need: None)
    monkeypatch.setattr(preflight, "require_program", lambda name: None)
    monkeypatch.setattr(privilege, "become_root", lambda why, otherwise="": None)
    monkeypatch.setattr(capacity, "check_capacity", lambda fabric: None)
    return fake


def test_capture_runs_the_first_cell_into_a_file_here(tb: Tb, fake: FakeCapture) -> None:
    result = tb("capture", "quickstart", "--port", "s1-eth3")
    assert result.exit_code == 0, result.output
    ((job, path),) = fake.calls
    assert (job.run.cell.id, job.run.records, path) == (
        "idle-4KiB-transparent",
        verb.RECORDS,
        Path("quickstart-idle-4KiB-transparent.pcapng"),
    )


def test_capture_tells_what_is_in_the_file_and_how_to_read_it(
    tb: Tb, fake: FakeCapture, tmp_path: Path
) -> None:
    path = tmp_path / "my file.pcapng"
    result = tb("capture", "quickstart", "--port", "s1-eth3", "--out", str(path))
    assert "s1-eth3  l3-eth5  1,234    5        0" in result.stdout
    assert "from 1.17 µs to 10.3 ms of virtual time" in result.stdout
    assert f"tshark -t e -X lua_script:{dissector.DISSECTOR} -r '{path}'\n" in result.stdout
    assert f"wireshark -X lua_script:{dissector.DISSECTOR} '{path}'\n" in result.stdout


def test_capture_of_no_frame_says_so(tb: Tb, fake: FakeCapture) -> None:
    fake.written = Written(first_ps=None, last_ps=None, ports=(PORT,))
    assert "no frame passed these ports" in tb("capture", "quickstart", "--port", "s1-eth3").stdout


def test_capture_changes_the_experiment_as_it_is_told(tb: Tb, fake: FakeCapture) -> None:
    words = ("--set", "topology.leaves=2", "--seed", "9", "--snap", "64B", "--cell", "load-4KiB-rdma")
    assert tb("capture", "quickstart", "--port", "l2-eth1", *words, "--records", "3").exit_code == 0
    job = fake.calls[0][0]
    assert (job.experiment.seed, job.experiment.snap_bytes, job.run.records) == (9, 64, 3)
    assert (job.run.cell.id, len(job.run.network.fabric.switches)) == ("load-4KiB-rdma", 4)


def test_capture_json_is_documented(tb: Tb, fake: FakeCapture, repository: Path) -> None:
    result = tb("capture", "quickstart", "--port", "s1-eth3", "--json")
    value = json.loads(result.stdout)
    assert set(paths(value)) == documented(repository)["capture EXPERIMENT"]
    assert value["ports"][0]["in_frames"] == 1_234
    assert Path(value["dissector"]).is_file()


def test_capture_that_fails_is_an_error_with_its_code(tb: Tb, fake: FakeCapture) -> None:
    fake.raises = MeasurementError("the disk is full", remedy="free space")
    result = tb("capture", "quickstart", "--port", "s1-eth3")
    assert (result.exit_code, result.stdout) == (6, "")
    assert result.stderr.endswith("error: the disk is full\nremedy: free space\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--port", "s1-eth9"), "unknown port 's1-eth9'; nearest: s1-eth"),
        (("--port", "l1-eth1", "--cell", "x"), "unknown cell 'x'"),
        (("--port", "l1-eth1", "--set", "recrods=1"), "did you mean 'records'"),
        (("--port", "l1-eth1", "--snap", "some"), "'some' is not a size"),
        (("--port", "l1-eth1", "--out", "."), "--out .: is a directory"),
        (("--port", "l1-eth1", "--out", "no/such/x.pcapng"), "there is no directory no/such"),
        (("--port", "l1-eth1", "--out", "/proc/x.pcapng"), "--out /proc: cannot be written"),
        (("--port", "l1-eth1", "--records", "0"), "--records"),
        ((), "Missing option '--port'"),
    ],
)
def test_capture_bad_input_is_told_before_anything_is_built(
    tb: Tb, fake: FakeCapture, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    result = tb("capture", "quickstart", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert fake.calls == []
    assert list(tmp_path.iterdir()) == []


def test_capture_help_has_examples(tb: Tb) -> None:
    assert "./tb capture quickstart --port s1-eth3" in tb("capture", "--help").stdout


# --------------------------------------------------------------------------------- the dissector as a plug-in


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_install_dissector_puts_it_where_tshark_finds_it(
    tb: Tb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    result = tb("capture", "--install-dissector")
    assert result.exit_code == 0, result.output
    assert len(list(tmp_path.rglob("tnic.lua"))) == 1
    empty = tmp_path / "empty.pcapng"
    with empty.open("wb") as file:
        PcapngWriter(file, [], application="", comment="")
    for more in ([], ["-X", f"lua_script:{dissector.DISSECTOR}"]):  # named as well: no harm
        command = ["tshark", *more, "-r", str(empty), "-T", "fields", "-e", "tnic_trailer.link_seq"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "lua" not in done.stderr.lower(), done.stderr


def test_install_dissector_without_a_folder_for_lua_is_an_error(
    tb: Tb, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = SimpleNamespace(stdout="Personal Plugins:\t/tmp\n")
    monkeypatch.setattr(dissector.subprocess, "run", lambda *_, **__: answer)
    monkeypatch.setattr(dissector, "require_program", lambda name: None)
    result = tb("capture", "--install-dissector")
    assert result.exit_code == 3
    assert "no folder for plug-ins in Lua" in result.stderr


def test_require_program_that_is_not_there_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preflight, "_which", lambda name: None)
    with pytest.raises(preflight.PreflightError, match="tcpdump: not installed") as error:
        preflight.require_program("tcpdump")
    assert error.value.remedy == "apt-get install tcpdump"
