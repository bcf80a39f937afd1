"""Files that earlier versions wrote open, and give what they gave then."""

from __future__ import annotations

import contextlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.gallery.cases import CASES, Case, answers, losses
from zoo import Callback, load_data, load_learner

FOLDER = Path(__file__).parent
LATER = ["core", "language_model", "ratings_dot", "table_classes", "table_values", "text_classes"]
WRITTEN = sorted(path.parent for path in FOLDER.glob("format*/*/expected.json"))


def close(found: Any, expected: Any, tolerance: float) -> None:
    """Equal, numbers up to what another processor may round otherwise."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            close(found[key], expected[key], tolerance)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            close(one, other, tolerance)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)
    else:
        assert found == expected


@pytest.fixture(params=WRITTEN, ids=lambda path: f"{path.parent.name}-{path.name}")
def written(request) -> Path:
    return request.param


@pytest.fixture
def expected(written: Path) -> dict[str, Any]:
    return json.loads((written / "expected.json").read_text())


def unpacked(written: Path, kind: str, where: Path) -> Path:
    where.mkdir(parents=True, exist_ok=True)
    with tarfile.open(written / f"{kind}.tar.xz") as packed:
        packed.extractall(where, filter="data")
    return where


def rebuilt(written: Path, path: Path) -> Case:
    torch.manual_seed(0)
    path.mkdir(exist_ok=True)
    return CASES[written.name](path)


def warned_of_age(written: Path, learn: Any) -> contextlib.AbstractContextManager[Any]:
    """Files of the first format do not say what their numbers stand for, which is told."""
    silent = written.parent.name == "format1" and learn.data.mapping()
    return pytest.warns(UserWarning, match="older zoo") if silent else contextlib.nullcontext()


def test_every_case_is_kept() -> None:
    assert {path.name for path in WRITTEN if path.parent.name == "format1"} == set(CASES)
    assert {path.name for path in WRITTEN if path.parent.name == "format2"} == set(LATER)
    assert sum(file.stat().st_size for file in FOLDER.rglob("*.xz")) < 2_000_000


@pytest.mark.parametrize("form", ["folder", "file.zip"])
def test_exported_learners_answer_as_they_did(written, expected, tmp_path, form: str) -> None:
    raw = rebuilt(written, tmp_path / "case").raw
    learn = load_learner(unpacked(written, "export", tmp_path) / "export" / form, device="cpu")
    close(answers(learn, raw), expected["answers"], 1e-4)


def test_weights_fit_the_model_and_give_the_loss_they_gave(written, expected, tmp_path) -> None:
    learn = rebuilt(written, tmp_path).learn
    unpacked(written, "models", tmp_path)
    with warned_of_age(written, learn):
        learn.load("weights")
    assert learn.evaluate()["valid_loss"] == pytest.approx(expected["valid_loss"], rel=1e-4)


class First(Callback):
    """The training batch with which a fit begins, counted over its epochs."""

    def __init__(self) -> None:
        self.batch: int | None = None

    def after_batch(self, state: Any) -> None:
        if self.batch is None and state.training:
            self.batch = state.batches_before + state.batch_index


def test_checkpoints_are_gone_on_from(written, expected, tmp_path) -> None:
    case = rebuilt(written, tmp_path)
    unpacked(written, "checkpoint", tmp_path)
    first = First()
    with warned_of_age(written, case.learn):
        rows = case.fit(checkpoint_every=case.every, resume=True, callbacks=[first])
    assert first.batch == 2 * case.every
    close(losses(rows), expected["losses"], 2e-3)


def test_encoders_go_into_classifiers(tmp_path) -> None:
    for written in (path for path in WRITTEN if path.name == "language_model"):
        classifier = rebuilt(written.with_name("text_classes"), tmp_path).learn
        before = classifier.model.encoder.embedding.weight.clone()
        unpacked(written, "models", tmp_path)
        classifier.load_encoder("encoder")
        assert not torch.equal(before, classifier.model.encoder.embedding.weight)


def test_prepared_data_give_the_rows_they_gave(written, expected, tmp_path) -> None:
    if not (written / "prepared.tar.xz").is_file():
        pytest.skip("written before data could be saved")
    learn = rebuilt(written, tmp_path).learn
    unpacked(written, "models", tmp_path)
    learn.load("weights")
    data = load_data(unpacked(written, "prepared", tmp_path) / "prepared")
    found = learn.evaluate(data.valid_dl)["valid_loss"]
    assert found == pytest.approx(expected["valid_loss"], rel=1e-4)
    assert data.mapping() == learn.data.mapping()
