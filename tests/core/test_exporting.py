"""Every registered model as a graph: ONNX files and programs answer what it does, whatever the sizes."""

import copy
import json
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import zoo
import zoo.storage.registry
from tests.core.exported import by_onnx
from tests.core.helpers import digits_learner
from zoo.storage.exporting import needed as needed_room
from zoo.storage.exporting.check_export import check_export
from zoo.storage.exporting.graph import graph_of
from zoo.storage.exporting.of_learner import graph_of_learner
from zoo.storage.exporting.onnx_file import write_onnx
from zoo.storage.exporting.program_file import load_program, traced, write_program
from zoo.storage.exporting.proof import prove
from zoo.storage.registry import registered_models

for _point in entry_points(group="zoo.domains"):
    _point.load()

OURS = {name: one for name, one in registered_models().items() if not name.startswith(("test.", "doc."))}
REFUSED = {"vision.detector": "a detector can't be exported as a graph"}
SIZES = [(rows, tokens) for rows in (1, 7) for tokens in (5, 93)]


def shaken(model):
    """The model with nothing at zero, where it would answer the same to everything."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for param in model.parameters():
            if param.numel() == 1 or param.std() < 0.02:
                param.add_(torch.randn(param.shape, generator=generator), alpha=0.3)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(torch.randn(buffer.shape, generator=generator), alpha=0.3)
            if name.endswith("running_var"):
                buffer.mul_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return model.eval()


def own_answer(model, inputs):
    if hasattr(model, "reset"):
        model.reset()
    with torch.no_grad():
        found = model(*copy.deepcopy(inputs))
    return (found[0] if isinstance(found, tuple) else found).numpy()


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_registered_model_answers_the_same_from_both_files(name, tmp_path):
    if name in REFUSED:
        model = zoo.storage.registry.build_model(
            name, {"arch": "ssdlite320_mobilenet_v3_large", "n_classes": 2}
        )
        with pytest.raises(TypeError, match=REFUSED[name]):
            graph_of(model, (torch.zeros(1, 3, 64, 64),))
        return
    assert OURS[name].example is not None, f"give {name} an example: register_model({name!r}, example=...)"
    torch.manual_seed(0)
    model, inputs, _ = OURS[name].example()
    model = shaken(model)
    graph = graph_of(model, inputs)
    program = load_program(write_program(graph, tmp_path / "model.pt2"))[0].module()
    onnx_path = write_onnx(graph, tmp_path / "model.onnx")
    onnx.checker.check_model(str(onnx_path), full_check=True)
    for rows, tokens in SIZES if "tokens" in graph.told["inputs"][0]["axes"] else SIZES[::2]:
        drawn = graph.drawn(rows, tokens)
        assert len(drawn[0]) == rows
        truth = own_answer(model, drawn[: len(drawn) - graph.n_state])
        assert rows == 1 or truth.std() > 1e-3, "the model answers the same to everything: this tests nothing"
        close = {"rtol": 1e-4, "atol": 2e-5 * max(1.0, np.abs(truth).max())}
        for found in (by_onnx(onnx_path, drawn)[0], program(*drawn)[0].detach().numpy()):
            np.testing.assert_allclose(found.reshape(truth.shape), truth, **close)


def test_models_of_all_domains_are_covered():
    assert {name.split(".")[0] for name in set(OURS) - set(REFUSED)} >= {
        "vision",
        "tabular",
        "text",
        "collab",
    }


@pytest.fixture(scope="module")
def learn(tmp_path_factory):
    made = digits_learner(path=tmp_path_factory.mktemp("digits"))
    made.fit(0.01, 1)
    return made


def test_a_learner_answers_with_probabilities_and_the_file_explains_itself(learn, tmp_path):
    mode = learn.model.training
    path = learn.export_onnx(tmp_path / "digits")
    assert path == (tmp_path / "digits.onnx").resolve()
    assert learn.model.training is mode
    x = next(iter(learn.data.valid_dl))[0][:5]
    (found,) = by_onnx(path, (x,))
    np.testing.assert_allclose(found, learn.predict_array(x, log=False), atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [(one.name, one.shape[0]) for one in session.get_inputs()] == [("input", "rows")]
    assert [(one.name, one.shape) for one in session.get_outputs()] == [("probabilities", ["rows", 10])]
    told = session.get_modelmeta().custom_metadata_map
    assert told["zoo"] == zoo.__version__
    assert json.loads(told["inputs"])[0]["axes"][0] == "rows"
    if learn.data.classes:
        assert json.loads(told["classes"]) == learn.data.classes


def test_files_hold_no_rows_no_folders_and_no_pickle(learn, tmp_path):
    names = (str(Path(zoo.__file__).parents[1]), str(Path(torch.__file__).parents[1]))
    program, onnx_path = learn.export_program(tmp_path / "a"), learn.export_onnx(tmp_path / "a")
    with zipfile.ZipFile(program) as file:
        members = {name: file.read(name) for name in file.namelist()}
    assert not [name for name, held in members.items() if held[:1] == b"\x80" and held.rstrip()[-1:] == b"."]
    assert b"stack_trace" not in onnx_path.read_bytes()
    assert b"pkg.torch" not in onnx_path.read_bytes()
    assert [len(held) for name, held in members.items() if "sample_inputs" in name] in ([], [0])
    for held in (*members.values(), onnx_path.read_bytes()):
        assert not [name for name in names if name.encode() in held]


def test_files_run_without_this_library(learn, tmp_path):
    x = next(iter(learn.data.valid_dl))[0][:3]
    np.save(tmp_path / "x.npy", x.numpy())
    np.save(tmp_path / "answer.npy", learn.predict_array(x, log=False))
    learn.export_program(tmp_path / "a")
    learn.export_onnx(tmp_path / "a")
    code = """
