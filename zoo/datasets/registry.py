"""Which data sets are known by name."""

from __future__ import annotations

from zoo.datasets.described import Dataset, DatasetError
from zoo.datasets.public import PUBLIC
from zoo.errors import did_you_mean, some

_known: dict[str, Dataset] = {}


def available() -> dict[str, Dataset]:
    """All data sets that are known by name.

    Example:
        >>> available()["ml-latest-small"].size
        978202
    """
    return {**{one.name: one for one in PUBLIC}, **_known}


def register(dataset: Dataset) -> Dataset:
    """Make a data set of your own known by name, in this process.

    Args:
        dataset: replaces one of the same name that was registered here before.

    Returns:
        The same.

    Raises:
        ValueError: if it has the name of a public set.
    """
    taken = {one.name.lower(): one.name for one in PUBLIC}
    if dataset.name.lower() in taken:
        raise ValueError(
            f"there is a public data set {taken[dataset.name.lower()]!r}: give yours another name"
        )
    _known[dataset.name] = dataset
    return dataset


def dataset(name: str) -> Dataset:
    """The data set of this name.

    Raises:
        DatasetError: if there is none, with the names there are.
    """
    known = available()
    if name not in known:
        raise DatasetError(
            f"no data set {name!r}{did_you_mean(name, known)}: there are {some(sorted(known), most=20)}"
        )
    return known[name]
