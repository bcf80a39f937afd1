"""One call: fetched once, trusted from then on, by hand, from mirrors, by several processes."""

import hashlib
import json
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace

import pytest

from tests.datasets.fruit import NOISE, ZIP, kept, whole
from tests.datasets.server import listing, tarred, zipped
from zoo.datasets import Dataset, DatasetError, File, available, downloading, get, home, register, where


def test_a_set_is_fetched_once_and_nothing_else_is_left(server, fruit, tmp_path):
    assert get("fruit", tmp_path) == tmp_path / "fruit"
    assert kept(tmp_path) == whole(tmp_path)
    assert set(listing(tmp_path)) - set(kept(tmp_path)) == {
        ".zoo", ".zoo/fruit.json", ".zoo/fruit.sha256", ".zoo/fruit.lock"
    }  # fmt: skip
    assert get("fruit", str(tmp_path)) == where("fruit", tmp_path) == tmp_path / "fruit"
    assert len(server.requests) == 1
    headers = server.requests[0][1]
    assert headers["Accept-Encoding"] == "identity"
    assert headers["User-Agent"].startswith("zoo/")
    check = subprocess.run(
        ["sha256sum", "-c", "--quiet", tmp_path / ".zoo" / "fruit.sha256"], cwd=tmp_path / "fruit"
    )
    assert check.returncode == 0


def test_the_home_is_where_the_environment_says(fruit, tmp_path, monkeypatch):
    assert home() == tmp_path / "home" / "datasets"
    assert get("fruit") == home() / "fruit"
    monkeypatch.delenv("ZOO_HOME")
    monkeypatch.delenv("ZOO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if sys.platform == "linux":
        assert home() == tmp_path / "cache" / "zoo" / "datasets"
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "own"))
    assert home() == tmp_path / "own" / "datasets"


def test_the_first_download_is_trusted_and_holds(server, fruit, tmp_path):
    from zoo.datasets import remove

    fruit(size=None, sha256=None)
    get("fruit", tmp_path)
    record = json.loads((tmp_path / ".zoo" / "fruit.json").read_text())["files"]["fruit.zip"]
    assert record["sha256"] == hashlib.sha256(ZIP).hexdigest()
    assert record["size"] == len(ZIP)
    remove("fruit", tmp_path)
    changed = zipped({"fruit/train/a.txt": b"gamma", "fruit/noise.bin": NOISE})
    server.files["fruit.zip"] = changed
    with pytest.raises(DatasetError, match="gives another file"):
        get("fruit", tmp_path)
    server.files["fruit.zip"] = ZIP[:-1] + b"X"  # as long, but another one
    with pytest.raises(DatasetError, match=r"SHA-256 .* instead of"):
        get("fruit", tmp_path)
    server.files["fruit.zip"] = changed
    remove("fruit", tmp_path, forget=True)
    assert (get("fruit", tmp_path) / "train" / "a.txt").read_text() == "gamma"


