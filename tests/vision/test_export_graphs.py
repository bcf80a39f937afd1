"""Networks for pictures as graphs: pixels in, answers out; the normalisation is inside."""

import json
import warnings

import numpy as np
import pytest
import torch

from tests.core.exported import both_files, by_onnx, session_of
from tests.vision.helpers import two_class_arrays
from zoo.vision import ConvLearner, ImageClassifierData, Items, tfms_from_model
from zoo.vision.data.graph_ports import Normalising
from zoo.vision.targets.coding import coded_values
from zoo.vision.transforms.image_transform import ImageTransform

ARCH = "squeezenet1_1"


def pictures(n=12, size=64):
    return two_class_arrays(n, size)


def pixels_of(x):
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


@pytest.mark.parametrize("precompute", [False, True])
def test_pixels_in_probabilities_out(precompute, tmp_path):
    x, y = pictures()
    data = ImageClassifierData.from_arrays(
        tmp_path, (x, y), (x, y), bs=6, tfms=tfms_from_model(ARCH, 64), seed=0
    )
    learn = ConvLearner.pretrained(
        ARCH,
        data,
        weights=None,
        precompute=precompute,
        device="cpu",
        progress=False,
        seed=0,
        head_start=False,
    )
    learn.fit(1e-2, 1)
    path = learn.export_onnx(tmp_path / "a") if precompute else both_files(learn, tmp_path)[0]
    assert learn.precompute is precompute
    (found,) = by_onnx(path, (pixels_of(x[:5]),))
    answers = learn.predict_batch(list(x[:5]))
    np.testing.assert_allclose(found, [[*one.probabilities.values()] for one in answers], atol=1e-5)
    told = session_of(path).get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == ["blue", "red"]
    (port,) = json.loads(told["inputs"])
    assert (port["name"], port["axes"], port["type"]) == ("pictures", ["rows", 3, 64, 64], "uint8")


def test_values_and_points_and_maps(tmp_path):
    x, _ = pictures()
    rng = np.random.default_rng(0)
    items = Items.from_arrays(x, tmp_path).split_by_random(0.25, seed=0)
    kinds = {
        "values": items.label_by(list(rng.normal(50, 10, len(x))), target=coded_values()),
        "points": items.points_by(rng.uniform(5, 60, (len(x), 2, 2))),
        "masks": items.masks_by([(part[..., 0] > 100).astype(np.uint8) for part in x], ["dark", "light"]),
    }
    for kind, made in kinds.items():
        data = made.transform(tfms_from_model(ARCH, 64)).data(bs=4, seed=0)
        learn = ConvLearner.pretrained(ARCH, data, weights=None, device="cpu", progress=False, seed=0)
        if kind == "points":
            with torch.no_grad():
                learn.model.head.maps.weight.normal_()
        path, _ = both_files(learn, tmp_path)
        (found,) = by_onnx(path, (pixels_of(x[:2]),))
        told = session_of(path).get_modelmeta().custom_metadata_map
        if kind == "values":
            np.testing.assert_allclose(found.ravel(), np.ravel(learn.predict_batch(list(x[:2]))), rtol=1e-4)
            assert found.mean() > 20, "in the units of the values, not standardised"
        elif kind == "points":
            assert len(json.loads(told["values"])) == found.shape[1] == 4
        else:
            assert found.shape == (2, 2, 64, 64)
            np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
            assert json.loads(told["classes"]) == ["dark", "light"]


@pytest.mark.parametrize(
    ("channels", "mean"), [(3, (0.4, 0.5, 0.6)), (1, (0.4, 0.5, 0.6)), (4, (0.4, 0.5, 0.6)), (3, ())]
)
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_the_normalisation_is_that_of_the_loaders(channels, mean, kind):
    tfm = ImageTransform(None, mean, tuple(0.2 + one / 10 for one in mean))
    pixels = torch.randint(0, 256, (2, channels, 3, 5), dtype=torch.uint8)
    pixels = pixels if kind is torch.uint8 else pixels.float() / 255
    found = Normalising(tfm, channels, kind)(pixels)
    torch.testing.assert_close(found, tfm.normalize(pixels), rtol=1e-5, atol=1e-5)


def test_detectors_are_refused(tmp_path):
    x, _ = pictures(8)
    boxes = [([[4, 4, 30, 30]], ["box"]) for _ in x]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = Items.from_arrays(x, tmp_path).split_by_random(0.25, seed=0).boxes_by(boxes).data(bs=2)
        arch = "ssdlite320_mobilenet_v3_large"
        learn = ConvLearner.pretrained(arch, data, weights=None, device="cpu", progress=False)
    with pytest.raises(TypeError, match="a detector can't be exported as a graph"):
        learn.export_onnx(tmp_path / "boxes")
    assert not (tmp_path / "boxes.onnx").exists()
