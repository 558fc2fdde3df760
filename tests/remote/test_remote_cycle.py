"""The whole way: the tree goes there, a job runs, what it says and makes comes back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.commit import tree_commit
from testbed.errors import RemoteError
from tests.remote.miniature import JOBS, Box, jobs_of, make_tree, unheard
from tests.remote.sshd import Sshd

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def box(shared_sshd: Sshd, request: pytest.FixtureRequest) -> Iterator[Box]:
    """A machine with no tree yet; each test has a tree and jobs of its own."""
    box = Box(shared_sshd.target(), f"bäume/{request.node.name} x")
    yield box
    box.link.close()


def there(shared_sshd: Sshd, box: Box) -> Path:
    return shared_sshd.home / box.tree


def test_cycle_with_spaces_and_unicode_in_every_path(box: Box, shared_sshd: Sshd, tmp_path: Path) -> None:
    root = make_tree(tmp_path / "hier ü")
    told: list[tuple[int, int]] = []
    deployed = box.remote.deploy(root, lambda done, total: told.append((done, total)))
    assert (deployed.files, deployed.removed) == (5, 0)
    assert told[-1][0] == told[-1][1] > deployed.sent_bytes > 0
    assert (there(shared_sshd, box) / "experiments/größe 1.py").read_text() == "EXPERIMENT = None\n"
    assert not (there(shared_sshd, box) / "results").exists()

    (tmp_path / "x y.py").write_text("x")
    files: dict[str, Path | bytes] = {"a b/ö.py": tmp_path / "x y.py", "spec.json": b"{}"}
    box.start("show-1", "show", "a  b", "ü'\"$x", files=files)
    said, status = box.log("show-1")
    line, _, rest = said.decode().partition("\n")
    cwd, names, stdin, words = json.loads(line)
    assert cwd == str(shared_sshd.home / JOBS / "show-1/files")
    assert (names, stdin, words) == (["a b/ö.py", "spec.json"], "", ["a  b", "ü'\"$x"])
    assert rest == "to stderr\n"
    assert (status.state, status.exit_code, status.log_bytes) == ("ended", 5, len(said))

    box.start("make-1", "make", "3", "1000")
    box.log("make-1")
    fetched = box.remote.fetch("make-1", tmp_path / "out ä", unheard)
    home = shared_sshd.home / JOBS / "make-1/results"
    names = ["quick stärt/1/empty", *(f"quick stärt/1/records/{n}.bin" for n in range(3))]
    assert [str(path.relative_to(tmp_path / "out ä")) for path in fetched] == names
    assert [path.read_bytes() for path in fetched] == [(home / name).read_bytes() for name in names]
    assert sorted(path.name for path in (tmp_path / "out ä").iterdir()) == ["quick stärt"]

    assert jobs_of(shared_sshd) == ["make-1", "show-1"]
    for job in ("make-1", "show-1"):
        box.remote.remove(job)
    assert jobs_of(shared_sshd) == []
    assert box.remote.status("make-1").state == "absent"
    with pytest.raises(RemoteError, match="no job make-1"):
        box.remote.fetch("make-1", tmp_path, unheard)


def test_tree_there_knows_the_commit_it_came_from(box: Box, shared_sshd: Sshd, tmp_path: Path) -> None:
    root = make_tree(tmp_path / "here")
    git = ("git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@t")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    box.remote.deploy(root, unheard)
    commit = tree_commit(there(shared_sshd, box))
    assert commit is not None
    assert len(commit) == 40
    assert commit == tree_commit(root)
    (root / "tb").write_text((root / "tb").read_text() + "# changed\n")
    box.remote.deploy(root, unheard)
    assert tree_commit(there(shared_sshd, box)) == f"{commit}+"
