"""A small data set, as a zip archive, and what it unpacks to."""

import os

from tests.datasets.server import listing, zipped

NOISE = os.urandom(300_000)
ZIP = zipped({"fruit/train/a.txt": b"alpha", "fruit/noise.bin": NOISE, "fruit/._a.txt": b"litter"})
UNPACKED = {"train": "folder", "train/a.txt": "alpha", "noise.bin": NOISE[:40].decode("latin1")}


def kept(root):
    """What lies in a folder of data sets, without records."""
    return {name: what for name, what in listing(root).items() if not name.startswith(".zoo")}


def whole(root):
    return {"fruit": "folder", **{f"fruit/{name}": what for name, what in UNPACKED.items()}}
