"""Bodies of many architectures, heads, and weights from files that are not trusted."""

import pickle

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from zoo.engine.layer_groups import LayerGroups
from zoo.storage.registry import build_model, spec_of
from zoo.vision.models.architectures import arch_name
from zoo.vision.models.bodies import build_body
from zoo.vision.models.channels import adapt_first_weight, first_conv
from zoo.vision.models.pretrained import pretrained_model
from zoo.vision.models.resnet_small import ResNetSmall
from zoo.vision.models.shapes import smallest_size
from zoo.vision.models.transfer import TransferModel, head_dropouts, make_head, transfer_model
from zoo.vision.models.weights import load_body_weights, published_weights, read_state_dict

FAMILIES = [
    "resnet18", "resnext50_32x4d", "alexnet", "vgg11_bn", "densenet121", "mobilenet_v2", "mobilenet_v3_small",
    "efficientnet_b0", "squeezenet1_1", "shufflenet_v2_x0_5", "convnext_tiny", "regnet_y_400mf", "mnasnet0_5",
    "swin_t", "googlenet",
]  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_cut_before_its_pooling(name):
    torch.manual_seed(0)
    plain = (
        {"aux_logits": False, "init_weights": False, "transform_input": True} if name == "googlenet" else {}
    )
    full = torchvision.models.get_model(name, weights=None, **plain).eval()
    body = build_body(name).eval()
    load_body_weights(body, full.state_dict(), 3, name)
    seen = {}

    def remember(module, args):
        seen.setdefault("input", args[0])

    heads = [m for n, m in full.named_children() if n in ("avgpool", "classifier", "fc", "head")]
    for head in heads:
        head.register_forward_pre_hook(remember)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        full(x)
        features = body(x)
    pooled = seen["input"].flatten(1)
    if seen["input"].ndim == 2:
        assert torch.allclose(features.mean((2, 3)), pooled, atol=1e-4)
    else:
        assert torch.allclose(features.flatten(1), pooled, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "vgg11_bn"])  # slow to initialise
def test_every_family_trains_in_three_groups_on_any_size_and_channels(name):
    model = transfer_model(name, 3, 2)
    groups = LayerGroups(model)
    assert groups.names == ["early_body", "late_body", "head"]
    assert all(group.n_params > 0 for group in groups)
    model.train()
    out = model(torch.randn(2, 2, 64, 96))
    assert out.shape == (2, 3)
    out.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_unknown_and_unsupported_architectures():
    with pytest.raises(ValueError, match=r"'resnet43' is not one of .*did you mean 'resnet34'"):
        transfer_model("resnet43", 2)
    with pytest.raises(ValueError, match="from_model_data"):
        arch_name(ResNetSmall)
    with pytest.raises(ValueError, match="224 x 224 pixels only; try swin_v2_t"):
        transfer_model("maxvit_t", 2)


def test_pictures_that_are_too_small_are_told_in_pixels():
    with pytest.raises(ValueError, match=r"^squeezenet1_1 needs pictures of at least 17 pixels, sz is 16$"):
        pretrained_model("squeezenet1_1", 2, 3, weights=None, sz=16)
    with pytest.raises(ValueError, match=r"at least 17 pixels, sz is \(40, 9\)"):
        pretrained_model("squeezenet1_1", 2, 1, weights=None, sz=(40, 9))
    assert pretrained_model("squeezenet1_1", 2, 3, weights=None, sz=17).training


@pytest.mark.parametrize(("name", "smallest"), [("alexnet", 63), ("vgg11", 32), ("mobilenet_v2", 1)])
def test_smallest_size(name, smallest):
    assert smallest_size(build_body(name)) == smallest


def test_a_last_norm_can_be_asked_for_and_is_kept_in_the_archive():
    model = pretrained_model("squeezenet1_1", 3, 3, bn_final=True, weights=None)
    assert isinstance(model.head[-1], nn.BatchNorm1d)
    assert model.head[-1].momentum == 0.01
    spec = spec_of(model)
    again = build_model(spec.name, spec.args)
    again.load_state_dict(model.state_dict())
    with pytest.raises(ValueError, match="bn_final"):
        pretrained_model("squeezenet1_1", 3, 3, custom_head=nn.Flatten(), bn_final=True, weights=None)


