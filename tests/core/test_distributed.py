"""Several processes train as one: real processes under torchrun, compared with this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.core.distributed_runs import RUNS, work
from tests.core.helpers import digits_learner
from tests.core.processes import equal, launch
from tests.core.processes import ranks as together
from zoo.data.loaders.shards import batch_rows, cut, share, shares, taken
from zoo.distributed.global_norm import GlobalBatchNorm
from zoo.storage.checkpoint import read_tree

SCRIPT = "core/distributed_runs.py"
COMPARED = [
    "one_row_left", "batch_norm", "batch_norm_2d_in_groups", "torch_loader", "decoded_rows", "accumulated",
    "few_rows", "summed_metrics", "several_parts",
]  # fmt: skip
DOMAINS = ["tabular.streamed", "text.language_model", "text.classifier"]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("processes")
    done = launch(SCRIPT, folder, *COMPARED, *DOMAINS, "bfloat16", "generators", "files", "failures_survived")
    assert done.returncode == 0, done.stdout + done.stderr
    results = [read_tree(folder / f"rank_{number}.safetensors") for number in (0, 1)]
    results[0]["output"], results[0]["folder"] = done.stdout + done.stderr, folder
    return results


@pytest.mark.parametrize("name", [*COMPARED, *DOMAINS, "bfloat16"])
def test_all_processes_agree_exactly(ranks: list[dict[str, Any]], name: str) -> None:
    equal(ranks[0][name], ranks[1][name], 0.0)


@pytest.mark.parametrize("name", COMPARED)
def test_two_processes_give_what_one_gives(ranks: list[dict[str, Any]], name: str, tmp_path: Path) -> None:
    alone = RUNS[name](tmp_path)
    equal(alone, ranks[0][name], 2e-5, name)


def test_bfloat16_stays_near_one_process(ranks: list[dict[str, Any]], tmp_path: Path) -> None:
    alone, here = RUNS["bfloat16"](tmp_path), ranks[0]["bfloat16"]
    assert (alone["losses"] - here["losses"]).abs().max() < 0.05
    assert here["weights"]["body.1.running_mean"].dtype == torch.float32


def test_the_finder_leaves_no_trace_in_any_process(ranks: list[dict[str, Any]]) -> None:
    assert [rank["one_row_left"]["no trace"] for rank in ranks] == [True, True]


def test_processes_draw_differently_in_a_fit_and_alike_after_it(ranks: list[dict[str, Any]]) -> None:
    first, second = ranks[0]["generators"], ranks[1]["generators"]
    assert first["inside"] != second["inside"]
    assert first["inside plain"] != second["inside plain"]
    assert first["after"] == second["after"]
    assert first["seed"] == second["seed"] == 100


def test_files_are_written_once_and_read_by_all(ranks: list[dict[str, Any]]) -> None:
    folder = ranks[0]["folder"]
    assert [rank["files"]["same"] for rank in ranks] == [True, True]
    assert sorted(rank["files"]["claim"] for rank in ranks) == [False, True]
    lines = (folder / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "0", "1"]
    assert len(list((folder / "board").iterdir())) == 1
    saved = sorted(file.name for file in (folder / "models").iterdir())
    assert saved == [f"{name}.safetensors" for name in ("best", "cycle_cyc_0", "cycle_cyc_1", "mine")]


def test_one_epoch_table_is_printed(ranks: list[dict[str, Any]]) -> None:
    tables = [line for line in ranks[0]["output"].splitlines() if line.split()[:2] == ["epoch", "train_loss"]]
    fits = len(COMPARED) - 1 + 4  # the bare loop prints none
    assert len(tables) == fits


def test_failures_are_told_to_all_and_can_be_survived(ranks: list[dict[str, Any]]) -> None:
    first, second = (rank["failures_survived"] for rank in ranks)
    assert first["both"] == second["both"] == "ValueError: rotten rows"
    assert first["one"] == "ProcessFailed: process 1 failed: ValueError: rotten row"
    assert second["one"] == "ValueError: rotten row"
    assert first["interrupt"] == second["interrupt"] == "interrupted"
    for name, reason in (("other length", "rows: 256 in process 0, 257 in 1"), ("other rows", "rows of 0")):
        assert first[name] == second[name]
        assert reason in first[name]
        assert "seed your split" in first[name]
    assert "LBFGS evaluates the loss by itself" in first["closure"]
    equal(first["weights"], second["weights"], 0.0)
    assert first["rows"][0]["valid_loss"] < 2.3


def test_an_error_in_one_process_ends_all_with_its_message(tmp_path: Path) -> None:
    assert together(work, tmp_path, "failure", output=tmp_path, end_others=False) == [1, 1]
    first, second = ((tmp_path / rank / "stderr").read_text() for rank in "01")
    assert "[rank1]: ValueError: rotten row" in second
    assert "process 1 failed: ValueError: rotten row" in first
    assert not list(tmp_path.glob("rank_*"))


def test_a_killed_process_ends_all(tmp_path: Path) -> None:
    done = launch(SCRIPT, tmp_path, "killed")
    assert done.returncode != 0
    assert "SIGKILL" in done.stderr


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_shares_cover_every_row_once_and_differ_by_one_at_most(rows: int, world: int) -> None:
    parts = [share(rows, rank, world) for rank in range(world)]
    assert [row for start, stop in parts for row in range(start, stop)] == list(range(rows))
    assert max(shares(rows, world)) - min(shares(rows, world)) <= 1
    assert all(taken(rows, rank, world).stop > taken(rows, rank, world).start for rank in range(world))


def test_batches_of_any_structure_are_cut() -> None:
    x = torch.arange(12).reshape(4, 3)
    batch = ({"a": x, "b": [x[:, 0], x[:, 1]]}, ["p", "q", "r", "s"], torch.arange(8))
    assert batch_rows(batch) == 4
    (parts, names, target) = cut(batch, 4, slice(1, 3))
    assert parts["a"].tolist() == x[1:3].tolist()
    assert [column.tolist() for column in parts["b"]] == [[3, 6], [4, 7]]
    assert names == ["q", "r"]
    assert target.tolist() == [2, 3, 4, 5]


def test_batches_that_cannot_be_shared_are_refused() -> None:
    with pytest.raises(ValueError, match="one part has 3 rows, the first has 4"):
        cut((torch.zeros(4), torch.zeros(3), torch.zeros(4)), 4, slice(0, 2))
    with pytest.raises(ValueError, match="no tensor with rows"):
        batch_rows(("text", 3))


@pytest.mark.parametrize("shape", [(6, 4), (5, 3, 7), (4, 3, 5, 2)])
def test_global_batch_norm_of_one_process_is_torchs(shape: tuple[int, ...]) -> None:
    layers = [torch.nn.LazyBatchNorm1d, torch.nn.LazyBatchNorm1d, torch.nn.LazyBatchNorm2d]
    plain, ours = (layers[len(shape) - 2]() for _ in range(2))
    x = torch.randn(shape, dtype=torch.float64) * 3 + 5
    results = []
    for layer, mode in ((plain, None), (ours, GlobalBatchNorm())):
        layer.double()
        inputs = x.clone().requires_grad_()
        if mode is None:
            out = layer(inputs)
        else:
            with mode:
                out = layer(inputs)
        (
            out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
        ).square().sum().backward()
        results.append([out, inputs.grad, layer.weight.grad, layer.bias.grad, *layer.buffers()])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_batch_sizes_are_found_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.training.batch_size.world_size", lambda: 2)
    with pytest.raises(ValueError, match="run it in one"):
        digits_learner().find_batch_size()
