from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import SpecError
from testbed.run.files import replacing


def test_replacing_puts_the_new_file_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for text in ("first", "second"):
        with replacing(path) as partial:
            partial.write_text(text, encoding="ascii")
        assert path.read_text(encoding="ascii") == text
    assert list(path.parent.iterdir()) == [path]


def test_replacing_after_an_error_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before", encoding="ascii")

    def write() -> None:
        with replacing(path) as partial:
            partial.write_text("half", encoding="ascii")
            raise OSError(36, "it fails")

    with pytest.raises(SpecError, match="cannot be written: it fails"):
        write()
    assert path.read_text(encoding="ascii") == "before"
    assert list(tmp_path.iterdir()) == [path]