class TestHead:
    def test_default_layers(self):
        kinds = [type(layer).__name__ for layer in make_head(20, 3)]
        assert kinds == ["BatchNorm1d", "Dropout", "Linear", "ReLU", "BatchNorm1d", "Dropout", "Linear"]
        head = make_head(20, 3)
        assert [head[i].p for i in (1, 5)] == [0.25, 0.5]
        assert [tuple(head[i].weight.shape) for i in (2, 6)] == [(512, 20), (3, 512)]

    def test_options(self):
        assert [type(m) for m in make_head(20, 3, (), 0.0)] == [nn.BatchNorm1d, nn.Linear]
        assert head_dropouts(0.1, 3) == [0.1, 0.1, 0.1]
        head = make_head(20, 3, (30, 40), [0, 0.2, 0.3])
        assert [m.p for m in head if isinstance(m, nn.Dropout)] == [0.2, 0.3]
        assert [m.out_features for m in head if isinstance(m, nn.Linear)] == [30, 40, 3]

    def test_errors(self):
        with pytest.raises(ValueError, match="ps has 3 values, but the head has 2 linear layers"):
            make_head(20, 3, (30,), [0.1, 0.2, 0.3])
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\)"):
            make_head(20, 3, (30,), 1.5)
        with pytest.raises(ValueError, match="layer sizes must be positive"):
            make_head(20, 3, (0,))

    def test_vectors_and_pictures_give_the_same_answer(self):
        model = transfer_model("squeezenet1_1", 3).eval()
        x = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            assert torch.equal(model(model.features(x)), model(x))


class TestChannels:
    def test_a_grey_picture_gets_the_response_of_its_rgb_copy(self):
        weight = torch.randn(4, 3, 3, 3)
        grey = torch.randn(1, 1, 8, 8)
        expected = nn.functional.conv2d(grey.expand(1, 3, 8, 8), weight)
        for c_in in (1, 2, 4, 7):
            got = nn.functional.conv2d(grey.expand(1, c_in, 8, 8), adapt_first_weight(weight, c_in))
            assert got.shape == expected.shape
            if c_in == 1:
                assert torch.allclose(got, expected, atol=1e-5)
        six = adapt_first_weight(weight, 6)
        assert torch.allclose(nn.functional.conv2d(grey.expand(1, 6, 8, 8), six), expected, atol=1e-5)

    def test_pretrained_weights_are_adapted(self):
        full = torchvision.models.resnet18(weights=None)
        body = build_body("resnet18", 1)
        load_body_weights(body, full.state_dict(), 1, "test")
        assert torch.allclose(first_conv(body)[1].weight, full.conv1.weight.sum(1, keepdim=True))


