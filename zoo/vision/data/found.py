"""Where the pictures of a data block come from, and which of them are looked at."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from zoo.vision.data.sources.arrays import check_array
from zoo.vision.data.sources.folders import existing_folder, read_flat_folder
from zoo.vision.data.sources.names import existing_rows
from zoo.vision.data.sources.tables import names_and_labels, open_table, table_column
from zoo.vision.files.checking import OnBroken, check
from zoo.vision.files.file_list import FileList
from zoo.vision.files.finding import find_pictures


@dataclass(frozen=True)
class FoundPictures:
    """Files or an array of pictures, with the table that named them; see `Items`.

    Attributes:
        pictures: files, or an array of rows x H x W [x channels].
        root: folder that names are relative to.
        frame: the table the pictures were named by, one row each.
        test: unlabelled pictures.
        origin: what they are called in errors.

    Example:
        >>> len(FoundPictures.from_arrays(np.zeros((10, 8, 8, 3), np.uint8)))
        10
    """

    pictures: FileList | np.ndarray
    root: Path = Path(".")
    frame: pd.DataFrame | None = None
    test: FileList | np.ndarray | None = None
    origin: str = "the pictures"

    # ---- where pictures come from

    @classmethod
    def from_folder(cls, path: str | os.PathLike[str], *, folders: Sequence[str] | None = None) -> Self:
        """All pictures below a folder, in sorted order.

        Args:
            path: the folder.
            folders: only these sub-folders of it, such as ["train", "valid"].

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: there are no pictures in it.
        """
        root = Path(path)
        if not root.is_dir():
            raise FileNotFoundError(f"folder {root} does not exist")
        tops = [root] if folders is None else [existing_folder(root, name, "picture") for name in folders]
        files: list[str] = []
        for top in tops:
            found, left = find_pictures(top)
            left.log(top)
            files += [os.fsdecode(name) for name in found.names()]
        if not files:
            raise ValueError(f"{root} holds no pictures")
        return cls(FileList(files), root, origin=str(root))

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        folder: str,
        csv_fname: str | os.PathLike[str],
        *,
        suffix: str = "",
        id_col: str | int = 0,
        on_missing: Literal["raise", "skip"] = "raise",
    ) -> Self:
        """The pictures that a CSV file names in one of its columns.

        Args:
            path: base folder.
            folder: folder of the pictures, below `path`.
            csv_fname: the table; relative to `path` unless it exists as given.
            suffix: appended to each name, e.g. ".jpg".
            id_col: column of the file names, by name or position.
            on_missing: what is done with rows whose picture does not exist.
        """
        frame, origin = open_table(path, folder, csv_fname, suffix=suffix, id_col=id_col, skip_header=True)
        options = {"suffix": suffix, "id_col": id_col, "on_missing": on_missing, "origin": origin}
        return cls.from_df(path, folder, frame, **options)

    @classmethod
    def from_df(
        cls,
        path: str | os.PathLike[str],
        folder: str,
        df: pd.DataFrame,
        *,
        suffix: str = "",
        id_col: str | int = 0,
        on_missing: Literal["raise", "skip"] = "raise",
        origin: str = "the data frame",
    ) -> Self:
        """Like `from_csv`, from a data frame, which is not changed."""
        names, _ = names_and_labels(df, folder, suffix=suffix, id_col=id_col, label_col=id_col, origin=origin)
        if not names:
            raise ValueError(f"{origin} has no rows")
        files = [Path(path) / name for name in names]
        kept = existing_rows(files, on_missing, origin)
        frame = df.iloc[kept].reset_index(drop=True)
        return cls(FileList(files[row] for row in kept), Path(path), frame, origin=origin)

    @classmethod
    def from_arrays(cls, pictures: np.ndarray, path: str | os.PathLike[str] = ".") -> Self:
        """Pictures in memory: rows x H x W [x channels], uint8 or float in [0, 1]."""
        return cls(check_array(pictures, "pictures"), Path(path))

    def with_test(self, pictures: str | os.PathLike[str] | np.ndarray) -> Self:
        """Unlabelled pictures to be predicted: a folder, below the root or as given, or an array."""
        if isinstance(pictures, np.ndarray):
            return self._with(test=check_array(pictures, "test"))
        folder = self.root / pictures if (self.root / pictures).is_dir() else Path(pictures)
        if not folder.is_dir():
            raise FileNotFoundError(f"test folder {folder} does not exist")
        return self._with(test=FileList(read_flat_folder(folder)))

    # ---- which of them are looked at

    def filter(self, keep: Callable[[Path], bool]) -> Self:
        """Only the pictures for whose file `keep` is true."""
        return self._only(np.array([bool(keep(file)) for file in self.files("filter")]))

    def check(self, on_broken: OnBroken = "raise") -> Self:
        """Look at the headers of all files; broken ones are named in an error, or ("skip") left out.

        After `transform` without `value_range`, float and 32-bit pictures whose scale nothing tells are among
        them.
        """
        tfm = getattr(self, "_tfms", (None, None))[0]
        ranged = tfm is None or tfm.value_range is not None
        rows = check(self.files("check"), on_broken=on_broken, origin=self.origin, ranged=ranged)
        return self._only(np.isin(np.arange(len(self)), rows))

    def _only(self, keep: np.ndarray) -> Self:
        if not keep.any():
            raise ValueError(f"{self.origin}: not one of {len(self)} pictures is left")
        rows = np.flatnonzero(keep)
        pictures = self.pictures[rows] if isinstance(self.pictures, np.ndarray) else self.pictures.take(rows)
        frame = None if self.frame is None else self.frame.iloc[rows].reset_index(drop=True)
        return self._with(pictures=pictures, frame=frame)

    # ---- what the steps need

    def __len__(self) -> int:
        return len(self.pictures)

    def name_of(self, file: Path) -> str:
        """The path of a file below the root, with / between folders."""
        return (file.relative_to(self.root) if file.is_relative_to(self.root) else file).as_posix()

    def files(self, step: str) -> FileList:
        """The picture files.

        Args:
            step: what needs them, for the error.

        Raises:
            TypeError: the pictures are in memory.
        """
        if isinstance(self.pictures, np.ndarray):
            raise TypeError(
                f"{step} needs picture files; these pictures are in memory: give a sequence instead"
            )
        return self.pictures

    def _table(self, step: str) -> pd.DataFrame:
        if self.frame is None:
            raise TypeError(f"{step} needs a table: begin with Items.from_csv or Items.from_df")
        return self.frame

    def column(self, name: str | int, what: str) -> pd.Series:
        """A column of the table."""
        return table_column(self._table(f"the {what}"), name, what, self.origin)

    def _with(self, **changes: Any) -> Self:
        return dataclasses.replace(self, **changes)
