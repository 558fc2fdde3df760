from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.spec.experiment import Variant
from testbed.vm.runs.sent import pack, restore, spec_bytes
from tests.unit.remote_runs import EXPERIMENT, write_result


def test_an_experiment_that_names_no_file_is_sent_as_it_is() -> None:
    sent = pack(replace(EXPERIMENT, controller="os-ken"))
    assert sent.experiment == replace(EXPERIMENT, controller="os-ken")
    assert (dict(sent.files), dict(sent.originals)) == ({}, {})


@pytest.mark.parametrize("reference", ["my/star.py", "./star.py", "star.py"])
def test_a_relative_reference_stays(reference: str) -> None:
    sent = pack(replace(EXPERIMENT, topology=reference))
    assert sent.experiment.topology == reference
    assert dict(sent.files) == {reference.removeprefix("./"): Path(reference)}
    assert not sent.originals


@pytest.mark.parametrize(
    "reference", ["/home/ann/star.py", "../star.py", "a/../../star.py", "given/0/star.py"]
)
def test_a_reference_that_leads_elsewhere_is_given_a_place(reference: str) -> None:
    sent = pack(replace(EXPERIMENT, topology=reference))
    assert sent.experiment.topology == "given/0/star.py"
    assert dict(sent.files) == {"given/0/star.py": Path(reference)}
    assert dict(sent.originals) == ({} if reference == "given/0/star.py" else {"given/0/star.py": reference})


def test_a_controller_called_as_the_spec_does_not_take_its_place() -> None:
    sent = pack(replace(EXPERIMENT, controller="spec.json"))
    assert sent.experiment.controller == "given/0/spec.json"


def test_two_files_of_one_name_have_two_places_and_one_named_twice_has_one() -> None:
    variants = (Variant(name="a", topology="/x/star.py"), Variant(name="b", topology="/y/star.py"))
    sent = pack(replace(EXPERIMENT, topology="/x/star.py", controller="/x/app.py", variants=variants))
    assert sent.experiment.topology == sent.experiment.variants[0].topology == "given/0/star.py"
    assert sent.experiment.variants[1].topology == "given/1/star.py"
    assert sent.experiment.controller == "given/2/app.py"
    assert len(sent.files) == 3


def test_the_users_references_are_back_in_a_result(tmp_path: Path) -> None:
    given = replace(EXPERIMENT, controller="/home/ann/app.py", topology="kept.py")
    sent = pack(given)
    write_result(tmp_path / "r", seed=1, spec=sent.experiment)
    for _ in range(2):  # once more changes nothing
        restore(tmp_path / "r", sent.originals)
        texts = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "r").iterdir()}
        assert texts["spec.json"].encode() == spec_bytes(given)
        assert json.loads(texts["metadata.json"]) == {"control": {"controller": "/home/ann/app.py"}}
        assert json.loads(texts["summary.json"])["control"] == {"controller": "/home/ann/app.py"}
        assert "/home/ann/app.py" in texts["report.txt"]
        assert not any("given/" in text for text in texts.values())


def test_a_result_of_an_experiment_without_files_is_left_as_it_is(tmp_path: Path) -> None:
    write_result(tmp_path / "r", seed=1)
    restore(tmp_path / "r", {})
    assert (tmp_path / "r" / "report.txt").read_text(encoding="utf-8") == "as it was there\n"
