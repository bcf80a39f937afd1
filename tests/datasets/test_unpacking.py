"""Archives of strangers: what is refused, and that nothing is written then."""

import gzip
import io
import os
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib

import numpy as np
import pytest

from tests.datasets.server import listing, tarred, zipped
from zoo.datasets import DatasetError, Limits, unpack

GOOD = {"set/train/a.txt": b"alpha", "set/train/b.txt": b"beta", "set/labels.csv": b"name,label\n"}


def entry(name, kind=tarfile.REGTYPE, link="", size=0, **more):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    for key, value in more.items():
        setattr(info, key, value)
    return info


def zip_entry(name, mode=0, raw_name=None):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, b"/etc/passwd")
    data = stream.getvalue()
    return data if raw_name is None else data.replace(name.encode(), raw_name)


def raw_tar(name):
    """A tar archive whose one header has this name, byte for byte."""
    data = bytearray(tarred(("x", b"evil"), mode="w"))
    data[:100] = name.ljust(100, b"\0")
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    return bytes(data)


@pytest.mark.parametrize("pack", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_every_kind_unpacks_to_the_same(tmp_path, pack):
    content = zipped(GOOD) if pack == "zip" else tarred(*GOOD.items(), mode=pack)
    (tmp_path / "archive").write_bytes(content)
    found = unpack(tmp_path / "archive", tmp_path / "out", top="set")
    assert found == tmp_path / "out"
    assert listing(found) == {
        "labels.csv": "name,label\n",
        "train": "folder",
        "train/a.txt": "alpha",
        "train/b.txt": "beta",
    }
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(found.stat().st_mode) == 0o777 & ~mask
    assert stat.S_IMODE((found / "labels.csv").stat().st_mode) == 0o666 & ~mask


EVIL = {
    "parent in zip": (zipped({"ok.txt": b"1", "../outside.txt": b"x"}), "leads out"),
    "parent inside a path in zip": (zipped({"a/../../outside.txt": b"x"}), "leads out"),
    "absolute in zip": (zipped({"/tmp/outside.txt": b"x"}), "absolute"),
    "backslashes in zip": (zipped({"..\\outside.txt": b"x"}), "not one on every platform"),
    "drive in zip": (zipped({"C:\\outside.txt": b"x"}), "not one on every platform"),
    "newline in zip": (zipped({"a\nb": b"x"}), "not one on every platform"),
    "nul in zip": (zip_entry("aXb.txt", raw_name=b"a\0b.txt"), "not one on every platform"),
    "link in zip": (zip_entry("link", stat.S_IFLNK | 0o777), "a link"),
    "device in zip": (zip_entry("dev", stat.S_IFBLK | 0o666), "neither a file nor a folder"),
    "case in zip": (zipped({"Train/a": b"1", "train/b": b"2"}), "one name on some file systems"),
    "file case in zip": (zipped({"a.TXT": b"1", "a.txt": b"2"}), "one name on some file systems"),
    "spelling in zip": (zipped({"caf\u00e9": b"1", "cafe\u0301": b"2"}), "one name on some file systems"),
    "file and folder in zip": (zipped({"a": b"1", "a/b": b"2"}), "as a file and as a folder"),
    "folder and file in zip": (zipped({"a/b": b"1", "a": b"2"}), "as a file and as a folder"),
    "long name in zip": (zipped({"n" * 256: b"1"}), "not one on every platform"),
    "nameless file in zip": (zipped({"./.": b"1"}), "without a name"),
    "parent in tar": (tarred(("ok.txt", b"1"), ("../outside.txt", b"x")), "leads out"),
    "absolute in tar": (tarred(("/tmp/outside.txt", b"x")), "absolute"),
    "symbolic link out of tar": (tarred(entry("link", tarfile.SYMTYPE, "../outside.txt")), "a link"),
    "symbolic link inside tar": (tarred(("a", b"1"), entry("link", tarfile.SYMTYPE, "a")), "a link"),
    "write through a link": (tarred(entry("d", tarfile.SYMTYPE, ".."), ("d/outside.txt", b"x")), "a link"),
    "hard link out of tar": (tarred(entry("link", tarfile.LNKTYPE, "/etc/passwd")), "a link"),
    "device in tar": (tarred(entry("dev", tarfile.CHRTYPE, devmajor=1, devminor=3)), "neither a file"),
    "fifo in tar": (tarred(entry("fifo", tarfile.FIFOTYPE)), "neither a file"),
    "duplicate in tar": (tarred(("a.txt", b"1"), ("a.txt", b"2")), "twice"),
    "duplicate with a dot in tar": (tarred(("a.txt", b"1"), ("./a.txt", b"2")), "twice"),
    "case in tar": (tarred(("A/x", b"1"), ("a/y", b"2")), "one name on some file systems"),
    "backslashes in tar": (raw_tar(b"a\\..\\b"), "not one on every platform"),
    "no text in tar": (raw_tar(b"a\xff\xfe"), "not one on every platform"),
    "sparse in tar": (tarred(entry("s", tarfile.GNUTYPE_SPARSE)), "neither a file"),
}


@pytest.mark.parametrize("case", EVIL)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_is_not_plain_files_of_one_folder_is_refused_and_nothing_written(tmp_path, case):
    content, reason = EVIL[case]
    place = tmp_path / "deep" / "place"
    place.mkdir(parents=True)
    (place / "archive").write_bytes(content)
    before = listing(tmp_path)
    with pytest.raises(DatasetError, match=reason) as told:
        unpack(place / "archive", place / "out")
    assert str(place / "archive") in str(told.value)
    assert "\n" not in str(told.value)
    assert listing(tmp_path) == before


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_duplicate_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "1")
        archive.writestr("a.txt", "2")
    with pytest.raises(DatasetError, match="twice"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_an_encrypted_zip_is_refused(tmp_path):
    data = bytearray(zipped({"a.txt": b"1"}))
    for start, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(start) + offset] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DatasetError, match="password"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_folders_may_be_named_often_and_dots_are_no_names(tmp_path):
    folder = entry("./d", tarfile.DIRTYPE)
    (tmp_path / "a.tar").write_bytes(tarred(entry(".", tarfile.DIRTYPE), folder, folder, ("./d/x", b"1")))
    assert listing(unpack(tmp_path / "a.tar", tmp_path / "out")) == {"d": "folder", "d/x": "1"}


