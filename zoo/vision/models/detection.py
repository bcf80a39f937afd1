"""Torchvision's detectors as modules that the one training loop can train.

The contract. A batch is `(pictures, boxes, labels, target)`, as `detection_batch` makes it:

- `pictures`: N x channels x H x W, normalised;
- `boxes`: N x M x 4, float, corners x1, y1, x2, y2 in pixels of these pictures, M the most boxes
  of a picture;
- `labels`: N x M, int64, classes from 0; -1 where a row has no more boxes;
- `target`: a dict of the same `boxes` and `labels`, for the loss function and the metrics.

The detector reads the first three, because its losses arise inside it (anchors are matched there). In
training it gives `{"losses": {name: number}}`; in evaluation `{"boxes": N x D x 4, "scores": N x D,
"labels": N x D}`, best first, padded with score 0 and label -1, and "losses" too where it was handed boxes.
The loss function of a fit is `sum_of_losses`; a metric gets `(those detections, target)`. Pictures alone give
detections: `model.eval()(pictures)`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from zoo.errors import did_you_mean
from zoo.storage.registry import register_model
from zoo.vision.models.bodies import build_body
from zoo.vision.models.channels import first_conv, replace_first_conv
from zoo.vision.models.ssdlite import ssdlite320
from zoo.vision.models.weights import load_body_weights

BACKBONES = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": "mobilenet_v3_large",
    "fasterrcnn_mobilenet_v3_large_fpn": "mobilenet_v3_large",
    "fasterrcnn_resnet50_fpn": "resnet50",
    "fasterrcnn_resnet50_fpn_v2": "resnet50",
    "fcos_resnet50_fpn": "resnet50",
    "retinanet_resnet50_fpn": "resnet50",
    "retinanet_resnet50_fpn_v2": "resnet50",
    "ssd300_vgg16": "vgg16",
    "ssdlite320_mobilenet_v3_large": "mobilenet_v3_large",
}
"""Torchvision's detectors of boxes, and the classifier that each one's backbone was cut from."""

NO_BOX = -1


class _Batched(nn.Module):
    """In the place of torchvision's transform: pictures are normalised and of one size already.

    Args:
        divisor: sides are padded at the bottom and on the right to a multiple of it.
    """

    def __init__(self, divisor: int) -> None:
        super().__init__()
        self.divisor = divisor

    def forward(self, pictures: Tensor, targets: Any = None) -> tuple[ImageList, Any]:
        height, width = pictures.shape[-2:]
        padded = F.pad(pictures, (0, -width % self.divisor, 0, -height % self.divisor))
        return ImageList(padded, [(height, width)] * len(pictures)), targets

    def postprocess(self, result: Any, sizes: Any, original_sizes: Any) -> Any:
        return result


class Detector(nn.Module):
    """A detector for the one loop; see the module's docstring for what goes in and comes out.

    Args:
        net: torchvision's detector, with one class more than there are, for the background.
        backbone: name of the classifier whose weights its backbone can take.
        max_detections: D, the most detections a picture.
        divisor: what the sides of pictures are padded to.
    """

    no_graph = (
        "a detector can't be exported as a graph: how many boxes it keeps, picture by picture, depends on "
        "what is in them, and an exporter fixes that; use learn.export(path) and load_learner"
    )

    def __init__(self, net: nn.Module, backbone: str, max_detections: int, divisor: int) -> None:
        super().__init__()
        self.net: Any = net
        self.net.transform = _Batched(divisor)
        self.backbone, self.max_detections = backbone, max_detections

    def forward(
        self, pictures: Tensor, boxes: Tensor | None = None, labels: Tensor | None = None
    ) -> dict[str, Any]:
        """N x channels x H x W pictures, with N x M x 4 boxes and N x M labels where they are known.

        Raises:
            ValueError: training without boxes and labels.
        """
        truth = None if boxes is None or labels is None else _unpadded(boxes, labels)
        if self.training:
            if truth is None:
                raise ValueError(
                    "a detector in training mode needs boxes and labels: batches are (pictures, boxes, "
                    "labels, target), see zoo.vision.models.detection.detection_batch"
                )
            return {"losses": self.net(pictures, truth)}
        found: dict[str, Any] = self._padded(self.net(pictures), pictures)
        if truth is not None:
            with self._losses_wanted():
                found["losses"] = self.net(pictures, truth)
        return found

    @contextlib.contextmanager
    def _losses_wanted(self) -> Iterator[None]:
        """Its decisions as in training, while its layers (norms, dropout) stay in evaluation mode."""
        parts = [
            part for part in (self.net, *(getattr(self.net, n, None) for n in ("rpn", "roi_heads"))) if part
        ]
        try:
            for part in parts:
                part.training = True
            yield
        finally:
            for part in parts:
                part.training = False

    def _padded(self, found: Sequence[Mapping[str, Tensor]], like: Tensor) -> dict[str, Tensor]:
        n, most = len(found), self.max_detections
        boxes = torch.zeros(n, most, 4, device=like.device)
        scores = torch.zeros(n, most, device=like.device)
        labels = torch.full((n, most), NO_BOX, device=like.device)
        for i, one in enumerate(found):
            order = one["scores"].argsort(descending=True)[:most]
            order = order[one["labels"][order] > 0]  # the background is no detection
            k = len(order)
            boxes[i, :k], scores[i, :k] = one["boxes"][order].float(), one["scores"][order].float()
            labels[i, :k] = one["labels"][order] - 1
        return {"boxes": boxes, "scores": scores, "labels": labels}

    def load_backbone(self, state: Mapping[str, Tensor], origin: str = "weights") -> None:
        """Copy a classifier's weights into the backbone.

        Args:
            state: of the classifier that `backbone` names, see `zoo.vision.models.weights.read_state_dict`.
            origin: named in errors.

        Raises:
            ValueError: the weights do not fit; nothing is copied then.
        """
        body = build_body(self.backbone, c_in := first_conv(self.net.backbone)[1].in_channels)
        load_body_weights(body, state, c_in, origin)
        # torchvision regroups the classifier's layers in its backbones, but keeps their order
        names = ("features.", "extra.0.", "body.")
        mine = [v for k, v in self.net.backbone.state_dict().items() if k.startswith(names) and _is_weight(k)]
        given = [v for k, v in body.state_dict().items() if _is_weight(k)]
        if [v.shape for v in mine[: len(given)]] != [v.shape for v in given]:
            raise ValueError(f"{origin}: the backbone of this detector is not a {self.backbone}")
        with torch.no_grad():
            for old, new in zip(mine, given, strict=False):
                old.copy_(new)

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        """The first and the second half of the backbone's layers, and everything that detects."""
        inner = getattr(self.net.backbone, "body", None)
        layers = list((self.net.backbone.features if inner is None else inner).children())
        while len(layers) < 4:  # sequences of sequences
            layers = [part for layer in layers for part in (list(layer.children()) or [layer])]
        half = len(layers) // 2
        taken = {id(p) for layer in layers for p in layer.parameters()}
        return {"early_body": layers[:half], "late_body": layers[half:], "head": _others(self.net, taken)}