def test_a_download_that_cannot_be_unpacked_is_not_kept(server, fruit, tmp_path):
    """The server says nothing of lengths, so only the archive tells that half of it is missing."""
    fruit(size=None, sha256=None)
    server.faults = [{"length": None, "stop": len(ZIP) // 2}]
    with pytest.raises(DatasetError, match=r"damaged .*\(that download is removed\)"):
        get("fruit", tmp_path)
    assert kept(tmp_path) == {}
    get("fruit", tmp_path)
    assert len(server.requests) == 2
    assert kept(tmp_path) == whole(tmp_path)


def test_without_a_checksum_nothing_comes_over_an_open_line(server, fruit, tmp_path, monkeypatch):
    """A publisher's https address that leads to an http one."""
    plain = downloading.requests.Session.get

    def secure(session, url, **options):
        return plain(session, url.replace("https://publisher.example", server.url), **options)

    monkeypatch.setattr(downloading.requests.Session, "get", secure)
    fruit(urls=("https://publisher.example/fruit.zip",), sha256=None)
    with pytest.raises(DatasetError, match="which is not encrypted"):
        get("fruit", tmp_path)
    fruit(urls=("https://publisher.example/fruit.zip",))
    get("fruit", tmp_path)
    assert kept(tmp_path) == whole(tmp_path)


def test_an_md5_tells_damage(server, fruit, tmp_path):
    fruit(sha256=None, md5=hashlib.md5(ZIP).hexdigest())
    server.faults = [{"body": ZIP[:-1] + b"X"}]
    with pytest.raises(DatasetError, match=r"MD5 \w{32} instead of \w{32}.*MD5 \w{32}\)"):
        get("fruit", tmp_path)
    get("fruit", tmp_path)
    assert (
        json.loads((tmp_path / ".zoo" / "fruit.json").read_text())["files"]["fruit.zip"]["sha256"]
        == hashlib.sha256(ZIP).hexdigest()
    )


def test_a_broken_record_is_said_and_not_passed_over(fruit, tmp_path):
    (tmp_path / ".zoo").mkdir()
    (tmp_path / ".zoo" / "fruit.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"fruit\.json cannot be read"):
        get("fruit", tmp_path)


def test_a_file_put_there_by_hand_is_verified_used_and_kept(server, fruit, tmp_path):
    folder = tmp_path / "fruit.files"
    folder.mkdir()
    (folder / "fruit.zip").write_bytes(ZIP[:-1] + b"X")
    with pytest.raises(DatasetError, match=r"fruit\.zip is another file .* move it away"):
        get("fruit", tmp_path)
    (folder / "fruit.zip").write_bytes(ZIP)
    (folder / "fruit.zip.downloaded").write_text("12 34")  # left by another one of this name
    get("fruit", tmp_path)
    assert server.requests == []
    assert (folder / "fruit.zip").read_bytes() == ZIP
    assert "by hand" in (tmp_path / ".zoo" / "fruit.json").read_text()


def test_what_may_not_be_downloaded_says_how_to_get_it(tmp_path):
    with pytest.raises(
        DatasetError, match=r"rossmann-store-sales\.zip .*kaggle\.com.*accept the rules"
    ) as told:
        get("rossmann", tmp_path)
    assert str(tmp_path / "rossmann.files") in str(told.value)
    (tmp_path / "rossmann.files").mkdir(exist_ok=True)
    (tmp_path / "rossmann.files" / "rossmann-store-sales.zip").write_bytes(
        zipped(
            {"train.csv": b"Store", "test.csv": b"Id", "store.csv": b"Store", "sample_submission.csv": b"Id"}
        )
    )
    assert sorted(path.name for path in get("rossmann", tmp_path).iterdir()) == [
        "sample_submission.csv", "store.csv", "test.csv", "train.csv"
    ]  # fmt: skip


def test_a_mirror_has_the_same_names(server, fruit, tmp_path, monkeypatch):
    fruit(urls=("https://nowhere.invalid/x/fruit.zip",))
    server.files["data/fruit.zip"] = server.files["by/fruit/fruit.zip"] = ZIP
    get("fruit", tmp_path / "a", mirror=f"{server.url}/data/")
    monkeypatch.setenv("ZOO_DATASETS_MIRROR", f"{server.url}/by/{{name}}/{{file}}")
    get("fruit", tmp_path / "b")
    assert [path for path, _ in server.requests] == ["/data/fruit.zip", "/by/fruit/fruit.zip"]
    monkeypatch.setenv("ZOO_DATASETS_MIRROR", str(tmp_path / "share"))
    (tmp_path / "share").mkdir()
    with pytest.raises(DatasetError, match=r"the mirror has no .*share/fruit\.zip"):
        get("fruit", tmp_path / "c")
    (tmp_path / "share" / "fruit.zip").write_bytes(ZIP)
    get("fruit", tmp_path / "c")
    assert kept(tmp_path / "c") == whole(tmp_path)
    assert (tmp_path / "share" / "fruit.zip").exists()
    (tmp_path / "share" / "fruit.zip").write_bytes(ZIP[1:])
    with pytest.raises(DatasetError, match="another file"):
        get("fruit", tmp_path / "d")
    with pytest.raises(DatasetError, match="no address of https"):
        get("fruit", tmp_path / "d", mirror="ftp://example.org")


def test_an_interrupted_unpacking_leaves_the_archive_and_the_next_call_uses_it(server, fruit, tmp_path):
    code = textwrap.dedent(f"""
        import os
        from zoo.datasets import Dataset, File, get, getting, register, unpacking
        register(Dataset(name="fruit", about="", terms="", page="", holds=("train",), files=(
            File(name="fruit.zip", urls=("{server.url}/fruit.zip",), top="fruit"),)))
        def dying(source, target, *rest):
            target.write_bytes(b"half")
            os._exit(9)
        unpacking._written = dying
        get("fruit", {str(tmp_path)!r})
    """)
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    left = kept(tmp_path)
    assert "fruit.files/fruit.zip" in left
    assert "fruit" not in left
    get("fruit", tmp_path)
    assert len(server.requests) == 1
    assert kept(tmp_path) == whole(tmp_path)


def test_several_processes_at_once_fetch_it_once(server, fruit, tmp_path):
    code = textwrap.dedent(f"""
        import sys
        from zoo.datasets import Dataset, File, get, register
        register(Dataset(name="fruit", about="", terms="", page="", holds=("train", "noise.bin"), files=(
            File(name="fruit.zip", urls=("{server.url}/fruit.zip",), top="fruit", size={len(ZIP)}),)))
        print("ready", flush=True)
        sys.stdin.readline()
        print(get("fruit", {str(tmp_path)!r}))
    """)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0] for process in processes]
    assert answers == [f"{tmp_path / 'fruit'}\n"] * 4
    assert [process.returncode for process in processes] == [0] * 4
    assert len(server.requests) == 1
    assert kept(tmp_path) == whole(tmp_path)


def test_who_waits_for_another_process_says_so(server, fruit, tmp_path, caplog):
    from zoo.datasets.records import Records

    answers = []
    with caplog.at_level("WARNING", "zoo"), Records(tmp_path, "fruit").locked():
        waiting = threading.Thread(target=lambda: answers.append(get("fruit", tmp_path)))
        waiting.start()
        waiting.join(2)
        assert waiting.is_alive()
        assert server.requests == []
    waiting.join(30)
    assert answers == [tmp_path / "fruit"]
    assert "another process is at data set 'fruit'" in caplog.text


def test_several_archives_share_a_folder_but_no_name(server, tmp_path):
    server.files["a.tar.gz"] = tarred(("images/1.jpg", b"picture"))
    server.files["b.tar.gz"] = tarred(("annotations/1.png", b"mask"))
    server.files["c.txt"] = b"names"

    def both(second):
        files = tuple(
            File(name=name, urls=(f"{server.url}/{name}",)) for name in ("a.tar.gz", second, "c.txt")
        )
        register(Dataset(name="both", about="", terms="", page="", files=files, holds=("images",)))

    both("b.tar.gz")
    assert listing(get("both", tmp_path)) == {
        "annotations": "folder", "annotations/1.png": "mask", "c.txt": "names", "images": "folder",
        "images/1.jpg": "picture",
    }  # fmt: skip
    server.files["d.tar.gz"] = tarred(("images/1.jpg", b"another"))
    both("d.tar.gz")
    with pytest.raises(DatasetError, match=r"images/1\.jpg' twice"):
        get("both", tmp_path / "again")
    assert not (tmp_path / "again" / "both").exists()


def test_what_does_not_hold_what_it_should_never_appears(server, fruit, tmp_path):
    register(replace(available()["fruit"], holds=("valid",)))
    with pytest.raises(DatasetError, match=r"holds no valid, but noise\.bin, train/a\.txt"):
        get("fruit", tmp_path)
    assert not (tmp_path / "fruit").exists()
    assert not (tmp_path / ".zoo" / "fruit.json").exists()  # and is not trusted


def test_a_folder_of_the_users_is_used_or_refused_never_touched(server, fruit, tmp_path):
    (tmp_path / "fruit").mkdir()
    (tmp_path / "fruit" / "mine.txt").write_text("mine")
    with pytest.raises(DatasetError, match="holds no train, so it is not all of data set 'fruit'"):
        get("fruit", tmp_path)
    (tmp_path / "fruit" / "train").mkdir()
    (tmp_path / "fruit" / "noise.bin").write_bytes(b"")
    assert get("fruit", tmp_path) == tmp_path / "fruit"
    assert server.requests == []
    assert (tmp_path / "fruit" / "mine.txt").read_text() == "mine"


def test_names_are_suggested_and_where_downloads_nothing(server, fruit, tmp_path):
    with pytest.raises(DatasetError, match=r"no data set 'fruti' \(did you mean 'fruit'\?\)"):
        get("fruti", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"`zoo data get fruit --folder .*` fetches it"):
        where("fruit", tmp_path)
    assert server.requests == []
    assert list(tmp_path.iterdir()) == []


def test_torch_is_not_imported():
    code = (
        "import sys, zoo.datasets as d; [getattr(d, name) for name in d.__all__]; d.available();"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