def test_bits_of_permission_are_not_taken_over(tmp_path):
    (tmp_path / "a.tar").write_bytes(
        tarred(entry("run.sh", mode=0o4755), entry("d", tarfile.DIRTYPE, mode=0))
    )
    out = unpack(tmp_path / "a.tar", tmp_path / "out")
    assert not (out / "run.sh").stat().st_mode & 0o7111
    assert os.access(out / "d", os.W_OK)


@pytest.mark.parametrize("pack", ["zip", "tar"])
def test_bombs_are_told_by_their_ratio_before_anything_is_written(tmp_path, pack):
    zeros = b"\0" * 50_000_000
    (tmp_path / "bomb").write_bytes(zipped({"z": zeros}) if pack == "zip" else tarred(("z", zeros)))
    assert (tmp_path / "bomb").stat().st_size < 100_000
    with pytest.raises(DatasetError, match="100 times"):
        unpack(tmp_path / "bomb", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["bomb"]
    unpack(tmp_path / "bomb", tmp_path / "out", limits=Limits(ratio=2000))
    assert (tmp_path / "out" / "z").stat().st_size == len(zeros)


@pytest.mark.parametrize("pack", ["zip", "tar"])
def test_bombs_are_told_by_their_size(tmp_path, pack):
    files = {f"{n}": os.urandom(1000) for n in range(20)}
    (tmp_path / "large").write_bytes(zipped(files) if pack == "zip" else tarred(*files.items()))
    with pytest.raises(DatasetError, match="more than 19,999 bytes"):
        unpack(tmp_path / "large", tmp_path / "out", limits=Limits(total=19_999))
    assert (
        len(list(unpack(tmp_path / "large", tmp_path / "out", limits=Limits(total=20_000)).iterdir())) == 20
    )


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path):
    data = zipped({"z": b"\0" * 5_000_000})
    lie = data.replace(struct.pack("<L", 5_000_000), struct.pack("<L", 10))
    assert lie != data
    (tmp_path / "lie.zip").write_bytes(lie)
    with pytest.raises(DatasetError, match="damaged"):
        unpack(tmp_path / "lie.zip", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["lie.zip"]


def test_a_header_that_says_it_is_huge_is_not_read(tmp_path):
    """tarfile reads extended headers whole: without the guard this takes two gigabytes."""
    header = entry("pax", tarfile.XHDTYPE, size=2_000_000_000).tobuf(tarfile.GNU_FORMAT)
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = stream.compress(header)
    for _ in range(200):
        data += stream.compress(b"\0" * 1_000_000)
    (tmp_path / "a.tgz").write_bytes(data + stream.flush())
    with pytest.raises(DatasetError, match=r"header of 2,000,000,000 bytes"):
        unpack(tmp_path / "a.tgz", tmp_path / "out", limits=Limits(ratio=1e9))


def test_what_follows_the_end_of_a_tar_counts_as_well(tmp_path):
    data = gzip.decompress(tarred(("a", b"1")))
    (tmp_path / "a.tgz").write_bytes(gzip.compress(data + b"\0" * 40_000_000))
    with pytest.raises(DatasetError, match="refused"):
        unpack(tmp_path / "a.tgz", tmp_path / "out")


def test_a_million_members_are_refused(tmp_path):
    """Made at once, as zipfile would take a minute to write them."""
    n, path = 1_000_000, tmp_path / "many.zip"
    one = zipped({"0000000": b""})
    start = one.index(b"PK\x01\x02")
    rows = np.tile(np.frombuffer(one[start:-22], np.uint8), (n, 1))
    rows[:, 46:53] = np.array([f"{i:07d}".encode() for i in range(n)]).view(np.uint8).reshape(n, 7)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, rows.size, start, 0)
    path.write_bytes(one[:start] + rows.tobytes() + end)
    with pytest.raises(DatasetError, match="more than 500,000 members"):
        unpack(path, tmp_path / "out")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("pack", ["zip", "tar"])
