"""Exported files read by what users have elsewhere."""

import onnxruntime

from zoo.storage.exporting.check_export import check_export


def session_of(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def by_onnx(path, inputs):
    """All outputs of an ONNX file for these tensors, in the order of its inputs."""
    session = session_of(path)
    names = [one.name for one in session.get_inputs()]
    return session.run(None, {n: part.numpy() for n, part in zip(names, inputs, strict=True)})


def both_files(learn, folder):
    """An ONNX file and a program, after a check that they answer as the learner does."""
    paths = learn.export_onnx(folder / "exported"), learn.export_program(folder / "exported")
    found = check_export(learn, paths)
    assert found.same, found
    return paths