import sys
sys.modules["zoo"] = None
import numpy as np, onnxruntime, torch
x, answer = np.load("x.npy"), np.load("answer.npy")
session = onnxruntime.InferenceSession("a.onnx", providers=["CPUExecutionProvider"])
assert np.abs(session.run(None, {"input": x})[0] - answer).max() < 1e-6
found = torch.export.load("a.pt2").module()(torch.from_numpy(x))[0]
assert np.abs(found.detach().numpy() - answer).max() < 1e-6
print("ran")
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert ran.stdout.strip() == "ran", ran.stderr


def test_a_calibrated_learner_exports_its_temperature(learn, tmp_path):
    x = next(iter(learn.data.valid_dl))[0][:5]
    before = learn.predict_array(x, log=False)
    learn.calibrate()
    try:
        after = learn.predict_array(x, log=False)
        assert np.abs(after - before).max() > 1e-4
        (found,) = by_onnx(learn.export_onnx(tmp_path / "a"), (x,))
        np.testing.assert_allclose(found, after, atol=1e-6)
    finally:
        learn.calibration = None


def test_a_check_compares_all_formats_and_finds_another_learner(learn, tmp_path):
    paths = [
        learn.export_onnx(tmp_path / "a"),
        learn.export_program(tmp_path / "a"),
        learn.export(tmp_path / "a.zip"),
    ]
    found = check_export(learn, paths)
    assert [file.format for file in found.files] == ["onnx", "program", "archive"]
    assert found.same
    assert all(file.difference < 1e-6 and file.ms > 0 and file.learner_ms > 0 for file in found.files)
    assert [file.size_mb for file in found.files] == [path.stat().st_size / 1e6 for path in paths]
    assert found.frame()["format"].tolist() == ["onnx", "program", "archive"]
    assert "largest difference" in str(found)
    assert "a.pt2" in str(found)
    kept = copy.deepcopy(learn.model.state_dict())
    with torch.no_grad():
        next(learn.model.parameters()).add_(0.1)
    changed = check_export(learn, paths[0])
    learn.model.load_state_dict(kept)
    assert not changed.same
    assert changed.files[0].difference > 1e-3
    assert "NO" in str(changed)
    with pytest.raises(FileNotFoundError, match=r"no exported file .*b\.onnx"):
        check_export(learn, tmp_path / "b.onnx")


class OneLength(nn.Module):
    """Its code is for as many rows as it was traced with."""

    def forward(self, x):
        return torch.cat([x[i : i + 1] * i for i in range(len(x))])


def test_errors_are_one_line_and_leave_no_file(learn, tmp_path, monkeypatch):
    loader = zoo.TensorLoader(torch.randn(8, 2), torch.randn(8, 2), bs=4)
    fixed = zoo.Learner(zoo.ModelData(loader, loader), OneLength(), device="cpu", loss_fn=nn.MSELoss())
    for export in (fixed.export_onnx, fixed.export_program):
        with pytest.raises(
            TypeError, match="OneLength can't be exported as a graph: its code is for 3 rows only"
        ) as e:
            export(tmp_path / "fixed")
        assert "\n" not in str(e.value)
    rowless = zoo.Learner(zoo.ModelData(None), nn.Linear(2, 1), device="cpu", loss_fn=nn.MSELoss())
    with pytest.raises(ValueError, match=r"give a batch of its inputs, inputs=\(x,\)"):
        rowless.export_onnx(tmp_path / "rowless")
    with pytest.raises(ValueError, match=r"a file of this kind ends in '\.onnx', not in '\.zip'"):
        learn.export_onnx(tmp_path / "a.zip")
    monkeypatch.setattr(needed_room, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'zoo\[export\]'"):
        learn.export_onnx(tmp_path / "a")
    assert not list(tmp_path.iterdir())


class Liar(nn.Module):
    """Answers otherwise where it is traced."""

    def forward(self, x):
        return x + 1 if torch.compiler.is_exporting() else x


def test_a_file_that_answers_otherwise_is_not_kept(tmp_path):
    learn = zoo.Learner(zoo.ModelData(None), Liar(), device="cpu", loss_fn=nn.MSELoss(), layer_groups=[[]])
    for export, what in ((learn.export_onnx, "ONNX"), (learn.export_program, "a program")):
        with pytest.raises(
            TypeError, match=f"Liar can't be exported as {what}: for 1 rows its output values is off"
        ):
            export(tmp_path / "liar", inputs=(torch.randn(4, 2),))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("answer", "told"), [(lambda x: [x * torch.nan], "off"), (lambda x: [x[:, :1]], "shape")]
)
def test_what_is_no_number_or_of_another_shape_is_no_answer(answer, told):
    with pytest.raises(TypeError, match=told):
        prove(graph_of(nn.Identity(), (torch.ones(2, 3),)), answer, "ONNX")


def test_a_batch_tells_what_data_without_rows_do_not(tmp_path):
    torch.manual_seed(0)
    learn = zoo.Learner(zoo.ModelData(None), nn.Linear(2, 3), device="cpu", loss_fn=nn.MSELoss())
    path = learn.export_onnx(tmp_path / "a", inputs=(torch.randn(4, 2),))
    x = torch.randn(9, 2)
    np.testing.assert_allclose(by_onnx(path, (x,))[0], learn.predict_array(x), atol=1e-6)
    assert graph_of_learner(learn, x).outputs[0]["meaning"] == "values"


def test_sizes_that_must_be_free_stay_free():
    program = traced(graph_of(nn.Linear(2, 1), (torch.zeros(4, 2),)))
    (size,) = program.range_constraints.values()
    assert int(size.lower) <= 1
    assert size.upper > 1 << 30