def test_members_are_counted(tmp_path, pack):
    files = {f"{n}": b"" for n in range(101)}
    (tmp_path / "many").write_bytes(zipped(files) if pack == "zip" else tarred(*files.items()))
    with pytest.raises(DatasetError, match="more than 100 members"):
        unpack(tmp_path / "many", tmp_path / "out", limits=Limits(members=100))
    assert [path.name for path in tmp_path.iterdir()] == ["many"]
    assert len(list(unpack(tmp_path / "many", tmp_path / "out", limits=Limits(members=101)).iterdir())) == 101


@pytest.mark.parametrize("pack", ["zip", "w:gz", "w:xz", "w:bz2", "w"])
def test_cut_archives_are_refused_wherever_they_end(tmp_path, pack):
    rng = np.random.default_rng(0)
    files = {f"d/{n}.bin": rng.bytes(700) for n in range(4)}
    data = zipped(files) if pack == "zip" else tarred(*files.items(), mode=pack)
    ends = range(1, 6 * 512 if pack == "w" else len(data), max(1, len(data) // 40))
    for end in ends:
        (tmp_path / "cut").write_bytes(data[:end])
        with pytest.raises(DatasetError, match="damaged"):
            unpack(tmp_path / "cut", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["cut"]


@pytest.mark.parametrize("pack", ["zip", "w:gz", "w"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_flipped_bits_are_refused_or_harmless(tmp_path, pack):
    """Whatever a bit does, it ends in one kind of error, or in files in the folder."""
    rng = np.random.default_rng(1)
    data = zipped(GOOD) if pack == "zip" else tarred(*GOOD.items(), mode=pack)
    refused = 0
    for _ in range(300):
        broken = bytearray(data)
        broken[rng.integers(len(data) if pack != "w" else 7 * 512)] ^= 1 << int(rng.integers(8))
        (tmp_path / "flip").write_bytes(broken)
        try:
            unpack(tmp_path / "flip", tmp_path / "place" / "out")
        except DatasetError:
            refused += 1
        else:
            shutil.rmtree(tmp_path / "place" / "out")
        assert not list((tmp_path / "place").glob("*"))
        assert {path.name for path in tmp_path.iterdir()} == {"flip", "place"}
    assert refused > (100 if pack != "w" else 50)  # what a file holds has no checksum in a tar


def test_what_is_there_already_is_left_alone(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(GOOD))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is there already"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert listing(tmp_path / "out") == {"mine.txt": "mine"}


def test_a_killed_process_leaves_no_half_folder_and_the_next_one_sweeps(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "a.zip").write_bytes(zipped({f"{n}": rng.bytes(1000) for n in range(50)}))
    code = f"""
import os
from zoo.datasets import unpacking
plain, written = unpacking._written, []
def dying(*args, **options):
    written.append(plain(*args, **options))
    if len(written) == 20:
        os._exit(9)
    return written[-1]
unpacking._written = dying
unpacking.unpack({str(tmp_path / "a.zip")!r}, {str(tmp_path / "out")!r})
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    left = [path for path in tmp_path.iterdir() if path.name != "a.zip"]
    assert len(left) == 1
    assert left[0].name.startswith(".out.")
    assert len(list(left[0].iterdir())) == 20
    unpack(tmp_path / "a.zip", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "out"}
    assert len(list((tmp_path / "out").iterdir())) == 50
