"""What each domain reads and answers over the web, in the user's terms."""

from __future__ import annotations

import base64
import contextlib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, create_model

from zoo.data.answers.prediction import Prediction
from zoo.errors import some
from zoo.serving.limits import Limits

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_LEVELS = 30  # of a category that are tried
Cell = str | int | float | bool | None


class Refused(ValueError):
    """An input that the model cannot read; the client is told."""


@dataclass(frozen=True)
class PictureFile:
    """A picture that waits: the bytes of its file, and the pixels that its header tells."""

    data: bytes
    pixels: int


class Domain:
    """What the inputs of a model are, and how its answers are told.

    Args:
        learn: an exported learner.
        limits: what is accepted.
    """

    kind = ""

    def __init__(self, learn: Any, limits: Limits) -> None:
        self.learn, self.limits = learn, limits

    def schema(self) -> type[BaseModel]:
        """The form of one input."""
        raise NotImplementedError

    def item(self, given: Any) -> Any:
        """One input as `predict_batch` takes it, checked; raises `Refused`."""
        raise NotImplementedError

    def answers(self, items: list[Any]) -> Sequence[Any]:
        """Answers of inputs, each as plain values or as the exception that its input is to blame for."""
        return self.together(items)

    def together(self, items: list[Any]) -> Sequence[Any]:
        """One pass of the model; where that fails, one for each input."""
        if not items:
            return []
        try:
            return self.told(self.learn.predict_batch(self.joined(items)))
        except Exception as error:
            if len(items) == 1:
                return [_told(error)]
        return [self.together([item])[0] for item in items]  # one of them is to blame: each alone

    def joined(self, items: list[Any]) -> Any:
        return items

    def told(self, found: Any) -> list[Any]:
        """Answers as plain values."""
        return [plain(one) for one in found]

    def why(self, item: Any) -> dict[str, Any]:
        """What an answer rests on."""
        raise Refused(f"a model of {self.kind} has no reasons to show")

    def about(self) -> dict[str, Any]:
        """What the page needs to know."""
        return {"kind": self.kind, "classes": _classes(self.learn)}


class Texts(Domain):
    """Texts to classes, labels or values."""

    kind = "text"

    def schema(self) -> type[BaseModel]:
        return create_model(
            "TextInput",
            __config__=_STRICT,
            text=(str, Field(max_length=self.limits.characters, min_length=1)),
        )

    def item(self, given: Any) -> str:
        text = given["text"]
        if not text.strip():
            raise Refused("the text is empty")
        return text

    def why(self, item: str) -> dict[str, Any]:
        found = self.learn.explain(item)
        frame = found.frame()
        return {
            "words": [
                {"word": str(word), "score": float(score)}
                for word, score in zip(frame.iloc[:, 0], frame["score"], strict=True)
            ],
            "of": str(found.told()) if callable(found.told) else str(found.told),
        }


