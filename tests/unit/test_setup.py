"""`tools/setup.sh` on a tree and with tools of its own: nothing of this machine is installed or built."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

EXTENSION = "_engine.cpython-311-x86_64-linux-gnu.so"
SETUP = Path(__file__).resolve().parents[2] / "tools" / "setup.sh"

FAKE_CMAKE = """#!/bin/sh
echo "cmake $*" >> "$TREE/calls"
[ ! -e "$TREE/cmake-fails" ] || { echo "no compiler"; exit 1; }
[ "$1" = --build ] || exit 0
mkdir -p "$2" && cp "$TREE/testbed/engine/a.cpp" "$2/_engine.cpython-311-x86_64-linux-gnu.so"
"""
FAKE_PYTHON = """#!/bin/sh
[ ! -e "$TREE/does-not-load" ] || { echo "undefined symbol"; exit 1; }
case "$*" in
    *"pip wheel"*)
        echo "pip $*" >> "$TREE/calls"
        [ ! -e "$TREE/no-index" ] || { echo "no network"; exit 1; }
        while [ "$1" != --wheel-dir ]; do shift; done
        : > "$2/ryu-4.34-py3-none-any.whl"; : > "$2/numpy-2.0-py3-none-any.whl" ;;
    *"pip install"*) echo "pip $*" >> "$TREE/calls" ;;