def _others(module: nn.Module, taken: set[int]) -> list[Any]:
    """The largest parts of a module that share no parameter with what is taken, and single parameters."""
    found: list[Any] = [p for p in module.parameters(recurse=False) if id(p) not in taken]
    for child in module.children():
        ids = {id(p) for p in child.parameters()}
        if ids and not ids & taken:
            found.append(child)
        elif ids - taken:
            found += _others(child, taken)
    return found


def _is_weight(name: str) -> bool:
    return not name.endswith("num_batches_tracked")


def _unpadded(boxes: Tensor, labels: Tensor) -> list[dict[str, Tensor]]:
    """What torchvision calls targets: of each picture its own boxes, with classes from 1."""
    real = labels >= 0
    return [
        {"boxes": b[keep].float(), "labels": c[keep] + 1}
        for b, c, keep in zip(boxes, labels, real, strict=True)
    ]


def sum_of_losses(preds: Mapping[str, Any], target: Any = None) -> Tensor:
    """The loss of a detector: the sum of the losses that it computed itself.

    Args:
        preds: what a `Detector` gave for pictures with boxes.
        target: not looked at.

    >>> sum_of_losses({"losses": {"boxes": torch.tensor(1.0), "classes": torch.tensor(2.0)}})
    tensor(3.)
    """
    if "losses" not in preds:
        raise ValueError("these detections come without losses: the detector was handed no boxes and labels")
    return torch.stack([loss.float() for loss in preds["losses"].values()]).sum()


