"""Where heads and recurrent layers begin."""

import math

import pytest
import torch
from torch import nn

from zoo.engine.init import identity_gates_, identity_recurrent, kaiming_head


@torch.no_grad()
def test_a_head_keeps_the_size_of_signals_through_its_rectifiers():
    head = nn.Sequential(*(part for _ in range(6) for part in (nn.Linear(400, 400), nn.ReLU())))
    x = torch.randn(500, 400)
    assert head(x).square().mean() < 1e-3  # torch's own start
    assert kaiming_head(head) is head
    assert float(head(x).square().mean()) == pytest.approx(1.0, rel=0.5)
    for layer in head[::2]:
        assert float(layer.weight.std()) == pytest.approx(math.sqrt(2 / 400), rel=0.02)
        assert float(layer.weight.mean()) == pytest.approx(0, abs=1e-3)
        assert not layer.bias.any()


@torch.no_grad()
def test_convolutions_count_all_their_inputs():
    for conv, inputs in ((nn.Conv2d(32, 64, 3), 288), (nn.Conv1d(50, 65, 5, groups=5), 50)):
        kaiming_head(conv)
        assert float(conv.weight.var()) == pytest.approx(2 / inputs, rel=0.1)
        assert not conv.bias.any()


def test_norms_begin_anew_and_other_layers_stay():
    embedding = nn.Embedding(4, 3)
    before = embedding.weight.detach().clone()
    norms = [nn.BatchNorm1d(3), nn.LayerNorm(3), nn.GroupNorm(1, 3), nn.RMSNorm(3)]
    plain = [
        nn.BatchNorm1d(3, affine=False),
        nn.LayerNorm(3, elementwise_affine=False),
        nn.LayerNorm(3, bias=False),
    ]
    for norm in norms + plain:
        for param in norm.parameters():
            nn.init.constant_(param, 5.0)
    norms[0](torch.randn(9, 3) + 7)
    kaiming_head(nn.ModuleList([embedding, *norms, *plain, nn.Linear(3, 2, bias=False)]))
    assert torch.equal(embedding.weight, before)
    for norm in norms + plain:
        for name, param in norm.named_parameters():
            assert (param == (name == "weight")).all()
    assert not norms[0].running_mean.any()


@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_recurrent_weights_become_the_identity_in_every_layer_and_direction(kind, gates):
    layer = kind(3, 5, num_layers=2, bidirectional=True)
    before = {name: value.clone() for name, value in layer.named_parameters()}
    assert identity_recurrent(nn.Sequential(layer))[0] is layer
    for name, value in layer.named_parameters():
        if name.startswith("weight_hh"):
            assert torch.equal(value, torch.eye(5).repeat(gates, 1))
        else:
            assert torch.equal(value, before[name])


def test_a_rectified_network_without_bias_carries_its_state():
    layer = nn.RNN(2, 4, nonlinearity="relu", bias=False, batch_first=True)
    identity_recurrent(layer)
    state = torch.rand(1, 1, 4)
    out, _ = layer(torch.zeros(1, 50, 2), state)
    assert torch.allclose(out[:, -1], state[0])
    cell = identity_recurrent(nn.LSTMCell(2, 3))
    assert torch.equal(cell.weight_hh, torch.eye(3).repeat(4, 1))


def test_what_has_no_square_recurrent_weights_is_refused():
    with pytest.raises(ValueError, match="this Linear has no"):
        identity_recurrent(nn.Linear(2, 2))
    lstm = nn.LSTM(2, 4, proj_size=2)
    before = lstm.weight_hh_l0.clone()
    with pytest.raises(ValueError, match="proj_size are not square"):
        identity_recurrent(lstm)
    assert torch.equal(before, lstm.weight_hh_l0)
    assert identity_gates_(torch.zeros(2, 2, dtype=torch.float64)).dtype == torch.float64


def test_a_normed_weight_is_drawn_too():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(2000, 20))
    before = layer.weight.detach().clone()
    kaiming_head(layer)
    assert not torch.equal(layer.weight, before)
    assert float(layer.weight.detach().std()) == pytest.approx(math.sqrt(2 / 2000), rel=0.05)
