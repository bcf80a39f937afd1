"""The batch as the model sees it, and what is left behind by looking at it: nothing."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import zoo
from zoo import DatasetLoader, Learner, ModelData, TensorLoader, fit


def doubled(batch, training, generator):
    shift = torch.rand((), generator=generator) if training else 0.0
    return batch[0] * 2 + shift, batch[1]


@pytest.mark.parametrize("kind", ["tensors", "rows", "torch"])
def test_a_batch_is_that_of_the_fit_and_leaves_no_trace(kind):
    x, y = torch.arange(20.0)[:, None], torch.arange(20)
    generator = torch.Generator().manual_seed(5)
    loader = {
        "tensors": lambda: TensorLoader(x, y, bs=6, shuffle=True, seed=1, batch_transform=doubled),
        "rows": lambda: DatasetLoader(TensorDataset(x, y), 6, True, seed=1, batch_transform=doubled),
        "torch": lambda: DataLoader(TensorDataset(x, y), 6, shuffle=True, generator=generator),
    }[kind]()
    data = ModelData(loader, TensorLoader(x, y, bs=7, batch_transform=doubled))
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), generator.get_state()
    inputs, target = data.one_batch()
    again, _ = data.one_batch(train=True, device="cpu")
    assert torch.equal(inputs, again)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(generator.get_state(), before[2])
    seen = []
    net = nn.Linear(1, 20)
    opt = torch.optim.SGD(net.parameters(), lr=0.0)

    class Look(zoo.Callback):
        def before_batch(self, state):
            seen.append((state.inputs[0].clone(), state.target.clone()))

    fit(net, ModelData(loader), 1, opt, nn.functional.cross_entropy, callbacks=[Look()])
    assert torch.equal(seen[0][0], inputs)
    assert torch.equal(seen[0][1], target)
    assert data.one_batch(train=False)[0].tolist() == [[2.0 * i] for i in range(7)]
    with pytest.raises(ValueError, match="there are no validation data"):
        ModelData(loader).one_batch(train=False)


def test_models_get_codes_that_any_embedding_takes():
    for kind in (torch.int8, torch.int16, torch.int32, torch.int64):
        codes, y = torch.arange(8).to(kind), torch.arange(8).to(kind)
        data = ModelData(TensorLoader(codes, y, bs=4), TensorLoader(codes, y, bs=4))
        learn = Learner(data, nn.Embedding(8, 8), device="cpu", progress=False, loss_fn=nn.CrossEntropyLoss())
        if kind == torch.int32:  # torch's own loss wants int64 and takes nothing else
            learn.loss_fn = zoo.losses.CrossEntropyFlat()
        learn.fit(0.1, 1)
        assert learn.predict().shape == learn.predict_array(codes).shape == (8, 8)
        assert data.train_dl.tensors[0].dtype == kind
        assert learn.summary().n_params == 64


def test_a_batch_is_shown_as_a_frame():
    data = ModelData(TensorLoader(torch.zeros(5, 2), torch.ones(5, 3, 8, 8), torch.arange(5) % 2, bs=4))
    data.task, data.classes = "classification", ["cat", "dog"]
    frame = data.show_batch(3)
    assert list(frame) == ["x0_0", "x0_1", "x1", "target"]
    assert frame.target.tolist() == ["cat", "dog", "cat"]
    assert frame.x1[0] == "3 x 8 x 8, mean 1, from 1 to 1"
    data = ModelData(TensorLoader(torch.zeros(5), torch.eye(5, 2), bs=4))
    data.task, data.classes = "multilabel", ["cat", "dog"]
    assert data.show_batch().target.tolist() == ["cat", "dog", "", ""]
    rows = [(torch.zeros(2), (torch.ones(1), torch.tensor(0.5))) for _ in range(4)]
    assert list(ModelData(DataLoader(rows, 4)).show_batch()) == ["x_0", "x_1", "target_0", "target_1"]
