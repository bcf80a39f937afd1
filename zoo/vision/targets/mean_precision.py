"""Mean average precision of detections, by torchmetrics."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor


class MeanAveragePrecision:
    """Mean average precision (COCO: mean over IoU 0.50 to 0.95, or at one threshold) of a detector.

    A streaming metric of `zoo.metrics`; the work is done by `torchmetrics.detection.MeanAveragePrecision`
    (packages `torchmetrics` and `pycocotools`, in the extra `detection`).

    Args:
        iou: one threshold instead of the ten of COCO, for instance 0.5.
    """

    def __init__(self, iou: float | None = None) -> None:
        self.iou = iou
        self.name = "mAP" if iou is None else f"mAP@{iou:g}"
        self._metric: Any = None

    @staticmethod
    def is_there() -> bool:
        """Whether the packages that it needs are installed."""
        return all(importlib.util.find_spec(name) is not None for name in ("torchmetrics", "pycocotools"))

    def reset(self) -> None:
        if not self.is_there():
            raise ModuleNotFoundError(
                "mean average precision needs torchmetrics and pycocotools: pip install 'zoo[detection]'"
            )
        from torchmetrics.detection import MeanAveragePrecision as Metric

        self._metric = Metric(
            box_format="xyxy", iou_thresholds=None if self.iou is None else [self.iou], backend="pycocotools"
        )
        self._metric.warn_on_many_detections = False

    def update(self, preds: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Detections `{"boxes", "scores", "labels"}` and truth `{"boxes", "labels"}` of a batch, padded with
        label -1."""
        said = [
            {
                name: preds[name][row][preds["labels"][row] >= 0].detach().cpu()
                for name in ("boxes", "scores", "labels")
            }
            for row in range(len(preds["labels"]))
        ]
        truth = [
            {name: target[name][row][target["labels"][row] >= 0].cpu() for name in ("boxes", "labels")}
            for row in range(len(target["labels"]))
        ]
        self._metric.update(said, truth)

    def compute(self) -> float:
        """NaN where no picture has a box: precision is a mean over the classes that there are."""
        found = float(self._metric.compute()["map"])
        return math.nan if found < 0 else found  # torchmetrics says -1
