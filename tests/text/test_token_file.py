"""Tokens on disk: found again, the same bytes for any number of workers, gone on after an interruption."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zoo_text import Field, TokenFile
from zoo_text.tokens import encoding, token_build


def words(**options: object) -> Field:
    return Field(tokenize="whitespace", **options)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_text.tokens.encoding.BLOCK_CHARACTERS", 4000)
    monkeypatch.setattr("zoo_text.tokens.corpus.BLOCK_CHARACTERS", 4000)
    monkeypatch.setattr("zoo_text.tokens.token_build._BLOCKS_A_NOTE", 2)


def test_ids_are_those_of_the_field_and_fit_the_vocabulary(tmp_path: Path, reviews: pd.DataFrame) -> None:
    texts = reviews.text.tolist()[:100]
    field, other = Field(), Field()
    tokens = TokenFile.build(texts, field, tmp_path / "reviews", min_freq=2)
    vocab = other.build_vocab(texts, min_freq=2)
    assert field.vocab is not None
    assert tokens.vocab.itos == field.vocab.itos == vocab.itos
    assert [ids.tolist() for ids in tokens] == [other.numericalize(text) for text in texts]
    assert tokens.ids.dtype == np.uint16
    assert (tmp_path / "reviews" / "tokens.u16").stat().st_size == 2 * len(tokens.ids)
    assert tokens.counts.tolist() == np.bincount(tokens.ids, minlength=len(vocab)).tolist()
    assert tokens[-1].tolist() == tokens[99].tolist()
    with pytest.raises(IndexError, match="text 100 of 100"):
        tokens[100]
    assert tokens.field().state() == field.state()


def test_large_vocabularies_need_32_bits(tmp_path: Path) -> None:
    texts = [
        " ".join(f"w{number}" for number in range(start, start + 700)) for start in range(0, 70_000, 700)
    ]
    tokens = TokenFile.build(texts, field := words(), tmp_path / "many")
    assert tokens.ids.dtype == np.int32
    assert tokens[99].tolist() == field.numericalize(texts[99])


def test_writing_to_the_ids_changes_nothing_on_disk(tmp_path: Path) -> None:
    tokens = TokenFile.build(["a b"], words(), tmp_path / "t")
    tokens.ids[0] = 9
    assert TokenFile.open(tmp_path / "t").ids.tolist() == [2, 3]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("known", [False, True])
def test_workers_give_the_same_bytes(tmp_path: Path, reviews: pd.DataFrame, known: bool) -> None:
    texts = reviews.text.tolist()[:40]
    built = []
    for workers in (1, 2, 3):
        field = Field()
        if known:
            field.build_vocab(texts[:10])
        TokenFile.build(texts, field, tmp_path / str(workers), workers=workers)
        built.append(contents(tmp_path / str(workers)))
    assert built[0] == built[1] == built[2]


def test_workers_are_counted(tmp_path: Path) -> None:
    for wrong in (0, True, 1.5):
        with pytest.raises(ValueError, match="workers must be a whole number"):
            TokenFile.build(["a"], words(), tmp_path / "t", workers=wrong)  # type: ignore[arg-type]


def test_a_killed_worker_is_told(tmp_path: Path) -> None:
    field = Field(tokenize=_die)
    with pytest.raises(RuntimeError, match="one of 2 processes that make tokens was killed"):
        TokenFile.build(["a", "b"], field, tmp_path / "t", workers=2)
    assert not list(tmp_path.iterdir())


def _die(text: str) -> list[str]:
    os._exit(1)


def test_the_same_text_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TokenFile.build(["a b", "b c"], words(), tmp_path / "t")
    built = []
    monkeypatch.setattr("zoo_text.tokens.token_file.build_into", lambda *args: built.append(args[1].key))
    field = words()
    assert TokenFile.build(["a b", "b c"], field, tmp_path / "t").vocab.itos[2] == "b"
    assert field.vocab is not None
    assert not built
    for texts, other, options in (
        (["a b", "b d"], words(), {}),
        (["a b b", "c"], words(), {}),
        (["a b", "b c"], words(lower=False), {}),
        (["a b", "b c"], words(clean=["html"]), {}),
        (["a b", "b c"], words(), {"min_freq": 2}),
        (["a b", "b c"], field, {}),
    ):
        TokenFile.build(texts, other, tmp_path / "t", **options)
    assert len(set(built)) == 6


def test_what_can_be_read_only_once_is_built_anew(tmp_path: Path) -> None:
    for _ in range(2):
        tokens = TokenFile.build((text for text in ["a b", "c"]), words(), tmp_path / "t")
        assert [len(ids) for ids in tokens] == [2, 1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["t"]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_build_goes_on(
    tmp_path: Path, reviews: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    texts = reviews.text.tolist()[:60]
    TokenFile.build(texts, Field(), tmp_path / "whole")
    encode, read = encoding.encode_blocks, []

    def interrupted(blocks: Iterator, *args: object) -> Iterator:
        for number, encoded in enumerate(encode(blocks, *args)):  # type: ignore[arg-type]
            if number == 7:
                raise KeyboardInterrupt
            yield encoded

    monkeypatch.setattr(token_build, "encode_blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        TokenFile.build(texts, Field(), tmp_path / "t", workers=workers)
    assert not (tmp_path / "t").exists()

    def told(blocks: Iterator, *args: object) -> Iterator:
        for encoded in encode(blocks, *args):  # type: ignore[arg-type]
            read.append(len(encoded[1]))
            yield encoded

    monkeypatch.setattr(token_build, "encode_blocks", told)
    TokenFile.build(texts, Field(), tmp_path / "t", workers=workers)
    assert 0 < sum(read) < 50
    assert contents(tmp_path / "t") == contents(tmp_path / "whole")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["t", "whole"]


@pytest.mark.usefixtures("small_blocks")
def test_nothing_goes_on_with_another_text_or_with_damaged_files(
    tmp_path: Path, reviews: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = reviews.text.tolist()[:40]
    finish = token_build.count_ids
    for spoil in (None, "ids.i32", "words.jsonl", "progress.json"):

        def fail(*args: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(token_build, "count_ids", fail)
        with pytest.raises(KeyboardInterrupt):
            TokenFile.build(texts[::-1] if spoil is None else texts, Field(), tmp_path / "t")
        if spoil is not None:
            file = tmp_path / ".t.build" / spoil
            file.write_bytes(file.read_bytes()[:10])
        monkeypatch.setattr(token_build, "count_ids", finish)
        field = Field()
        tokens = TokenFile.build(texts, field, tmp_path / "t")
        assert [ids.tolist() for ids in tokens] == [field.numericalize(text) for text in texts]
        TokenFile.build(texts[:1], Field(), tmp_path / "t")  # so that the next round builds again


_KILLED = """
import sys, time
from pathlib import Path
from zoo_text import Field, TokenFile
from zoo_text.tokens import encoding, token_build
encoding.BLOCK_CHARACTERS, token_build._BLOCKS_A_NOTE = 4000, 1
texts = Path(sys.argv[1]).read_text().split("\\n\\n")
encode = token_build.encode_blocks
def slow(*args):
    for encoded in encode(*args):
        time.sleep(0.1)
        print("block", flush=True)
        yield encoded
