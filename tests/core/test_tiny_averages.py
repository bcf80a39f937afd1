"""Averages of gradients that have faded to nothing are cleared, and nothing else is."""

import torch
from torch import nn

import zoo
from zoo.engine.tiny_averages import clear_tiny_averages

ROWS = 40_000


def test_only_tiny_numbers_of_large_averages() -> None:
    large, small = nn.Parameter(torch.zeros(ROWS, 2)), nn.Parameter(torch.zeros(3))
    opt = torch.optim.AdamW([large, small])
    large.grad, small.grad = torch.ones_like(large), torch.ones_like(small)
    opt.step()
    opt.state[large]["exp_avg"][1] = torch.tensor([1e-31, -1e-39])
    opt.state[large]["exp_avg"][2] = torch.tensor([1e-29, -1e-29])
    opt.state[large]["exp_avg_sq"][3] = 1e-40
    opt.state[small]["exp_avg"][0] = 1e-31
    before = opt.state[large]["exp_avg"].clone()
    clear_tiny_averages(opt)
    assert opt.state[large]["exp_avg"][1].tolist() == [0, 0]
    assert torch.equal(opt.state[large]["exp_avg"][2:], before[2:])
    assert opt.state[large]["exp_avg_sq"][3].tolist() == [0, 0]
    assert opt.state[large]["step"] == 1
    assert opt.state[small]["exp_avg"][0] != 0


def test_a_fit_leaves_no_numbers_that_slow_a_cpu() -> None:
    """A row that is seen once, then never again."""
    rows = torch.cat([torch.ones(1, dtype=torch.int64), torch.zeros(1100, dtype=torch.int64)])
    data = zoo.ModelData(zoo.TensorLoader(rows, torch.ones(len(rows)), bs=1))

    def fitted() -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(ROWS, 2), nn.Linear(2, 1), nn.Flatten(0))
        learn = zoo.Learner(data, model, loss_fn=nn.MSELoss(), seed=0, progress=False, device="cpu")
        learn.opt_fn = torch.optim.Adam
        weight = model[0].weight
        seen = []

        class Look(zoo.Callback):
            def after_step(self, state):
                average = state.opt.opt.state[weight]["exp_avg"][1]
                seen.append(float(average.abs().max()))

        learn.fit(1e-4, 1, callbacks=[Look()])
        assert seen[0] > 0
        assert seen[-1] == 0
        assert not any(0 < value < 1.2e-38 for value in seen)
        return weight.detach()

    assert fitted().isfinite().all()
