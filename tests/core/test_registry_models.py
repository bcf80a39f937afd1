"""Every registered model passes the same checks; a domain joins by registering its models with an example."""

import copy
from importlib.metadata import entry_points

import pytest
import torch

from tests.core.helpers import DigitsNet
from zoo.engine.layer_groups import LayerGroups
from zoo.losses import CrossEntropyFlat, MSEFlat
from zoo.storage.archive import tensors_from_bytes, tensors_to_bytes
from zoo.storage.registry import build_model, register_model, registered_models, spec_of

for _point in entry_points(group="zoo.domains"):
    _point.load()

CASES = {name: entry.example for name, entry in registered_models().items() if entry.example is not None}


def output(model, inputs):
    result = model(*inputs)
    return result[0] if isinstance(result, tuple) else result


def loss_of(model, inputs, target):
    preds = output(model, inputs)
    return (MSEFlat() if target.is_floating_point() else CrossEntropyFlat())(preds, target)


@pytest.fixture(params=sorted(CASES))
def case(request):
    torch.manual_seed(0)
    return CASES[request.param]()


def test_every_domain_has_registered_a_model():
    assert {name.split(".")[0] for name in CASES} >= {"vision", "tabular", "text", "collab"}


def test_it_is_rebuilt_from_its_spec_and_its_weights(case):
    model, inputs, _ = case
    spec = spec_of(model)
    twin = build_model(spec.name, spec.args)
    twin.load_state_dict(tensors_from_bytes(tensors_to_bytes(model.state_dict()), "memory"))
    for each in (model, twin):
        each.eval()
    with torch.no_grad():
        a = output(model, copy.deepcopy(inputs))
        b = output(twin, copy.deepcopy(inputs))
    assert torch.equal(a, b)


def test_gradients_are_finite_and_reach_every_group(case):
    model, inputs, target = case
    model.train()
    groups = LayerGroups(model)
    loss_of(model, inputs, target).backward()
    for group in groups:
        grads = [param.grad for param in group.params if param.grad is not None]
        assert grads or not group.params, f"group {group.name} got no gradient"
        assert all(torch.isfinite(grad).all() for grad in grads)


def test_frozen_groups_get_no_gradient(case):
    model, inputs, target = case
    groups = LayerGroups(model)
    if len(groups) == 1:
        with pytest.raises(ValueError, match="single layer group"):
            groups.freeze()
        return
    groups.freeze()
    groups.train_mode(model)
    before = {name: buffer.clone() for name, buffer in model.named_buffers() if "running" in name}
    loss_of(model, inputs, target).backward()
    trained = {id(param) for param in (*groups[-1].params, *groups[-1].shared)}  # tied words train
    assert all(
        (param.grad is None) == (id(param) not in trained) for group in groups[:-1] for param in group.params
    )
    assert any(param.grad is not None for param in groups[-1].params)
    last = {
        name
        for m in groups[-1].modules
        for name, b in model.named_buffers()
        for own in m.buffers()
        if own is b
    }
    for name, buffer in model.named_buffers():
        if name in before and name not in last:
            assert torch.equal(buffer, before[name])


def test_inputs_are_not_changed(case):
    model, inputs, _ = case
    kept = copy.deepcopy(inputs)
    model.eval()
    with torch.no_grad():
        output(model, inputs)
    assert all(torch.equal(a, b) for a, b in zip(inputs, kept, strict=True) if isinstance(a, torch.Tensor))


def test_rows_do_not_influence_each_other_in_eval_mode(case):
    model, inputs, _ = case
    model.eval()
    if not all(isinstance(part, torch.Tensor) and len(part) == len(inputs[0]) for part in inputs):
        pytest.skip("this model's inputs are not one row each")
    if hasattr(model, "reset"):
        model.reset()
    with torch.no_grad():
        everything = output(model, inputs)
        if hasattr(model, "reset"):
            model.reset()
        first = output(model, tuple(part[:1] for part in inputs))
    assert torch.allclose(everything[: len(first)], first, atol=1e-5)


def test_names_are_unique_and_subclasses_are_not_mistaken():
    with pytest.raises(ValueError, match="already registered"):

        @register_model("test.digits_net")
        class Other(torch.nn.Module):
            pass

    class Wider(DigitsNet):
        pass

    with pytest.raises(TypeError, match="Wider is not a registered model"):
        spec_of(Wider())
    with pytest.raises(ValueError, match=r"did you mean 'test\.digits_net'"):
        build_model("test.digit_net", {})