class Pictures(Domain):
    """Pictures to classes, labels or values."""

    kind = "image"

    def schema(self) -> type[BaseModel]:
        longest = int(self.limits.body_mb * 1e6)
        told = "a picture file (JPEG, PNG, ...) in base64"
        return create_model(
            "PictureInput", __config__=_STRICT, picture=(str, Field(max_length=longest, description=told))
        )

    def item(self, given: Any) -> Any:
        picture = given["picture"]
        if isinstance(picture, str):
            head, _, body = picture.partition("base64,")
            try:
                picture = base64.b64decode(body or head, validate=True)
            except ValueError as error:
                raise Refused("the picture is no base64") from error
        return PictureFile(picture, pixels_of(picture, self.limits.megapixels))

    def answers(self, items: list[Any]) -> Sequence[Any]:
        """As of every domain; pictures are decoded here, in the thread of the model, and never more of them
        at once than one picture may have pixels: files of a few kilobytes can hold millions."""
        found: list[Any] = []
        for group in self._groups(items):
            pictures = [self._opened(item) for item in group]
            fine = iter(self.together([one for one in pictures if not isinstance(one, Refused)]))
            found += [one if isinstance(one, Refused) else next(fine) for one in pictures]
        return found

    def _groups(self, items: list[Any]) -> Iterator[list[Any]]:
        group, pixels = [], 0
        for item in items:
            if group and pixels + item.pixels > self.limits.megapixels * 1e6:
                yield group
                group, pixels = [], 0
            group.append(item)
            pixels += item.pixels
        if group:
            yield group

    def _opened(self, item: PictureFile) -> Any:
        try:
            return opened(item.data)
        except Refused as error:
            return error

    def why(self, item: Any) -> dict[str, Any]:
        from zoo.vision.seeing.activation_map import blended

        picture = opened(item.data)
        heat = self.learn.activation_map(picture)
        small = picture.copy()
        small.thumbnail((480, 480))
        resized = np.asarray(
            Image.fromarray(heat.astype("float32")).resize(small.size, Image.Resampling.BILINEAR)
        )
        drawn = io.BytesIO()
        Image.fromarray(blended(np.asarray(small), resized)).save(drawn, "PNG")
        return {"heat_map": "data:image/png;base64," + base64.b64encode(drawn.getvalue()).decode()}


class Rows(Domain):
    """Rows of a table to values or classes."""

    kind = "table"

    def __init__(self, learn: Any, limits: Limits) -> None:
        super().__init__(learn, limits)
        processor = learn.data.processor
        made = {part for date in processor.dates_ for part in date.parts}
        self.dates = [date.name for date in processor.dates_]
        self.categories = {
            one.name: list(one.levels) for one in processor.categories_ if one.name not in made
        }
        self.numbers = {one.name: one for one in processor.numbers_ if one.name not in made}

    def schema(self) -> type[BaseModel]:
        known: dict[str, tuple[Any, str]] = dict.fromkeys(self.dates, (str, "a date, such as 2015-07-31"))
        for name, levels in self.categories.items():
            known[name] = (Cell, f"a category, such as {some(map(str, levels), 5)}")
        for name in self.numbers:
            known[name] = (float | None, "a number, or null where it is missing")
        # the name of a column need not be one that Python knows
        fields: dict[str, Any] = {
            f"f{i}": (kind, Field(alias=name, description=told))
            for i, (name, (kind, told)) in enumerate(known.items())
        }
        return create_model("RowInput", __config__=_STRICT, **fields)

    def item(self, given: Any) -> dict[str, Any]:
        return dict(given)

    def why(self, item: dict[str, Any]) -> dict[str, Any]:
        """Of each column the value that would move the answer farthest: of categories the most frequent
        levels, of numbers those one and two deviations from the mean of training."""
        answer = plain(self.learn.predict_batch([item])[0])
        output = {} if "label" not in answer else {"output": answer["label"]}
        found = []
        tried: dict[str, list[Any]] = {name: levels[:_LEVELS] for name, levels in self.categories.items()}
        for name, one in self.numbers.items():
            tried[name] = [one.mean + step * one.std for step in (-2, -1, 0, 1, 2)]
        for name, values in tried.items():
            moved = self.learn.what_if(item, name, values, **output)
            best = moved.loc[moved["change"].abs().idxmax()]
            row = {"column": name, "now": item[name], "then": best[name], "change": best["change"]}
            found.append(_finite(row))
        found.sort(key=lambda row: -abs(row["change"] or 0.0))
        return {"alternatives": found, "of": output.get("output", "value")}

    def about(self) -> dict[str, Any]:
        fields = [{"name": name, "kind": "date"} for name in self.dates]
        fields += [
            {"name": name, "kind": "category", "levels": [plain(level) for level in levels[:500]]}
            for name, levels in self.categories.items()
        ]
        fields += [
            {"name": name, "kind": "number", "middle": float(one.median)}
            for name, one in self.numbers.items()
        ]
        return {**super().about(), "fields": fields}