def pad_boxes(boxes: Sequence[Any], labels: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Boxes of several pictures as one tensor.

    Args:
        boxes: for each picture k x 4 corners x1, y1, x2, y2 in pixels; k may be 0.
        labels: for each picture k classes from 0.

    Returns:
        N x M x 4 boxes and N x M labels, padded with zeros and -1; M is at least 1.

    Raises:
        ValueError: a box without area, another number of labels, or a negative label; the picture's row is
            named.

    >>> pad_boxes([[[0, 0, 4, 4]], []], [[2], []])[1].tolist()
    [[2], [-1]]
    """
    most = max(1, *(len(row) for row in boxes), 1)
    padded = torch.zeros(len(boxes), most, 4)
    classes = torch.full((len(boxes), most), NO_BOX, dtype=torch.int64)
    for row, (some, names) in enumerate(zip(boxes, labels, strict=True)):
        corners = torch.as_tensor(some, dtype=torch.float32).reshape(-1, 4)
        kinds = torch.as_tensor(names, dtype=torch.int64).reshape(-1)
        if len(corners) != len(kinds):
            raise ValueError(f"picture {row} of the batch has {len(corners)} boxes, but {len(kinds)} labels")
        if not (corners[:, 2:] > corners[:, :2]).all():
            flat = corners[(corners[:, 2:] <= corners[:, :2]).any(1)][0].tolist()
            raise ValueError(
                f"picture {row} of the batch has a box without area: {flat}; boxes are corners x1, y1, x2, "
                "y2 in pixels with x1 < x2 and y1 < y2"
            )
        if len(kinds) and kinds.min() < 0:
            raise ValueError(
                f"picture {row} of the batch has the label {int(kinds.min())}: classes count from 0"
            )
        padded[row, : len(corners)], classes[row, : len(kinds)] = corners, kinds
    return padded, classes


def detection_batch(
    rows: Sequence[tuple[Tensor, Mapping[str, Any]]],
) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """A batch for a detector, for a loader's `collate_fn`.

    Args:
        rows: `(picture, {"boxes": k x 4, "labels": k})`, pictures of one size.

    Returns:
        `(pictures, boxes, labels, {"boxes": boxes, "labels": labels})`, see the module's docstring.
    """
    pictures = torch.stack([picture for picture, _ in rows])
    boxes, labels = pad_boxes([t["boxes"] for _, t in rows], [t["labels"] for _, t in rows])
    return pictures, boxes, labels, {"boxes": boxes, "labels": labels}


@register_model("vision.detector")
def detector(
    arch: str, n_classes: int, c_in: int = 3, *, max_detections: int = 100, min_score: float = 0.05
) -> Detector:
    """A detector of torchvision with random weights; `load_backbone` gives its backbone published ones.

    Pictures are read as they are, at their own size: `ssd300_vgg16` needs about 300 pixels.

    Args:
        arch: a key of `BACKBONES`.
        n_classes: classes of things, without the background.
        c_in: channels of the pictures.
        max_detections: the most detections a picture.
        min_score: detections below it are left out.

    Raises:
        ValueError: no such detector, or numbers out of range.
    """
    if arch not in BACKBONES:
        masks = "; masks and key points are not supported" if arch.startswith(("mask", "keypoint")) else ""
        raise ValueError(
            f"detector '{arch}' is not one of {', '.join(BACKBONES)}{did_you_mean(arch, BACKBONES)}{masks}"
        )
    if n_classes < 1 or max_detections < 1 or not 0 <= min_score < 1:
        raise ValueError(
            f"need n_classes and max_detections of at least 1 and min_score in [0, 1), got {n_classes}, "
            f"{max_detections}, {min_score}"
        )
    rcnn = arch.startswith("fasterrcnn")
    names = ("box_detections_per_img", "box_score_thresh") if rcnn else ("detections_per_img", "score_thresh")
    options: dict[str, Any] = dict(zip(names, (max_detections, min_score), strict=True))
    if arch.startswith("ssdlite"):
        net = ssdlite320(n_classes + 1, **options)
    else:
        net = torchvision.models.get_model(
            arch, weights=None, weights_backbone=None, num_classes=n_classes + 1, **options
        )
    if c_in != 3:
        replace_first_conv(net.get_submodule("backbone"), c_in)
    return Detector(net, BACKBONES[arch], max_detections, 1 if arch.startswith("ssd") else 32)
