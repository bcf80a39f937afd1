"""The transfer model: a pretrained body, concatenated pooling, and a new head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.engine.init import kaiming_head
from zoo.storage.registry import register_model
from zoo.vision.models.architectures import arch_name
from zoo.vision.models.bodies import body_units, build_body, probe, wants_channels_last


def concat_pool(features: Tensor) -> Tensor:
    """Maximum and mean over the picture: N x C x H x W -> N x 2C."""
    return torch.cat([F.adaptive_max_pool2d(features, 1), F.adaptive_avg_pool2d(features, 1)], 1).flatten(1)


def head_dropouts(ps: float | Sequence[float] | None, n_layers: int) -> list[float]:
    """One dropout probability per linear layer of a head.

    >>> head_dropouts(None, 2), head_dropouts(0.3, 3)
    ([0.25, 0.5], [0.3, 0.3, 0.3])
    """
    if ps is None:
        return [0.25] * (n_layers - 1) + [0.5]
    values = [float(ps)] * n_layers if isinstance(ps, int | float) else [float(p) for p in ps]
    if len(values) != n_layers:
        raise ValueError(
            f"ps has {len(values)} values, but the head has {n_layers} linear layers "
            f"(xtra_fc gives {n_layers - 1}, the output is one more)"
        )
    if not all(0 <= p < 1 for p in values):
        raise ValueError(f"dropout probabilities must lie in [0, 1), got ps={ps}")
    return values


class DampedLinear(nn.Linear):
    """A linear layer of `damping` times its inputs, `y = W (damping x) + b`, with weights as much larger.

    It computes what a linear layer does and takes smaller steps: Adam moves every weight by about the rate,
    so that 0.01 moves the sum over 2,500 normalised inputs by 20, and by 0.6 with a damping of 0.03. (What a
    multiplier does to the steps of Adam: Yang et al. 2022, "Tensor Programs V", lemma J.1.)

    Example:
        >>> layer = DampedLinear(3, 1, damping=0.1)
        >>> _ = nn.init.ones_(layer.weight), nn.init.zeros_(layer.bias)
        >>> round(layer(torch.ones(1, 3)).item(), 6)
        0.3
    """

    damping: Tensor
    added_later: ClassVar[dict[str, float]] = {"damping": 1.0}  # weights of older versions are plain

    def __init__(self, in_features: int, out_features: int, *, damping: float) -> None:
        super().__init__(in_features, out_features)
        self.register_buffer("damping", torch.tensor(float(damping)))

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input * self.damping, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, damping={self.damping.item():.3g}"


def make_head(
    n_in: int,
    n_out: int,
    xtra_fc: Sequence[int] = (512,),
    ps: float | Sequence[float] | None = None,
    *,
    damping: float = 1.0,
) -> nn.Sequential:
    """[BatchNorm, Dropout, Linear, ReLU] per hidden layer, then BatchNorm, Dropout, Linear.

    Args:
        n_in: length of the pooled vector.
        n_out: number of classes.
        xtra_fc: sizes of the hidden layers; () for none.
        ps: dropout of every linear layer; one number is used for all; 0 adds no dropout layer.
        damping: below 1 the linear layers are `DampedLinear`, which begin with the same outputs.

    Returns:
        A head with Kaiming-initialised linear layers (He et al. 2015).

    >>> [type(layer).__name__ for layer in make_head(8, 2, xtra_fc=(), ps=0.0)]
    ['BatchNorm1d', 'Linear']
    """
    sizes = [n_in, *(int(n) for n in xtra_fc), n_out]
    if min(sizes) < 1:
        raise ValueError(f"layer sizes must be positive, got xtra_fc={list(xtra_fc)}, {n_out} classes")
    layers: list[nn.Module] = []
    for i, p in enumerate(head_dropouts(ps, len(sizes) - 1)):
        layers.append(nn.BatchNorm1d(sizes[i]))
        if p > 0:
            layers.append(nn.Dropout(p))
        layers.append(_linear(sizes[i], sizes[i + 1], damping))
        if i < len(sizes) - 2:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _linear(n_in: int, n_out: int, damping: float) -> nn.Linear:
    """A layer whose outputs begin with the size of its inputs."""
    if damping == 1:
        return kaiming_head(nn.Linear(n_in, n_out))
    layer = kaiming_head(DampedLinear(n_in, n_out, damping=damping))
    with torch.no_grad():
        layer.weight.div_(damping)
    return layer


class TransferModel(nn.Module):
    """Body, pooling and head; reads pictures, or feature vectors computed from them before.

    Args:
        body: pictures -> N x C x H x W feature map.
        head: pooled 2C vectors -> outputs; with `pooled=False` it reads the feature map itself.
        cut: number of body units (see `zoo.vision.models.bodies.body_units`) in the early group.
        pooled: whether concatenated pooling stands between body and head.

    Attributes:
        no_export: why it cannot be exported; None where it can.
    """

    no_export: str | None = None

    def __init__(self, body: nn.Sequential, head: nn.Module, cut: int, *, pooled: bool = True) -> None:
        super().__init__()
        self.body, self.head = body, head
        self.cut, self.pooled = cut, pooled

    def features(self, pictures: Tensor) -> Tensor:
        """What the head reads: N x 2C, or the feature map without pooling."""
        features = self.body(pictures)
        return concat_pool(features) if self.pooled else features

    @property
    def head_inputs(self) -> int:
        """Length of the vectors that a standard head reads."""
        return next(m.num_features for m in self.head.modules() if isinstance(m, nn.BatchNorm1d))

    def forward(self, x: Tensor) -> Tensor:
        """N x channels x H x W pictures, or N x 2C `features`, -> N x classes (no softmax)."""
        if x.ndim == 4:
            x = self.features(x)
        return self.head(x)

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        """Early body, late body (stride above 8), head."""
        units = body_units(self.body)
        return {"early_body": units[: self.cut], "late_body": units[self.cut :], "head": [self.head]}


def transfer_body(name: str, c_in: int) -> nn.Sequential:
    """A body; one with depthwise convolutions in channels-last layout, where these are faster."""
    body = build_body(name, c_in)
    if wants_channels_last(body):
        body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return body


def _example() -> tuple[nn.Module, tuple[Tensor, ...], Tensor]:
    return transfer_model("squeezenet1_1", 3), (torch.randn(2, 3, 64, 64),), torch.tensor([0, 2])


@register_model("vision.transfer", example=_example)
def transfer_model(
    arch: str,
    n_classes: int,
    c_in: int = 3,
    xtra_fc: Sequence[int] = (512,),
    ps: float | Sequence[float] | None = None,
    bn_final: bool = False,
    damping: float = 1.0,
) -> TransferModel:
    """A body with random weights and a fresh head.

    Args:
        arch: name of an architecture.
        n_classes: outputs.
        c_in: channels of the pictures.
        xtra_fc: sizes of the head's hidden layers.
        ps: the head's dropout, see `make_head`.
        bn_final: whether batch norm (momentum 0.01) follows the last layer.
        damping: of the head's linear layers; archives that do not name it have plain ones.
    """
    body = transfer_body(arch_name(arch), c_in)
    n_features, cut = probe(body, c_in)
    head = make_head(2 * n_features, n_classes, xtra_fc, ps, damping=damping)
    if bn_final:
        head.append(nn.BatchNorm1d(n_classes, momentum=0.01))
    return TransferModel(body, head, cut)


def with_custom_head(arch: str, head: nn.Module, c_in: int = 3) -> TransferModel:
    """A torchvision body with your own head, which reads the N x C x H x W feature map; it can't be
    exported.
    """
    body = transfer_body(arch_name(arch), c_in)
    model = TransferModel(body, head, probe(body, c_in)[1], pooled=False)
    model.no_export = (
        f"a model with custom_head ({type(head).__name__}) can't be exported, since nothing tells how to "
        "build that head anew: write body and head as one model, decorate its class with "
        "@zoo.register_model('your.name') and train it by ConvLearner.from_model_data(model, data); or keep "
        "only the weights with learn.save(name)"
    )
    return model
