"""The frame parsers under libFuzzer, with the address and undefined-behaviour sanitizers.

`TB_FUZZ_RUNS=12000000 ./tb test tests/fuzz/test_fuzz_frames.py` runs so many inputs; without it there are as many as
take some 20 s. What a run finds new is kept in build/fuzz/found, and is where the next one starts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "testbed" / "engine"
CORPUS = Path(__file__).with_name("corpus") / "frames"
BUILD = ROOT / "build" / "fuzz"
RUNS = int(os.environ.get("TB_FUZZ_RUNS", "700000"))
LONGEST_INPUT_BYTES = 500
IP_AT = 14
FLAGS = ("-std=c++20", "-O1", "-g1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")


def compiler() -> str | None:
    """The clang++ of this machine, the newest where there is none without a number."""
    names = ("clang++", *(f"clang++-{version}" for version in range(30, 13, -1)))
    return next((name for name in names if shutil.which(name)), None)


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        compiler() is None, reason="clang++ is not installed: tools/setup.sh fuzzer installs it"
    ),
]


def compiled(source: Path, folder: Path) -> Path:
    """The object file of a source."""
    made = folder / f"{source.stem}.o"
    command = [str(compiler()), *FLAGS, f"-I{ENGINE}", f"-I{ENGINE / 'formats'}", "-c", str(source)]
    done = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return made


def linked(objects: Iterable[Path], program: Path) -> Path:
    command = [str(compiler()), *FLAGS, *map(str, objects), "-ldeflate", "-o", str(program)]
    subprocess.run(command, capture_output=True, check=True)
    return program


@pytest.fixture(scope="module")
def objects() -> list[Path]:
    """The parsers and their harness, compiled; again when a source is newer."""
    harness = Path(__file__).with_name("fuzz_frames.cpp")
    sources = [
        harness,
        ENGINE / "wire.cpp",
        ENGINE / "crc32c.cpp",
        *sorted((ENGINE / "formats").glob("*.cpp")),
    ]
    headers = [*ENGINE.glob("*.hpp"), *(ENGINE / "formats").glob("*.hpp")]
    newest = max(one.stat().st_mtime for one in [*sources, *headers])
    BUILD.mkdir(parents=True, exist_ok=True)
    made = [BUILD / f"{source.stem}.o" for source in sources]
    if all(one.exists() and one.stat().st_mtime > newest for one in made):
        return made
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(lambda source: compiled(source, BUILD), sources))


@pytest.fixture(scope="module")
def fuzzer(objects: list[Path]) -> Path:
    return linked(objects, BUILD / "fuzz_frames")


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the fuzzer in its own directory, where it leaves the input that broke it."""
    return subprocess.run(
        [str(program), f"-max_len={LONGEST_INPUT_BYTES}", "-timeout=10", *arguments],
        cwd=BUILD,
        capture_output=True,
        text=True,
        check=False,
    )


def test_corpus_is_small_and_every_input_passes(fuzzer: Path) -> None:
    inputs = list(CORPUS.iterdir())
    assert 20 < len(inputs) < 200
    done = run(fuzzer, *map(str, inputs))
    assert done.returncode == 0, done.stderr[-4000:]


def test_parsers_under_random_frames_do_not_fail(fuzzer: Path) -> None:
    found = BUILD / "found"
    found.mkdir(exist_ok=True)
    done = run(fuzzer, f"-runs={RUNS}", "-print_final_stats=1", str(found), str(CORPUS))
    assert done.returncode == 0, done.stderr[-4000:]
    executed = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert executed is not None
    assert int(executed[1]) >= RUNS
    assert "DONE" in done.stderr


def test_harness_with_a_lax_parser_fails(fuzzer: Path, objects: list[Path], tmp_path: Path) -> None:
    """Of a parser that takes any IPv4 checksum a frame comes that would be written otherwise."""
    source = (ENGINE / "formats" / "ipv4.cpp").read_text(encoding="utf-8")
    check = "get16(ip + 10) != ipv4::header_checksum(ip)"
    assert source.count(check) == 1
    lax = tmp_path / "ipv4.cpp"
    lax.write_text(source.replace(check, "false"), encoding="utf-8")
    rest = [one for one in objects if one.stem != "ipv4"]
    program = linked([*rest, compiled(lax, tmp_path)], tmp_path / "lax")
    inputs = with_wrong_checksums(tmp_path)
    assert inputs
    done = run(fuzzer, *inputs)
    assert done.returncode == 0, done.stderr[-4000:]
    done = run(program, f"-artifact_prefix={tmp_path}/", *inputs)
    assert done.returncode != 0
    assert "other headers" in done.stderr


def with_wrong_checksums(folder: Path) -> list[str]:
    """The corpus' IPv4 packets, each with another checksum."""
    made = []
    for path in CORPUS.iterdir():
        data = bytearray(path.read_bytes())
        if data[IP_AT - 2 : IP_AT] != b"\x08\x00" or len(data) < IP_AT + 20:
            continue
        data[IP_AT + 10] ^= 1
        wrong = folder / path.name
        wrong.write_bytes(data)
        made.append(str(wrong))
    return made