token_build.encode_blocks = slow
TokenFile.build(texts, Field(tokenize="whitespace"), sys.argv[2], workers=2)
"""


def test_a_killed_build_goes_on_and_leaves_no_process(tmp_path: Path) -> None:
    texts = [" ".join(f"w{number % 97}" for number in range(start, start + 900)) for start in range(40)]
    (tmp_path / "texts.txt").write_text("\n\n".join(texts))
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "texts.txt"), str(tmp_path / "t")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.stdout.read()  # ends when the workers, who share it, are gone
    noted = json.loads((tmp_path / ".t.build" / "progress.json").read_text())
    assert noted["parts"] >= 4
    TokenFile.build(texts, words(), tmp_path / "t")
    TokenFile.build(texts, words(), tmp_path / "whole")
    assert contents(tmp_path / "t") == contents(tmp_path / "whole")
    assert not (tmp_path / ".t.build").exists()


def test_two_builds_of_the_same_folder_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, inner = encoding.encode_blocks, []

    def meeting(*args: object) -> Iterator:
        monkeypatch.setattr(token_build, "encode_blocks", encode)
        inner.append(TokenFile.build(["a b", "c"], words(), tmp_path / "t"))
        yield from encode(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(token_build, "encode_blocks", meeting)
    outer = TokenFile.build(["a b", "c"], words(), tmp_path / "t")
    assert [ids.tolist() for ids in outer] == [[2, 3], [4]]
    assert [entry.name for entry in tmp_path.iterdir()] == ["t"]


@pytest.mark.usefixtures("small_blocks")
def test_files_are_texts_whatever_they_are_cut_into(tmp_path: Path, reviews: pd.DataFrame) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    texts = ["\n".join(reviews.text[start : start + 20]) for start in (0, 20, 40)]
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_text(text, encoding="utf-8", newline="")
    field = Field()
    tokens = TokenFile.build(folder, field, tmp_path / "t")
    assert [ids.tolist() for ids in tokens] == [field.numericalize(text) for text in texts]
    one = TokenFile.build([folder / "1.txt"], field, tmp_path / "one")
    assert [ids.tolist() for ids in one] == [field.numericalize(texts[1])]
    with pytest.raises(FileNotFoundError, match=r"did you mean '1.txt'"):
        TokenFile.build([folder / "11.txt"], field, tmp_path / "one")


def test_what_is_not_a_token_file_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("dear to me")
    with pytest.raises(FileExistsError, match="choose another folder"):
        TokenFile.build(["a"], words(), tmp_path / "mine")
    with pytest.raises(TypeError, match=r"give Path\(...\) for a file"):
        TokenFile.build("corpus.txt", words(), tmp_path / "t")
    with pytest.raises(TypeError, match="text 1 is None"):
        TokenFile.build(["a", None], words(), tmp_path / "t")  # type: ignore[list-item]
    assert contents(tmp_path / "mine") == {"notes.txt": b"dear to me"}


def test_damaged_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no token file"):
        TokenFile.open(tmp_path / "t")
    for name, content, message in (
        ("tokens.u16", b"\0", "1 bytes instead of 4"),
        ("offsets.i64", b"", "0 bytes instead of 16"),
        ("vocab.json", b"[", "vocab.json is damaged"),
        ("meta.json", b"{", "meta.json is damaged"),
        ("meta.json", b'{"kind": "other"}', "holds no token file"),
        ("meta.json", b'{"kind": "tokens", "format": 99, "zoo": "9.9"}', "update zoo"),
        ("meta.json", b'{"kind": "tokens", "format": 1}', "is damaged"),
    ):
        folder = TokenFile.build(["a b"], words(), tmp_path / "t").folder
        (folder / name).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            TokenFile.open(folder)
        for file in folder.iterdir():
            file.unlink()


def test_token_files_of_earlier_versions_open() -> None:
    tokens = TokenFile.open(Path(__file__).parents[1] / "gallery" / "tokens1")
    assert tokens.vocab.itos == ["<unk>", "<pad>", "<bos>", "a", "film", "good"]
    assert [ids.tolist() for ids in tokens] == [[2, 3, 5, 4], [2, 3, 4]]
    assert tokens.counts.tolist() == [0, 0, 2, 2, 2, 1]
    assert tokens.field().numericalize("a <i>film</i>") == [2, 3, 4]


def test_a_function_is_no_part_of_a_file(tmp_path: Path) -> None:
    tokens = TokenFile.build(["a-b"], Field(tokenize=re.compile("[a-z]").findall), tmp_path / "t")
    assert tokens.ids.tolist() == [2, 3]
    with pytest.raises(ValueError, match="give field="):
        tokens.field()


_MEMORY = """
import resource, sys
from pathlib import Path
from zoo_text import Field, TokenFile
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
text = " ".join(f"word{number % 5000}" for number in range(40_000)) + "\\n"
path = Path(sys.argv[1])
with path.open("w") as file:
    for _ in range(int(sys.argv[2])):
        file.write(text)
field = Field(tokenize="whitespace")
TokenFile.build(["a"], field, path.with_name("small"))
before = peak()
TokenFile.build(path, Field(tokenize="whitespace"), path.with_name("t"))
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    grown = []
    for size in (30, 300):  # 11 and 106 MB, of 10 times as many tokens
        run = subprocess.run(
            [sys.executable, "-c", _MEMORY, str(tmp_path / "big.txt"), str(size)],
            capture_output=True,
            check=True,
        )
        grown.append(int(run.stdout))
    assert grown[1] - grown[0] < 20_000  # kilobytes; the ids alone are 48 MB
