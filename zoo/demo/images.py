"""Images: scikit-learn's handwritten digits as PNG files in class folders, and a small residual network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import MinMaxScaler

from zoo.data.splits import get_cv_idxs
from zoo.reports.section import Section, export_and_check, principal_plane, scatter_with_names
from zoo.vision import ConvLearner, ImageClassifierData, ImageModelResults, tfms_from_stats, transforms_basic
from zoo.vision.models.resnet_small import ResNetSmall

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIDE = 16


def write_folders(root: Path, scale: float, seed: int) -> float:
    """Write the digits as train/NAME/*.png and valid/NAME/*.png.

    Returns:
        The validation accuracy of a logistic regression on the same pixels, for comparison.
    """
    flat_pixels, labels = load_digits(return_X_y=True)
    pixels = np.asarray(flat_pixels).reshape(-1, 8, 8)
    labels = np.asarray(labels)
    order = np.random.default_rng(seed).permutation(len(labels))[: max(150, int(len(labels) * min(scale, 1)))]
    valid = set(order[get_cv_idxs(len(order), seed=seed)].tolist())
    for row in order.tolist():
        folder = root / ("valid" if row in valid else "train") / NAMES[labels[row]]
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((pixels[row] / 16 * 255).astype(np.uint8))
        picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{row:04d}.png")
    held_out = np.array([row in valid for row in order])
    flat = MinMaxScaler().fit_transform(pixels.reshape(len(labels), -1))[order]
    simple = LogisticRegression(max_iter=500).fit(flat[~held_out], labels[order][~held_out])
    return float(simple.score(flat[held_out], labels[order][held_out]))


def run(out: Path, *, seed: int = 42, scale: float = 1.0) -> Section:
    """Train on the digits, then show where the model errs."""
    root = out / "data" / f"digits-{seed}-{scale:g}"
    simple = write_folders(root, scale, seed)
    tfms = tfms_from_stats(([0.3] * 3, [0.35] * 3), SIDE, aug_tfms=transforms_basic, pad=1)
    data = ImageClassifierData.from_paths(
        root, bs=64 if scale > 0.3 else 16, tfms=tfms, num_workers=0, seed=seed
    )
    learn = ConvLearner.from_model_data(
        ResNetSmall(len(NAMES), widths=(16, 32, 64), depth=1), data, seed=seed
    )
    finder = learn.lr_find(num_it=50)
    learn.fit_one_cycle(14, 5e-3)
    results = ImageModelResults.from_learner(learn)

    section = Section(
        "Images",
        f"{len(data.trn_y):,} real handwritten digits to learn from and {len(data.val_y)}"
        " to judge by, written as PNG files"
        " in class folders; a small residual network from scratch, slightly rotated and"
        " shifted copies in training.",
    )
    section.metric, section.reached = "accuracy", float(learn.history[-1]["accuracy"])
    majority = float(np.bincount(data.val_y).max() / len(data.val_y))
    section.reference = f"majority class {majority:.3f}; logistic regression on the pixels {simple:.3f}"
    section.expect("half-way to the regression", section.reached > majority + 0.5 * (simple - majority))
    section.add_curves(learn, finder)
    section.add_figure("confusion matrix", results.plot_confusion_matrix())
    if len(results.most_incorrect()):
        section.add_figure("most wrong: sure and mistaken", results.plot_most_incorrect())
    section.add_figure("least certain", results.plot_most_uncertain())
    scores = learn.predict()
    plane = principal_plane(
        np.stack([scores[data.val_y == number].mean(0) for number in np.unique(data.val_y)])
    )
    classes = data.classes or []
    names = [classes[number] for number in np.unique(data.val_y)]
    section.add_figure("digits that the network finds alike lie close", scatter_with_names(plane, names))
    section.model = export_and_check(
        learn, out / "models" / "digits", sorted((root / "valid").glob("*/*.png"))[:40]
    )
    return section
