"""What a look at data in memory finds, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.core.helpers import digits_data
from zoo import ModelData, TensorLoader, check_data
from zoo.data.check.equal_rows import EqualRows, row_hashes
from zoo.data.check.report import DataReport, Finding


def made(x, y, cut: int, task: str | None = None, classes: list[str] | None = None) -> ModelData:
    data = ModelData(TensorLoader(x[:cut], y[:cut]), TensorLoader(x[cut:], y[cut:]))
    data.task, data.classes = task, classes
    return data


def found(data: ModelData) -> dict[str, Finding]:
    return {one.what: one for one in check_data(data).findings}


def test_clean_data_have_no_findings() -> None:
    x = torch.randn(300, 4)
    report = check_data(made(x, (x[:, 0] > 0).long(), 200))
    assert report.ok
    assert not report.findings
    assert repr(report) == "rows: train 200, valid 100\nnothing was found"
    assert check_data(digits_data()).ok  # pixels that never change are noted


def test_planted_faults_are_found_where_they_are() -> None:
    x, y = torch.randn(300, 4), torch.arange(300) % 2
    x[5], y[5] = x[2], y[2]  # twice in training, and again:
    x[6:11], y[6:11] = x[0], y[0]
    x[250], y[250] = x[30], y[30]  # across the split
    x[40], y[40] = x[41], 1 - y[41]  # the other label
    x[50, 1] = float("nan")
    x[:, 3] = 7.0
    data = made(x, y, 200)
    before = [part.clone() for part in data.train_dl.tensors]
    report = check_data(data)
    by = {one.what: one for one in report.findings}
    assert by["training rows in validation"].count == 1
    assert by["training rows in validation"].examples == ("valid row 50 = train row 30",)
    assert by["training rows that occur twice"].count == 6
    assert by["training rows that occur twice"].examples[0] == "train row 5 = train row 2"
    assert by["equal inputs, other label"].examples == ("train row 41 and train row 40",)
    assert by["values that are not finite"].examples == ("train row 50",)
    assert by["inputs that never change"].examples == ("column 3",)
    assert [one.severity for one in report.findings] == sorted(
        (one.severity for one in report.findings), key=["error", "warning", "note"].index
    )
    assert not report.ok
    assert all(
        torch.equal(a, b) or a.isnan().any() for a, b in zip(before, data.train_dl.tensors, strict=True)
    )


def test_classes() -> None:
    y = torch.tensor([0] * 150 + [1] * 47 + [2] * 3 + [0] * 98 + [3] * 2)
    data = made(torch.randn(300, 2), y, 200, "classification", ["a", "b", "c", "d"])
    report = check_data(data)
    by = {one.what: one for one in report.findings}
    assert by["classes only in validation"].examples == ("'d' (2)",)
    assert by["rare classes"].examples == ("'c' (3)",)
    assert by["classes without validation rows"].count == 2
    assert report.classes["a"] == {"train": 150, "valid": 98}


def test_columns_that_cannot_tell_rows_apart_are_no_fault() -> None:
    x = torch.randint(0, 3, (300, 2)).float()
    by = found(made(x, torch.arange(300) % 2, 200))
    assert {one.severity for one in by.values()} == {"note"}
    doubled = torch.randn(100, 2).repeat(3, 1)
    by = found(made(doubled, torch.arange(100).repeat(3) % 2, 200))
    assert by["training rows in validation"].severity == "error"


def test_equal_rows_are_equal_by_value() -> None:
    x = np.array([[0.0, np.nan], [-0.0, -np.nan], [1.0, 0.0], [0.0, 1.0]], dtype="float32")
    hashes = row_hashes(x)
    assert hashes[0] == hashes[1]
    assert len(np.unique(hashes)) == 3
    assert np.isnan(x[0, 1])
    rng = np.random.default_rng(0)
    many = rng.integers(0, 4, (2000, 5)).astype("int16")
    counted = EqualRows.of(row_hashes(many[:1500]), row_hashes(many[1500:]))
    seen = {tuple(row) for row in many[:1500].tolist()}
    assert len(counted.repeated) == 1500 - len(seen)
    assert len(counted.crossing) == sum(tuple(row) in seen for row in many[1500:].tolist())
    assert (many[counted.repeated] == many[counted.first]).all()


def test_page_and_table(tmp_path) -> None:
    finding = Finding("warning", "a <b>", "column '&'", 3, 0.5, ("<i>",), "Do it.")
    report = DataReport([finding], {"train": 10}, {"<c>": {"train": 10}}, ["a remark"])
    assert report.table.to_dict("records")[0]["share"] == 0.5
    page = report.html(tmp_path / "page.html").read_text()
    assert "<b>" not in page
    assert "a &lt;b&gt;" in page
    assert "&lt;c&gt;" in page
    assert "a remark" in page
    assert list(DataReport([], {}).table.columns)[:2] == ["severity", "what"]
    with pytest.raises(ValueError, match="severity"):
        Finding("bad", "", "", 0, None, (), "")


def test_other_loaders_are_counted_only_and_other_objects_refused() -> None:
    plain = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(6, 2), torch.zeros(6)), 2)
    report = check_data(ModelData(plain, plain))
    assert dict(report.rows) == {"train": 6, "valid": 6}
    assert "were only counted" in repr(report)
    with pytest.raises(TypeError, match="got list"):
        check_data([1])


def test_a_stream_without_a_length_is_told_and_not_counted() -> None:
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield from ((torch.ones(4), torch.ones(1)) for _ in range(40))

    report = check_data(ModelData(torch.utils.data.DataLoader(Stream(), 16)))
    assert report.rows == {}
    assert "were only counted" in str(report)


def test_whole_numbers_of_a_regression_are_no_classes() -> None:
    x, rng = torch.randn(400, 3), torch.Generator().manual_seed(0)
    prices = torch.randint(50_000, 2_000_000, (400, 1), generator=rng)
    for target in (prices, prices * 1000, torch.arange(400), torch.stack([prices[:, 0], prices[:, 0]], 1)):
        report = check_data(made(x, target, 300))
        assert report.classes == {}
        assert report.ok, report
    few = check_data(made(x, torch.arange(400) % 50, 300))
    assert len(few.classes) == 50
    marks = torch.stack([torch.arange(400) % 2, torch.ones(400, dtype=torch.int64)], 1)
    assert check_data(made(x, marks, 300)).classes["0"] == {"train": 150, "valid": 50}


def test_numbers_of_classes_may_be_large() -> None:
    y = torch.arange(400) % 2 * 10**12
    report = check_data(made(torch.randn(400, 3), y, 300, "classification"))
    assert report.classes == {"0": {"train": 150, "valid": 50}, "1000000000000": {"train": 150, "valid": 50}}


def test_bfloat16_is_looked_at_like_any_number() -> None:
    x = torch.randn(300, 4)
    x[50, 1] = float("nan")
    by = found(made(x.bfloat16(), (x[:, 0] > 0).long(), 200))
    assert by["values that are not finite"].examples == ("train row 50",)


def test_equal_inputs_on_both_sides_are_told_whatever_their_targets() -> None:
    x = torch.randn(500, 4)
    y = (x[:, 0] > 0).long()
    found = check_data(ModelData(TensorLoader(x, y), TensorLoader(x[:100], 1 - y[:100])))
    assert [one.what for one in found.findings if one.severity == "warning"] == [
        "inputs of training rows in validation"
    ]
    assert found.findings[0].count == 100
    values = x[:, 0] * 3
    near = ModelData(TensorLoader(x, values), TensorLoader(x[7:57], values[7:57] + 1e-3))
    found = check_data(near)
    assert found.findings[0].examples[0] == "valid row 0 and train row 7"


def test_training_rows_among_those_to_predict_are_told() -> None:
    x = torch.randn(500, 4)
    data = ModelData(TensorLoader(x, x[:, 0]), None)
    data.test_dl = TensorLoader(torch.cat([torch.randn(50, 4), x[30:50]]))
    (found,) = check_data(data).findings
    assert (found.what, found.count, found.examples[0]) == (
        "training rows among those to predict", 20, "test row 50 = train row 30"
    )  # fmt: skip


def test_a_target_that_never_changes_is_an_error() -> None:
    found = check_data(ModelData(TensorLoader(torch.randn(40, 2), torch.ones(40))))
    assert [(one.severity, one.what) for one in found.findings] == [("error", "the target never changes")]


def test_rows_that_nobody_looked_at_are_not_ok() -> None:
    rows = torch.utils.data.TensorDataset(torch.randn(6, 2), torch.ones(6))
    report = check_data(ModelData(torch.utils.data.DataLoader(rows, batch_size=2)))
    assert not report.ok
    assert not report.looked_at
