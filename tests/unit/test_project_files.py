"""What the project's own files say about each other."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from testbed import __version__

LEFT_OUT = {"oslo-config needs requests", "os-ken needs ncclient"}
"""For settings from a web server and for OF-CONFIG, which nothing here uses."""


def locked(repository: Path, file: str = "requirements.lock") -> dict[str, str]:
    lines = (repository / file).read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {normal(name): version for name, version in pairs}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def all_locked(repository: Path) -> dict[str, str]:
    return locked(repository) | locked(repository, "requirements-lint.lock")


def project(repository: Path) -> dict[str, object]:
    with (repository / "pyproject.toml").open("rb") as file:
        table = tomllib.load(file)["project"]
    assert isinstance(table, dict)
    return table


def test_lock_file_pins_every_dependency_of_pyproject(repository: Path) -> None:
    table = project(repository)
    wanted = [*table["dependencies"], *table["optional-dependencies"]["dev"]]  # type: ignore[misc,index]
    names = {normal(re.split(r"[<>=~ ]", one)[0]) for one in wanted}
    assert len(names) > 10
    assert names <= set(all_locked(repository))


def test_lock_file_holds_all_that_its_packages_need(repository: Path) -> None:
    """Else a package of the system's Python could stand in for it on one machine and be missing on the next."""
    pinned = set(locked(repository))
    missing = {
        f"{name} needs {requirement.name}"
        for name in pinned
        for text in importlib.metadata.requires(name) or []
        if (requirement := Requirement(text)) and normal(requirement.name) not in pinned
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    }
    assert missing == LEFT_OUT


def test_documented_versions_are_those_of_the_lock_file(repository: Path) -> None:
    text = (repository / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([\w-]+) \| ([\d.]+) \|", text, re.MULTILINE))
    rest = dict(
        re.findall(r"([\w-]+) (\d[\w.]*)[,.](?:\s|$)", text.split("Needed by these:")[1].split("\n\n")[0])
    )
    documented = {normal(name): version.rstrip(".") for name, version in (rows | rest).items()}
    assert documented == all_locked(repository)


def test_what_the_lint_runs_is_pinned_apart(repository: Path) -> None:
    """So that nothing but the lint installs it."""
    of_lint = set(locked(repository, "requirements-lint.lock"))
    assert {"ruff", "mypy", "clang-format", "clang-tidy"} <= of_lint
    assert not of_lint & set(locked(repository))


def test_version_of_package_and_project_agree(repository: Path) -> None:
    assert project(repository)["version"] == __version__


def test_links_of_the_documents_lead_to_files(repository: Path) -> None:
    documents = [*repository.glob("*.md"), *(repository / "docs").glob("*.md")]
    broken = [
        f"{document.name}: {target}"
        for document in documents
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert not broken
