"""Golden values and shapes of the recommender models."""

import math

import pytest
import torch

from zoo_collab import EmbeddingDotBias, EmbeddingNet


def test_dot_product_and_biases_by_hand():
    model = EmbeddingDotBias(3, 3, 2, y_range=(0, 5))
    with torch.no_grad():
        model.user_factors.weight[1] = torch.tensor([1.0, 2.0])
        model.item_factors.weight[2] = torch.tensor([0.5, -0.25])
        model.user_bias.weight[1], model.item_bias.weight[2] = 0.3, -0.1
    expected = 5 / (1 + math.exp(-(0.5 - 0.5 + 0.3 - 0.1)))
    out = model(torch.tensor([1, 0, 1]), torch.tensor([2, 2, 0]))
    torch.testing.assert_close(
        out, torch.tensor([expected, 5 / (1 + math.exp(0.1)), 5 / (1 + math.exp(-0.3))]), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(
    "model",
    [
        EmbeddingDotBias(4, 7, 5, y_range=(1, 5), mean=3.2),
        EmbeddingNet(4, 7, (3, 2), [6, 5], dropouts=0.5, y_range=(1, 5), mean=3.2),
        EmbeddingNet(4, 7, 3, hidden=[]),
    ],
)
def test_every_item_at_once_equals_pair_by_pair(model, monkeypatch):
    model.eval()
    users = torch.tensor([3, 0, 1, 2])
    pairs = model(users.repeat_interleave(7), torch.arange(7).repeat(4)).reshape(4, 7)
    torch.testing.assert_close(model.squash(model.all_scores(users)), pairs)
    monkeypatch.setattr("zoo_collab.model.models._PAIRS", 15)  # two users at a time
    torch.testing.assert_close(model.squash(model.all_scores(users)), pairs)
    assert model.all_scores(users[:0]).shape == (0, 7)


@pytest.mark.parametrize("mean", [1.2, 3.0, 4.9])
def test_unknown_pair_gets_the_mean(mean):
    assert EmbeddingDotBias(4, 7, 5, y_range=(1, 5), mean=mean)(
        torch.tensor([0]), torch.tensor([0])
    ).item() == (pytest.approx(mean, abs=1e-5))


def test_predictions_stay_inside_the_range_and_no_range_is_free():
    model = EmbeddingDotBias(2, 2, 1, y_range=(1, 5))
    free = EmbeddingDotBias(2, 2, 1, mean=3.0)
    with torch.no_grad():
        for table in (model, free):
            table.user_bias.weight[1] = 50.0
    assert model(torch.tensor([1]), torch.tensor([0])).item() == pytest.approx(5)
    assert free(torch.tensor([1]), torch.tensor([0])).item() == 53


def test_the_unknown_row_stays_zero_in_training():
    model = EmbeddingDotBias(5, 5, 3, y_range=(1, 5))
    opt = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(5):
        loss = (model(torch.tensor([0, 1, 2]), torch.tensor([2, 0, 1])) - 5).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    for table in (model.user_factors, model.item_factors, model.user_bias, model.item_bias):
        assert not table.weight[0].any()
        assert table.weight[1].any()


def test_factors_and_biases_are_the_layer_groups():
    model = EmbeddingDotBias(5, 5, 3)
    groups = model.layer_groups()
    assert list(groups) == ["factors", "biases"]
    assert groups["factors"] == [model.user_factors, model.item_factors]
    assert groups["biases"] == [model.user_bias, model.item_bias]


def test_embedding_net_sizes_and_dropouts():
    net = EmbeddingNet(6, 9, (3, 4), hidden=[8, 5], dropouts=[0.1, 0.2], y_range=(1, 5))
    assert [m.out_features for m in net.hidden if isinstance(m, torch.nn.Linear)] == [8, 5]
    assert [m.p for m in net.hidden if isinstance(m, torch.nn.Dropout)] == [0.1, 0.2]
    assert net.hidden[0].in_features == 7
    out = net(torch.tensor([0, 5]), torch.tensor([8, 0]))
    assert out.shape == (2,)
    assert ((out > 1) & (out < 5)).all()
    three = EmbeddingNet(6, 9, 4, hidden=[8, 5], dropouts=[0.3, 0.1, 0.2])
    assert isinstance(three.hidden[0], torch.nn.Dropout)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EmbeddingDotBias(3, 0, 2), "n_items must be a whole number of 1 or more, got 0"),
        (lambda: EmbeddingDotBias(3, 3, 2, y_range=(5, 1)), r"lowest < highest, got \(5, 1\)"),
        (
            lambda: EmbeddingNet(3, 3, 2, hidden=[4, 4], dropouts=[0.1]),
            "needs 2 or 3 numbers for 2 hidden layers, got 1",
        ),
        (lambda: EmbeddingNet(3, 3, (1, 2, 3)), "one width or"),
    ],
)
def test_wrong_sizes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