esac
"""
FAKE_APT = """#!/bin/sh
echo "apt-get $*" >> "$TREE/calls"
"""
FAKE_DPKG = """#!/bin/sh
cat "$TREE/installed"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with a space in its path, one source, and a venv that needs no making."""
    root = tmp_path / "a tree"
    for directory in ("tools", "testbed/engine", "nic_emulator", "bin", "build"):
        (root / directory).mkdir(parents=True)
    shutil.copy(SETUP, root / "tools" / "setup.sh")
    for name, text in (("CMakeLists.txt", "#"), ("pyproject.toml", "#"), ("testbed/engine/a.cpp", "one")):
        (root / name).write_text(text, encoding="ascii")
    for name, text in (("cmake", FAKE_CMAKE), ("dpkg-query", FAKE_DPKG), ("apt-get", FAKE_APT)):
        (root / "bin" / name).write_text(text, encoding="ascii")
        (root / "bin" / name).chmod(0o755)
    (root / "installed").touch()
    (root / "requirements.lock").write_text("numpy==2.0\nryu==4.34\n", encoding="ascii")
    loader = root / ".venv" / "bin" / "python"
    loader.parent.mkdir(parents=True)
    loader.write_text(FAKE_PYTHON, encoding="ascii")
    loader.chmod(0o755)
    return root


def environment(tree: Path, **more: str) -> dict[str, str]:
    return {"PATH": f"{tree / 'bin'}:/usr/bin:/bin:/usr/sbin:/sbin", "TREE": str(tree), **more}


def setup(tree: Path, *steps: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [str(tree / "tools" / "setup.sh"), *steps]
    return subprocess.run(
        command, env=environment(tree, **more), cwd="/", capture_output=True, text=True, check=False
    )


def builds(tree: Path) -> int:
    calls = tree / "calls"
    return calls.read_text(encoding="ascii").count("--build") if calls.exists() else 0


def engine(tree: Path) -> str:
    return (tree / "testbed" / "engine" / EXTENSION).read_text(encoding="ascii")


def calls_of(tree: Path, program: str) -> list[str]:
    calls = tree / "calls"
    lines = calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []
    return [line for line in lines if line.startswith(program)]


def test_engine_step_builds_once_and_says_so_with_its_time(tree: Path) -> None:
    first, second = setup(tree, "engine"), setup(tree, "engine")
    assert first.returncode == second.returncode == 0, first.stderr
    assert first.stderr.startswith("setup  engine    compiling the engine ... ")
    assert first.stderr.endswith(" s\n")
    assert (second.stderr, builds(tree), engine(tree)) == ("", 1, "one")


@pytest.mark.parametrize("change", ["edit", "new file", "lost extension", "deleted file"])
def test_engine_step_builds_again_after_a_change(tree: Path, change: str) -> None:
    extra = tree / "nic_emulator" / "b.hpp"
    if change == "deleted file":
        extra.touch()
    setup(tree, "engine")
    if change == "edit":
        source = tree / "testbed" / "engine" / "a.cpp"
        before = source.stat()
        source.write_text("two", encoding="ascii")
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))  # the content counts, not its time
    elif change == "new file":
        extra.touch()
    elif change == "deleted file":
        extra.unlink()
    else:
        next((tree / "testbed" / "engine").glob("_engine*.so")).unlink()
    assert setup(tree, "engine").returncode == 0
    assert builds(tree) == 2
    assert engine(tree) == ("two" if change == "edit" else "one")


def test_engine_step_leaves_the_extension_of_another_machine_beside_its_own(tree: Path) -> None:
    other = tree / "testbed" / "engine" / "_engine.cpython-312-aarch64-linux-gnu.so"
    other.write_text("other", encoding="ascii")
    Path(f"{other}.key").write_text(
        "sources 0\nextension 0\nfor python3.12 ubuntu 24.04 aarch64\n", encoding="ascii"
    )
    assert setup(tree, "engine").returncode == 0
    assert (builds(tree), engine(tree), other.read_text(encoding="ascii")) == (1, "one", "other")
    assert setup(tree, "engine").stderr == ""


@pytest.mark.parametrize("fits", [True, False])
def test_engine_that_came_from_another_tree_is_used_where_it_fits(tree: Path, fits: bool) -> None:
    setup(tree, "engine")
    shutil.rmtree(tree / "build")  # as on a machine that only got the extension and its key
    if not fits:
        key = tree / "testbed" / "engine" / f"{EXTENSION}.key"
        text = key.read_text(encoding="ascii")
        assert text.splitlines()[-1].startswith("for python3.")
        key.write_text(text.rpartition("for ")[0] + "for python3.11 arch rolling x86_64\n", encoding="ascii")
    assert setup(tree, "engine").returncode == 0
    assert builds(tree) == (1 if fits else 2)


def test_engine_that_is_not_the_one_its_key_names_is_built_again(tree: Path) -> None:
    """As after a copy that was cut off between the two files."""
    setup(tree, "engine")
    (tree / "testbed" / "engine" / EXTENSION).write_text("older", encoding="ascii")
    assert setup(tree, "engine").returncode == 0
    assert (builds(tree), engine(tree)) == (2, "one")


def test_step_that_fails_names_step_log_and_remedy_and_exits_3(tree: Path) -> None:
    (tree / "cmake-fails").touch()
    result = setup(tree, "engine")
    assert result.returncode == 3
    assert "error: set-up step 'engine' failed" in result.stderr
    assert "| no compiler" in result.stderr
    assert f"log: {tree}/build/setup-engine.log" in result.stderr
    assert "remedy: " in result.stderr
    (tree / "cmake-fails").unlink()
    assert setup(tree, "engine").returncode == 0


def test_engine_that_does_not_load_fails_the_step_and_is_not_installed(tree: Path) -> None:
    (tree / "does-not-load").touch()
    result = setup(tree, "engine")
    assert result.returncode == 3
    assert "| undefined symbol" in result.stderr
    assert not list((tree / "testbed" / "engine").glob("*.so"))


def test_packages_step_offline_with_some_missing_names_them_and_exits_3(tree: Path) -> None:
    (tree / "installed").write_text("installed:g++ installed:cmake config-files:mininet ", encoding="ascii")
    result = setup(tree, "packages", TB_OFFLINE="1")
    assert result.returncode == 3
    assert "TB_OFFLINE=1 forbids" in result.stderr
    assert "ninja-build" in result.stderr
    assert "mininet" in result.stderr
    assert "g++" not in result.stderr


def install(tree: Path, *lists: str) -> None:
    """Let these lists of packages be on the machine."""
    text = SETUP.read_text(encoding="utf-8")
    names = [
        name for one in lists for name in text.partition(f"\n{one}_packages=(")[2].partition(")")[0].split()
    ]
    assert len(names) >= 3 * len(lists)
    (tree / "installed").write_text("".join(f"installed:{name} " for name in names), encoding="ascii")


def test_packages_step_offline_with_what_compiles_says_what_is_missing_and_goes_on(tree: Path) -> None:
    install(tree, "base")
    result = setup(tree, "packages", TB_OFFLINE="1")
    assert result.returncode == 0
    assert "TB_OFFLINE=1 forbids" in result.stderr
    assert "iputils-ping" in result.stderr
    assert "cmake" not in result.stderr


def test_packages_step_with_all_installed_says_nothing(tree: Path) -> None:
    install(tree, "base", "fabric")
    result = setup(tree, "packages", TB_OFFLINE="1")
    assert (result.returncode, result.stderr) == (0, "")


def test_fuzzer_step_offline_with_clang_missing_says_so_and_goes_on(tree: Path) -> None:
    result = setup(tree, "fuzzer", TB_OFFLINE="1")
    assert result.returncode == 0
    assert "not installed" in result.stderr
    assert "clang" in result.stderr


@pytest.mark.parametrize(
    ("step", "package"), [("box", "mmdebstrap"), ("machine", "qemu-system-x86"), ("vagrant", "slirp4netns")]
)
def test_step_for_virtual_machines_offline_names_what_is_missing_and_exits_3(
    tree: Path, step: str, package: str
) -> None:
    result = setup(tree, step, TB_OFFLINE="1")
    assert result.returncode == 3
    assert f"set-up step '{step}' failed: not installed: " in result.stderr
    assert package in result.stderr
    assert "remedy: run it without TB_OFFLINE" in result.stderr


@pytest.mark.parametrize("step", ["box", "machine", "vagrant"])
def test_step_for_virtual_machines_with_all_installed_says_nothing(tree: Path, step: str) -> None:
    install(tree, step)
    result = setup(tree, step, TB_OFFLINE="1")
    assert (result.returncode, result.stderr) == (0, "")


def test_vagrant_step_beside_another_makers_vagrant_leaves_debians_out(tree: Path) -> None:
    (tree / "bin" / "vagrant").write_text("#!/bin/sh\n", encoding="ascii")
    (tree / "bin" / "vagrant").chmod(0o755)
    result = setup(tree, "vagrant", TB_OFFLINE="1")
    assert result.returncode == 3
    assert "not installed: libvirt-daemon-system" in result.stderr


def test_steps_without_names_install_nothing_for_virtual_machines(tree: Path) -> None:
    install(tree, "base", "fabric")
    setup(tree, "engine")
    setup(tree, TB_OFFLINE="1")
    assert calls_of(tree, "apt-get") == []


def test_wheels_step_collects_once_and_python_step_then_needs_no_index(tree: Path) -> None:
    first, second = setup(tree, "wheels"), setup(tree, "wheels")
    assert first.returncode == second.returncode == 0, first.stderr
    assert second.stderr == ""
    assert sorted(path.name for path in (tree / "build" / "wheels").iterdir()) == [
        "complete",
        "numpy-2.0-py3-none-any.whl",
        "ryu-4.34-py3-none-any.whl",
    ]
    site_packages(tree).mkdir(parents=True)
    assert setup(tree, "python").returncode == 0
    (install_call,) = [call for call in calls_of(tree, "pip") if " install " in call]
    assert "--no-index" in install_call
    assert "requirements.lock" in install_call


def test_wheels_of_an_older_lock_file_are_collected_again_and_not_kept(tree: Path) -> None:
    setup(tree, "wheels")
    (tree / "build" / "wheels" / "numpy-1.9-py3-none-any.whl").touch()
    (tree / "requirements.lock").write_text("numpy==2.0\nryu==4.34\nrich==1\n", encoding="ascii")
    assert setup(tree, "wheels").returncode == 0
    assert not (tree / "build" / "wheels" / "numpy-1.9-py3-none-any.whl").exists()


def test_wheels_step_that_fails_leaves_no_complete_wheelhouse(tree: Path) -> None:
    (tree / "no-index").touch()
    assert setup(tree, "wheels").returncode == 3
    assert not (tree / "build" / "wheels" / "complete").exists()
    assert setup(tree, "wheels", TB_OFFLINE="1").returncode == 3


def site_packages(tree: Path) -> Path:
    version = Path("/usr/bin/python3").resolve().name
    return tree / ".venv" / "lib" / version / "site-packages"


def test_python_step_without_wheelhouse_asks_the_index(tree: Path) -> None:
    site_packages(tree).mkdir(parents=True)
    assert setup(tree, "python").returncode == 0
    calls = [call for call in calls_of(tree, "pip") if " install " in call]
    assert "--no-index" not in calls[0]


def test_lint_step_installs_its_own_lock_file_once(tree: Path) -> None:
    (tree / "requirements-lint.lock").write_text("ruff==1\n", encoding="ascii")
    first, second = setup(tree, "lint"), setup(tree, "lint")
    assert first.returncode == second.returncode == 0, first.stderr
    (install_call,) = [call for call in calls_of(tree, "pip") if " install " in call]
    assert "requirements-lint.lock" in install_call


def test_unknown_step_exits_2(tree: Path) -> None:
    assert setup(tree, "engines").returncode == 2


def test_second_setup_waits_for_the_first_and_then_finds_nothing_to_do(tree: Path) -> None:
    setup(tree, "engine")
    stamp = tree / "testbed" / "engine" / f"{EXTENSION}.key"
    key = stamp.read_text(encoding="ascii")
    stamp.write_text("stale\n", encoding="ascii")
    first = os.open(tree, os.O_RDONLY)
    fcntl.flock(first, fcntl.LOCK_EX)
    second = subprocess.Popen(
        [str(tree / "tools" / "setup.sh"), "engine"], env=environment(tree), stderr=subprocess.PIPE, text=True
    )
    assert second.stderr is not None
    assert "waiting for another" in second.stderr.readline()
    stamp.write_text(key, encoding="ascii")  # what the first would have done
    os.close(first)
    _, rest = second.communicate(timeout=600)
    assert (second.returncode, rest, builds(tree)) == (0, "", 1)


def test_lock_is_not_kept_by_what_a_step_leaves_running(tree: Path) -> None:
    daemon = '#!/bin/sh\n[ "$1" = --build ] || exit 0\n'
    daemon += 'readlink /proc/self/fd/9 > "$TREE/inherited"; mkdir -p "$2"; : > "$2/_engine.so"\n'
    (tree / "bin" / "cmake").write_text(daemon, encoding="ascii")
    assert setup(tree, "engine").returncode == 0
    assert (tree / "inherited").read_text(encoding="utf-8") == ""