class TestWeights:
    def test_real_files(self, data_dir):
        folder = data_dir("weights")
        state = read_state_dict(folder / "mobilenet_v2.pth")
        body = build_body("mobilenet_v2")
        load_body_weights(body, state, 3, "mobilenet")
        assert torch.equal(body.state_dict()["features.0.0.weight"], state["features.0.0.weight"])
        load_body_weights(
            build_body("squeezenet1_1"), read_state_dict(folder / "squeezenet1_1_features.pth"), 3, "s"
        )

    def test_wrappers_prefixes_relative_names_and_safetensors(self, tmp_path):
        state = torchvision.models.squeezenet1_1(weights=None).state_dict()
        wrapped = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
        torch.save(wrapped, tmp_path / "a.pth")
        save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "a.safetensors")
        relative = {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}
        for given in (
            read_state_dict(tmp_path / "a.pth"),
            read_state_dict(tmp_path / "a.safetensors"),
            relative,
        ):
            body = build_body("squeezenet1_1")
            load_body_weights(body, given, 3, "test")
            assert all(torch.equal(v, state[k]) for k, v in body.state_dict().items())

    def test_what_does_not_fit_is_named_and_nothing_changes(self):
        body = build_body("squeezenet1_1")
        before = {k: v.clone() for k, v in body.state_dict().items()}
        good = {k: v + 1 for k, v in before.items()}
        bad = {k: v for k, v in good.items() if k != "features.3.squeeze.bias"}
        bad["features.0.weight"] = torch.zeros(2, 3, 3, 3)
        bad["extra.weight"] = torch.zeros(1)
        with pytest.raises(
            ValueError, match=r"my file does not fit.*1 missing: features\.3\.squeeze\.bias"
        ) as err:
            load_body_weights(body, bad, 3, "my file")
        assert "features.0.weight (file (2, 3, 3, 3)" in str(err.value)
        assert "1 unknown: extra.weight" in str(err.value)
        assert all(torch.equal(v, before[k]) for k, v in body.state_dict().items())

    def test_another_number_of_classes_is_no_obstacle(self):
        state = torchvision.models.squeezenet1_1(weights=None, num_classes=7).state_dict()
        body = build_body("squeezenet1_1")
        load_body_weights(body, state, 3, "test")
        loaded = next(value for value in body.state_dict().values() if value.ndim == 4)
        assert torch.equal(loaded, state["features.0.weight"])

    def test_a_hostile_pickle_executes_nothing(self, tmp_path):
        marker = tmp_path / "executed"

        class Hostile:
            def __reduce__(self):
                return open, (str(marker), "w")

        (tmp_path / "plain.pth").write_bytes(pickle.dumps(Hostile()))
        torch.save({"features.0.weight": torch.zeros(1), "x": Hostile()}, tmp_path / "zip.pth")
        (tmp_path / "named.safetensors").write_bytes(pickle.dumps(Hostile()))
        for name in ("plain.pth", "zip.pth", "named.safetensors"):
            with pytest.raises(ValueError, match="nothing in it was executed"):
                read_state_dict(tmp_path / name)
        assert not marker.exists()

    def test_missing_and_meaningless_files(self, tmp_path):
        torch.save([1, 2], tmp_path / "list.pth")
        with pytest.raises(ValueError, match="does not hold a state dict"):
            read_state_dict(tmp_path / "list.pth")
        with pytest.raises(FileNotFoundError, match=r"lists\.pth does not exist \(did you mean 'list\.pth'"):
            read_state_dict(tmp_path / "lists.pth")

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"junk" * 99,
            b"\x80\x02)R.",
            b"\x80\x02.",
            b"\x80\x02h\x09.",
            b"<html>404</html>",
            b"\x00" * 600,
        ],
    )
    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_junk_is_one_clear_line(self, tmp_path, content, suffix):
        (tmp_path / f"w{suffix}").write_bytes(content)
        with pytest.raises(ValueError, match=r"w\.\w+ is not a file of plain weights") as caught:
            read_state_dict(tmp_path / f"w{suffix}")
        assert "weights_only" not in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_offline_download_says_what_to_do(self, tmp_path, monkeypatch):
        import urllib.error
        import urllib.request

        def no_network(*args, **kwargs):
            raise urllib.error.URLError("no network")

        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setattr("torch.hub.urlopen", no_network)
        with pytest.raises(
            OSError, match=r"weights of resnet18 .*no network.*pass weights='path/to/file\.pth'"
        ):
            published_weights("resnet18")


class TestResNetSmall:
    def test_shape_groups_and_start(self):
        model = ResNetSmall(10)
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
        groups = LayerGroups(model)
        assert groups.names == ["early", "late", "head"]
        block = model.stages[1][1].eval()
        x = torch.rand(1, 64, 4, 4)
        assert torch.equal(block(x), x)

    def test_bad_arguments(self):
        with pytest.raises(ValueError, match="at least one stage"):
            ResNetSmall(10, widths=())


def test_custom_modules_can_be_pooled_or_not():
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert TransferModel(body, head, 1, pooled=False)(torch.randn(2, 3, 8, 8)).shape == (2, 2)
