"""Makes the folder that a run on another machine needs beyond the repository: data, small and packed.

Texts are token ids here, so that nothing later asks for a tokeniser; photos are WebP files of 128 x 128.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from gpu_parts.packing import as_bytes, pack
from zoo.datasets import local_dataset

LIMIT = 55_000_000
SIDE = 128
BYTES_PER_TOKEN = 1.07  # packed; a little more than measured
_EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Source:
    """Where data come from and where they go.

    Attributes:
        data: folder of the data sets.
        folder: of the members.
        quick: tiny subsets.
    """

    data: Path
    folder: Path
    quick: bool = False

    def pack(self, member: str, **arrays: np.ndarray) -> int:
        return pack(self.folder, member, arrays, quick=self.quick)


def sales(source: Source) -> int:
    """The data of `examples/rossmann.py`, coded and scaled: codes, float32 numbers, log sales."""
    if str(_EXAMPLES) not in sys.path:
        sys.path.insert(0, str(_EXAMPLES))
    from rossmann_features import CATEGORIES, NUMBERS, held_out_rows, load_rossmann, log_range

    from zoo_tabular import ColumnarModelData

    folder = local_dataset(source.data, "rossmann", "store.csv")
    train, _ = load_rossmann(folder, 12_000 if source.quick else None)
    held_out = held_out_rows(train, "last")
    with tempfile.TemporaryDirectory() as work:
        data = ColumnarModelData.from_data_frame(
            work, held_out, train, "Sales", CATEGORIES, 512,
            cont_flds=NUMBERS, target_transform="log", seed=0,
        )  # fmt: skip
        saved = data.save(Path(work) / "sales")
        arrays = {file.stem: np.load(file) for file in sorted(saved.glob("*.npy"))}
        contents = np.frombuffer((saved / "data.json").read_bytes(), dtype=np.uint8)
    return source.pack(
        "sales", contents=contents, y_range=np.array(log_range(train["Sales"], held_out)), **arrays
    )


def ratings(source: Source) -> int:
    """Who, which film, half stars."""
    stars = pd.read_csv(local_dataset(source.data, "ml-latest-small", "ratings.csv") / "ratings.csv")
    if source.quick:
        stars = stars.sample(3000, random_state=0)
    return source.pack(
        "ratings",
        user=stars["userId"].to_numpy("int32"),
        film=stars["movieId"].to_numpy("int32"),
        half_stars=(2 * stars["rating"]).round().to_numpy("uint8"),
    )


def digits(source: Source) -> int:
    """The 28 x 28 pixels of written digits, and which they are."""
    folder = local_dataset(source.data, "mnist")
    arrays = {}
    for part, name, rows in (("train", "train", 600), ("test", "t10k", 200)):
        for kind, what in (("x", "images-idx3"), ("y", "labels-idx1")):
            raw = np.frombuffer(_idx_file(folder, f"{name}-{what}").read_bytes(), dtype=np.uint8)
            values = raw[16:].reshape(-1, 28, 28) if kind == "x" else raw[8:]
            arrays[f"{kind}_{part}"] = values[:rows] if source.quick else values
    return source.pack("digits", **arrays)


def _idx_file(folder: Path, start: str) -> Path:
    found = [file for file in folder.rglob("*ubyte*") if file.name.replace(".", "-").startswith(start)]
    if not found:
        raise FileNotFoundError(f"no file {start}-ubyte below {folder}")
    return found[0]


def photos(source: Source) -> int:
    """Cats (0) and dogs (1) as WebP files of 128 x 128 pixels, one after the other, and where each starts."""
    folder = local_dataset(source.data, "dogscats", marker="train")
    files, labels, held = [], [], []
    for part in ("train", "valid"):
        for label, name in enumerate(("cats", "dogs")):
            found = sorted((folder / part / name).iterdir())[: 12 if source.quick else None]
            for file in found:
                small = Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                buffer = io.BytesIO()
                small.save(buffer, "WEBP", quality=80, method=2 if source.quick else 6)
                files.append(buffer.getvalue())
            labels += [label] * len(found)
            held += [part == "valid"] * len(found)
    return source.pack(
        "photos",
        files=np.frombuffer(b"".join(files), dtype=np.uint8),
        starts=np.cumsum([0, *map(len, files)]).astype("int64"),
        labels=np.array(labels, dtype=np.uint8),
        held_out=np.array(held),
    )


def weights(source: Source) -> int:
    """The body of a mobilenet_v2 in float16."""
    from zoo.vision.models.weights import read_state_dict

    state = read_state_dict(local_dataset(source.data, "weights") / "mobilenet_v2.pth")
    unused = ("classifier.", "num_batches_tracked")
    body = {name: part for name, part in state.items() if not any(word in name for word in unused)}
    return source.pack(
        "weights", **{n: (p.half() if p.is_floating_point() else p).numpy() for n, p in body.items()}
    )


def reviews(source: Source, room: int = LIMIT) -> int:
    """Film reviews as token ids: 25,000 labelled ones to train on, as many to test on, and as many without
    a label as fit into `room` bytes.
    """
    from zoo_text import Field
    from zoo_text.tokens.corpus import count_ids, encode_texts

    labelled = pd.read_parquet(local_dataset(source.data, "imdb.parquet"))
    plain = pd.read_parquet(local_dataset(source.data, "imdb_unsup.parquet"))
    train, test = (labelled[labelled.split == part].sample(frac=1, random_state=0) for part in _PARTS)
    plain = plain.sample(frac=1, random_state=0)
    if source.quick:
        train, test, plain = train[:96], test[:48], plain[:48]
    field = Field(lower=True, tokenize="spacy", rules=("start",))
    numbers = field.counter()
    ids, starts = encode_texts(_clean([*train.text, *plain.text]), numbers)
    field.vocab, final = numbers.finish(count_ids(ids), 5, 20_000)
    ids = final[ids].astype("uint16")
    test_ids, test_starts = encode_texts(_clean(test.text), field)
    cut = starts[len(train)]
    size = source.pack(
        "reviews",
        train_ids=ids[:cut], train_starts=starts[: len(train) + 1], train_labels=_labels(train),
        test_ids=test_ids.astype("uint16"), test_starts=test_starts, test_labels=_labels(test),
        vocabulary=as_bytes(field.vocab.itos),
    )  # fmt: skip
    left = int((room - size) / BYTES_PER_TOKEN)
    fitting = int(np.searchsorted(starts[len(train) :] - cut, left, side="right")) - 1
    end = starts[len(train) + min(fitting, len(plain))]
    return size + source.pack("unlabelled", ids=ids[cut:end])


_PARTS = ("train", "test")


def _clean(texts: Sequence[str]) -> list[str]:
    return [text.replace("<br />", "\n") for text in texts]


def _labels(part: pd.DataFrame) -> np.ndarray:
    return (part["label"] == "pos").to_numpy("uint8")


def wheels(folder: Path, names: Sequence[str]) -> int:
    """Wheels for Python 3.12 on x86-64, `NAME==VERSION` each; none is needed where the README's packages
    but spaCy are installed.
    """
    if not names:
        return 0
    target = folder / "wheels"
    systems = ["2_28", "2_27", "2_17"]
    options = [part for system in systems for part in ("--platform", f"manylinux_{system}_x86_64")]
    command = [
        sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:",
        "--python-version", "3.12", "--implementation", "cp", *options, "--platform", "manylinux2014_x86_64",
        "-d", str(target), *names,
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return sum(file.stat().st_size for file in target.iterdir())


MEMBERS: dict[str, Callable[[Source], int]] = {
    make.__name__: make for make in (sales, ratings, digits, photos, weights)
}


def prepare(
    data: Path, folder: Path, *, quick: bool = False, packages: Sequence[str] = (), limit: int = LIMIT
) -> dict[str, int]:
    """Make all members; the unlabelled reviews take the room that the others leave.

    Returns:
        Bytes by member.

    Raises:
        FileNotFoundError: if a data set is not on the machine.
        ValueError: if the folder became larger than `limit` bytes.
    """
    source = Source(data, folder, quick)
    sizes = {"wheels": wheels(folder, packages)}
    for name, make in MEMBERS.items():
        sizes[name] = make(source)
        print(f"{name}: {sizes[name] / 1e6:.2f} MB", flush=True)
    sizes["reviews"] = reviews(source, limit - sum(sizes.values()))
    total = sum(sizes.values())
    print(f"reviews: {sizes['reviews'] / 1e6:.2f} MB\n{total / 1e6:.2f} MB in {folder}")
    if total > limit:
        raise ValueError(f"{folder} takes {total:,} bytes, more than {limit:,}")
    return sizes
