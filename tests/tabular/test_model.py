"""The network: one fused table equals many, dropout keeps its rate, any mix of columns works."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo_tabular import MixedInputModel
from zoo_tabular.model.layers import Dropout, FusedEmbedding

SIZES = [(5, 3), (7, 1), (300, 50)]


def test_fused_table_equals_one_embedding_a_column() -> None:
    fused = FusedEmbedding(SIZES)
    plain = nn.ModuleList(nn.Embedding(levels, width) for levels, width in SIZES)
    for i, table in enumerate(plain):
        table.weight.data.copy_(fused.table(i))
    codes = torch.stack([torch.randint(0, levels, (40,)) for levels, _ in SIZES], 1)
    weights = torch.randn(40, 54)
    ours = fused(codes.to(torch.int16))
    theirs = torch.cat([table(codes[:, i]) for i, table in enumerate(plain)], 1)
    assert torch.equal(ours, theirs)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    expected = torch.cat([table.weight.grad.flatten() for table in plain])
    torch.testing.assert_close(fused.weight.grad.flatten(), expected)


@pytest.mark.parametrize("p", [0.001, 0.04, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_keeps_its_rate_and_the_mean(p: float, dtype: torch.dtype) -> None:
    layer = Dropout(p).train()
    x = torch.ones(1000, 1003, dtype=dtype, requires_grad=True)
    out = layer(x)
    n = x.numel()
    dropped = (out == 0).sum().item()
    assert abs(dropped - p * n) < 5 * (n * p * (1 - p)) ** 0.5 + n / 2**17
    assert abs(out.float().mean().item() - 1) < 0.01
    out.sum().backward()
    assert torch.equal(x.grad, out.detach()), "the gradient passes where the value did"
    by_column = (out == 0).float().mean(0)
    assert by_column.std() < 2 * (p * (1 - p) / 1000) ** 0.5, "columns are dropped independently"
    assert torch.equal(layer.eval()(x), x)


def test_rare_dropout_treats_every_place_alike() -> None:
    layer, p, draws = Dropout(0.05).train(), 0.05, 4000
    torch.manual_seed(1)
    dropped = sum(layer(torch.ones(7)) == 0 for _ in range(draws))
    limit = 5 * (draws * p * (1 - p)) ** 0.5
    assert (dropped - draws * p).abs().max() < limit, "the first and the last value too"
    pairs = torch.stack([layer(torch.ones(2000)) == 0 for _ in range(100)])
    together = (pairs[:, 1:] & pairs[:, :-1]).float().mean().item()
    assert abs(together - p**2) < 5 * p / 200_000**0.5, "neighbours are dropped independently"


@pytest.mark.parametrize("p", [1e-9, 0.01, 0.3])
@pytest.mark.parametrize("shape", [(0, 4), (1,), (), (3, 5, 2)])
def test_dropout_of_any_shape(p: float, shape: tuple) -> None:
    assert Dropout(p).train()(torch.ones(shape)).shape == shape


def test_dropout_of_a_transposed_input_passes_gradients_where_values_did() -> None:
    x = torch.ones(40, 90, requires_grad=True)
    out = Dropout(0.04).train()(x.t())
    out.sum().backward()
    assert torch.equal(x.grad, out.detach().t())


def test_exports_with_any_number_of_rows() -> None:
    model = MixedInputModel(SIZES, 2, 0.04, szs=[8], drops=0.01).eval()
    codes, numbers = torch.ones(4, 3, dtype=torch.int16), torch.randn(4, 2)
    rows = torch.export.Dim("rows")
    program = torch.export.export(model, (codes, numbers), dynamic_shapes=({0: rows}, {0: rows}))
    more = torch.ones(9, 3, dtype=torch.int16), torch.randn(9, 2)
    torch.testing.assert_close(program.module()(*more), model(*more))


@pytest.mark.parametrize(
    ("sizes", "n_cont", "szs"), [(SIZES, 4, [8, 4]), ([], 4, [8]), (SIZES, 0, [8]), (SIZES, 2, [])]
)
def test_any_mix_of_columns(sizes: list, n_cont: int, szs: list) -> None:
    model = MixedInputModel(sizes, n_cont, 0.1, 2, szs, 0.1)
    codes = torch.zeros(6, len(sizes), dtype=torch.int16)
    out = model(codes, torch.randn(6, n_cont))
    assert out.shape == (6, 2)
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert list(model.layer_groups())[-2:] == ["hidden", "output"]


def test_range_holds_and_is_float32_under_bfloat16() -> None:
    model = MixedInputModel(SIZES, 2, szs=[8], y_range=(2, 5)).eval()
    with torch.autocast("cpu", torch.bfloat16):
        out = model(torch.zeros(50, 3, dtype=torch.long), torch.randn(50, 2) * 100)
    assert out.dtype == torch.float32
    assert out.min() >= 2
    assert out.max() <= 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 0), "at least one category or number column"),
        (([(3, 0)], 1), r"expected pairs \(levels, width\)"),
        (([], 1, 0.0, 1, [4, 4], [0.1]), "drops: 1 values for 2 hidden layers"),
        (([], 1, 1.0), "a dropout probability"),
        (([], 1, 0.0, 1, [4], 0.0, (5, 2)), "low < high"),
        (([], 1, 0.0, 0), "must be positive"),
    ],
)
def test_wrong_sizes_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixedInputModel(*arguments)


@pytest.mark.parametrize("shape", [(4, 2), (4, 4), (3,), (2, 3, 1)])
def test_codes_of_another_number_of_columns_are_refused(shape: tuple) -> None:
    with pytest.raises(ValueError, match=r"codes of shape \(rows, 3\).*got"):
        FusedEmbedding(SIZES)(torch.zeros(shape, dtype=torch.int16))
