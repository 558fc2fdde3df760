from __future__ import annotations

import re

import pytest

from testbed.cli.progress_view import ProgressView
from testbed.run.progress import NullProgress, Progress


class ManualClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def view(clock: ManualClock) -> ProgressView:
    return ProgressView(terminal=False, clock=clock, every_s=5.0)


def test_both_listeners_fit_the_protocol() -> None:
    listeners: list[Progress] = [NullProgress(), ProgressView(terminal=False)]
    for listener in listeners:
        listener.start(1)
        listener.finish()


def test_off_a_terminal_a_line_comes_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock()
    shown = view(clock)
    shown.start(1000)
    shown.stage("idle-4KiB-rdma, virtual")
    for step in range(1, 12):
        clock.now += 1
        shown.update(step * 10**6, step * 10, step * 10_000)
    shown.finish()
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert len(lines) == 3  # the stage, then after 5 s and 10 s
    assert lines[2].startswith("idle-4KiB-rdma, virtual  ")
    assert "10.0 µs virtual  100/1,000 messages  1:30 left" in lines[2]


def test_seconds_left_extrapolates_the_pace_so_far() -> None:
    clock = ManualClock()
    shown = view(clock)
    shown.start(1000)
    clock.now += 30
    shown.update(0, 10, 250_000)  # few messages, but a quarter of the work
    assert shown.seconds_left() == 90


def test_seconds_left_before_one_percent_is_unknown() -> None:
    shown = view(ManualClock())
    shown.start(1000)
    shown.update(0, 9, 9_000)
    assert shown.seconds_left() is None
    assert "-:-- left" in shown.figures()


def test_on_a_terminal_the_bar_ends_and_finish_may_be_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    shown = ProgressView(terminal=True, clock=ManualClock())
    shown.start(10)
    shown.stage("build")
    shown.update(5, 5, 500_000)
    shown.finish()
    shown.finish()
    assert capsys.readouterr().out == ""


def test_on_a_terminal_of_80_columns_the_bar_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    clock = ManualClock()
    shown = ProgressView(terminal=True, clock=clock)
    shown.start(12_104_000)
    shown.stage("incast-64KiB-transparent, real frames")
    clock.now += 90
    shown.update(12_345_678_901_234, 11_104_000, 500_000)
    assert shown.figures() == "12.3 s  11.1M/12.1M  1:30 left"
    shown.finish()
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in capsys.readouterr().err.split("\r")]
    assert all(len(line.strip("\n")) <= 80 for line in lines)


def test_note_off_a_terminal_is_a_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    view(ManualClock()).note("removed partial result [x]")
    assert capsys.readouterr().err == "removed partial result [x]\n"