class PairsOf(Domain):
    """A user and an item to a rating."""

    kind = "ratings"

    def schema(self) -> type[BaseModel]:
        return create_model("PairInput", __config__=_STRICT, user=(Cell, ...), item=(Cell, ...))

    def item(self, given: Any) -> tuple[Any, Any]:
        return given["user"], given["item"]

    def joined(self, items: list[Any]) -> Any:
        import pandas as pd

        user, item = self.learn.data.columns[:2]
        return pd.DataFrame(items, columns=[user, item])

    def recommend(self, users: list[Any] | None, ratings: Any, n: int) -> list[dict[str, Any]]:
        """Lists of users that are known, or of somebody with ratings."""
        found = self.learn.recommend(users, n) if ratings is None else self.learn.recommend_for(ratings, n)
        return [_finite(row) for row in found.to_dict("records")]

    def about(self) -> dict[str, Any]:
        data = self.learn.data
        titles = [str(data.titles[i]) for i in range(1, min(len(data.items), 20_001))]
        return {
            **super().about(),
            "users": [plain(one) for one in data.users.ids[:50]],
            "items": [
                {"item": plain(one), "title": title}
                for one, title in zip(data.items.ids[:20_000], titles, strict=True)
            ],
        }


_DOMAINS: dict[str, type[Domain]] = {"text": Texts, "vision": Pictures, "tabular": Rows, "collab": PairsOf}
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


def domain_of(learn: Any, limits: Limits) -> Domain:
    """The inputs of a learner.

    Raises:
        ValueError: for learners that cannot be served.
    """
    kind = _DOMAINS.get(learn.domain)
    if kind is None:
        raise ValueError(f"a model of {learn.domain} cannot be served, only those of {', '.join(_DOMAINS)}")
    return kind(learn, limits)


def pixels_of(data: bytes, megapixels: float) -> int:
    """Pixels of a picture by the header of its file; nothing is decoded.

    Raises:
        Refused: for what is no picture, or too large.
    """
    with _told_as_refused():
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
    pixels = picture.width * picture.height
    if pixels > megapixels * 1e6:
        raise Refused(
            f"the picture has {picture.width} x {picture.height} pixels, {megapixels:g} million are accepted"
        )
    return pixels


def opened(data: bytes) -> Any:
    """A picture from the bytes of its file, whose size `pixels_of` has judged.

    Raises:
        Refused: for what is broken.
    """
    with _told_as_refused():
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
        picture.load()
        return ImageOps.exif_transpose(picture).convert("RGB")


@contextlib.contextmanager
def _told_as_refused() -> Iterator[None]:
    try:
        yield
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Refused(
            "the picture cannot be read: it is broken, or no JPEG, PNG, WEBP, BMP, GIF, TIFF"
        ) from error


def plain(value: Any) -> Any:
    """An answer as plain values that JSON can hold."""
    if isinstance(value, Prediction):
        label = list(value.label) if isinstance(value.label, tuple) else value.label
        return {"label": label, "probability": value.probability, "probabilities": value.probabilities}
    if isinstance(value, np.ndarray):
        return {"values": [plain(one) for one in value.tolist()]}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return {"value": value} if math.isfinite(value) else {"value": None}
    return value if isinstance(value, str | int | bool) or value is None else str(value)


def _finite(row: dict[Any, Any]) -> dict[str, Any]:
    told = {}
    for name, value in row.items():
        value = value.item() if isinstance(value, np.generic) else value
        fine = not isinstance(value, float) or math.isfinite(value)
        told[str(name)] = value if fine and isinstance(value, str | int | float | bool) else None
    return told


def _classes(learn: Any) -> list[str] | None:
    classes = getattr(learn.data, "classes", None)
    return None if classes is None else [str(name) for name in classes]


def _told(error: Exception) -> Exception:
    """Errors of an input, which the client may mend, apart from those of the service."""
    return Refused(str(error)) if isinstance(error, ValueError | TypeError) else error
