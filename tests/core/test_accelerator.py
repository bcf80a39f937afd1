"""What every domain asks of a device, without one: nothing waits, nothing lies elsewhere, little is added."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.gallery.cases import CASES
from zoo import Callback, Learner, ModelData, TensorLoader
from zoo.engine.arrivals import Arrival
from zoo.inspect.operations import OperationCounter, Operations

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.accelerator_runs"],
        capture_output=True, text=True, cwd=ROOT, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", CASES)
def test_nothing_waits_in_a_training_step_and_nothing_lies_elsewhere(runs, name: str) -> None:
    """With recorder, progress, metrics, clipping, averaged weights and accumulation on."""
    found = runs["fits"][name]["training"]
    assert found["steps"] > 5
    assert found["waits"] == []
    assert found["strays"] == []
    assert runs["fits"][name]["validation"]["strays"] == []


def test_a_metric_of_all_rows_is_all_that_waits_in_a_validation(runs) -> None:
    """Such as exp_rmspe, which is no mean over rows: its predictions go to the host, batch by batch."""
    waits = {name: run["validation"]["waits"] for name, run in runs["fits"].items()}
    assert {name for name, found in waits.items() if found} == {"table_values", "table_streamed"}
    assert all("(detached)" in spot for found in waits.values() for spot in found)


def test_a_careless_callback_is_named_by_its_line(runs) -> None:
    found = runs["careless"]["training"]
    assert [spot.split(" at ")[0] for spot in found["waits"]] == [
        "_local_scalar_dense", "_to_copy to the cpu", "index", "repeat_interleave"
    ]  # fmt: skip
    assert [spot.split(" at ")[0] for spot in found["strays"]] == ["ones: made on the cpu"]
    assert all("accelerator_runs.py" in spot for spot in (*found["waits"], *found["strays"]))


@pytest.mark.parametrize("name", CASES)
def test_a_step_adds_little_to_the_same_step_by_hand(runs, name: str) -> None:
    """The guard against losses that are no numbers takes one operation, and torch one more a group."""
    step = runs["steps"][name]
    added = (step["ours"]["operations"] - step["by hand"]["operations"]) / step["ours"]["steps"]
    assert added <= 1 + step["groups"]
    assert step["ours"]["operations"] <= 1.055 * step["by hand"]["operations"]


def test_fits_there_are_those_of_the_processor(runs) -> None:
    there, here = runs["equal"].values()
    assert there == here


def test_a_bad_loss_is_named_when_its_flag_arrives_and_no_weight_is_touched(runs) -> None:
    assert "epoch 0, batch 40" in runs["bad batch"]
    assert runs["bad batch"].endswith("finite: True")


def test_updates_that_overflow_in_float16_are_left_out_without_waiting(runs) -> None:
    sound, huge = runs["float16"]["sound"], runs["float16"]["huge"]
    assert sound["waits"] == huge["waits"] == []
    assert (sound["skipped"], huge["skipped"]) == (0, 3)
    assert huge["scale"] == sound["scale"] / 8
    assert huge["sums"][:3] == [pytest.approx(0.3)] * 3
    assert len({round(value, 6) for value in (*huge["sums"][2:], *sound["sums"])}) > 6


# -- on the processor


def learner() -> Learner:
    x = torch.rand(256, 3, generator=torch.Generator().manual_seed(0))
    data = ModelData(TensorLoader(x, x.sum(1, keepdim=True), bs=8, shuffle=True, seed=0))
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    torch.manual_seed(0)
    for param in net.parameters():
        nn.init.normal_(param)
    return Learner(data, net, device="cpu", precision="fp32", progress=False, seed=0)


def test_counting_leaves_no_trace() -> None:
    learn, other = learner(), learner()
    learn.count_operations()
    assert learn.fit(1e-2, 1)[0]["train_loss"] == other.fit(1e-2, 1)[0]["train_loss"]


def test_arithmetic_and_traffic_are_those_of_the_layers() -> None:
    found = learner().count_operations(n=4)
    assert (found.steps, found.rows) == (4, 32)
    # forward: two products; backward: both again for the weights, the second for its input
    assert found.flops == 4 * 2 * 8 * (2 * (3 * 5 + 5 * 1) + 5 * 1)
    least = found.least_seconds(1e12, 1e12)
    assert least["launches"] == pytest.approx(found.kernels / 4 * 5e-6)
    assert least["arithmetic"] == pytest.approx(found.flops / 4 / 1e12)
    assert "kernels" in repr(found)
    assert found.waits == found.strays == []  # on the CPU nobody waits


def test_callbacks_are_counted_with_the_step() -> None:
    class Norm(Callback):
        def before_step(self, state: Any) -> None:
            state.model[0].weight.grad.cosh()

    plain, more = learner().count_operations(), learner().count_operations([Norm()])
    assert more.calls["cosh"] == 4
    assert more.kernels == plain.kernels + 4


def test_views_and_allocations_are_no_kernels() -> None:
    x = torch.ones(4, 6)
    with OperationCounter("cpu") as counter:
        x.T.reshape(3, 8)[1:].detach()
        torch.empty(3)
    assert counter.found.kernels == 1  # the copy that reshape makes
    assert isinstance(counter.found, Operations)


def test_what_lies_on_the_host_arrives_at_once() -> None:
    value = torch.ones(2)
    arrival = Arrival(value)
    value.zero_()
    assert arrival.here()
    assert arrival.read().tolist() == [1.0, 1.0]


def test_losses_on_their_way_are_neither_waited_for_nor_lost(monkeypatch) -> None:
    """As on a GPU that is behind: what was sent has never arrived when somebody asks."""
    seen = []

    class Ask(Callback):
        def after_batch(self, state: Any) -> None:
            if state.training:
                seen.append(state.learner.sched.latest_loss)

    plain, behind = learner(), learner()
    plain.fit(1e-2, 1)
    monkeypatch.setattr(Arrival, "here", lambda self: False)
    behind.fit(1e-2, 1, callbacks=[Ask()])
    assert all(loss != loss for loss in seen)  # nothing to show yet
    assert behind.sched.losses == plain.sched.losses
    assert behind.sched.smooth_losses == plain.sched.smooth_losses
