"""Downloads from a server that breaks off, lies and recovers; what lies by hand; who is first."""

import gzip
import hashlib
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace

import pytest

from tests.datasets.server import listing, serving, tarred, zipped
from zoo.datasets import Dataset, DatasetError, File, available, downloading, get, home, register, where
from zoo.datasets.registry import _known

NOISE = os.urandom(300_000)
ZIP = zipped({"fruit/train/a.txt": b"alpha", "fruit/noise.bin": NOISE, "fruit/._a.txt": b"litter"})
UNPACKED = {"train": "folder", "train/a.txt": "alpha", "noise.bin": NOISE[:40].decode("latin1")}


@pytest.fixture
def server():
    with serving() as server:
        server.files["fruit.zip"] = ZIP
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(downloading, "_PAUSE", 0.001)
    monkeypatch.delenv("ZOO_DATASETS_MIRROR", raising=False)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    yield
    _known.clear()


@pytest.fixture
def fruit(server):
    def make(**changes):
        options = {"size": len(ZIP), "sha256": hashlib.sha256(ZIP).hexdigest()} | changes
        options.setdefault("urls", (f"{server.url}/fruit.zip",))
        file = File(name="fruit.zip", top="fruit", **options)
        return register(
            Dataset(
                name="fruit", about="Fruit", terms="none", page="https://example.org/fruit", files=(file,),
                holds=("train", "noise.bin"),
            )
        )  # fmt: skip

    make()
    return make


def kept(root):
    """What lies in a folder of data sets, without records."""
    return {name: what for name, what in listing(root).items() if not name.startswith(".zoo")}


def whole(root):
    return {"fruit": "folder", **{f"fruit/{name}": what for name, what in UNPACKED.items()}}


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


def test_a_broken_connection_is_gone_on_with(server, fruit, tmp_path):
    server.faults = [{"stop": 100_000}, {"stop": 50_000}, {"status": 503}, {"stop": 0}]
    get("fruit", tmp_path)
    assert kept(tmp_path) == whole(tmp_path)
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-", "bytes=150000-", "bytes=150000-"]
    assert {headers.get("If-Range") for _, headers in server.requests[1:]} == {f'"{hash(ZIP)}"'}


def test_the_next_call_goes_on_where_the_last_one_gave_up(server, fruit, tmp_path):
    server.always = {"stop": 0}
    server.faults = [{"stop": 120_000}]
    with pytest.raises(DatasetError, match=r"broke|early"):
        get("fruit", tmp_path)
    assert len(server.requests) == 5  # as many tries in a row that bring nothing
    assert (tmp_path / "fruit.files" / "fruit.zip.part").stat().st_size == 120_000
    assert not (tmp_path / "fruit").exists()
    server.always, server.requests = {}, []
    get("fruit", tmp_path)
    assert server.ranges == ["bytes=120000-"]
    assert kept(tmp_path) == whole(tmp_path)


@pytest.mark.parametrize("length", [None, 40])
def test_a_page_that_asks_for_a_password_does_not_cost_what_was_fetched(server, fruit, tmp_path, length):
    page = b"<html>Welcome to our hotel, log in, please</html>"[:40]
    server.faults = [{"stop": 200_000}, {"body": page, "length": length, "ranges": False}]
    with pytest.raises(DatasetError, match="a web page"):
        get("fruit", tmp_path)
    get("fruit", tmp_path)
    assert server.ranges == [None, "bytes=200000-", "bytes=200000-"]
    assert kept(tmp_path) == whole(tmp_path)


def test_every_new_byte_gives_new_patience(server, fruit, tmp_path):
    server.faults = [{"stop": 20_000}] * 12
    get("fruit", tmp_path)
    assert server.ranges[1:] == [f"bytes={20_000 * n}-" for n in range(1, 13)]
    assert kept(tmp_path) == whole(tmp_path)


def test_another_part_than_the_one_asked_for_is_not_appended(server, fruit, tmp_path):
    fruit(size=None, sha256=None)
    wrong = {"status": 206, "headers": {"Content-Range": f"bytes 0-{len(ZIP) - 1}/{len(ZIP)}"}}
    server.faults = [{"stop": 1000}, wrong]
    get("fruit", tmp_path)
    assert server.ranges == [None, "bytes=1000-", None]
    assert kept(tmp_path) == whole(tmp_path)


def test_a_server_without_ranges_sends_it_all_again(server, fruit, tmp_path):
    server.always = {"ranges": False}
    server.faults = [{"stop": 100_000}, {"stop": 200_000}]
    get("fruit", tmp_path)
    assert kept(tmp_path) == whole(tmp_path)
    assert len(server.requests) == 3


def test_a_file_that_changed_meanwhile_is_begun_again(server, fruit, tmp_path):
    """Its ETag is another one, so the server answers with all of it."""
    fruit(size=None, sha256=None)
    server.files["fruit.zip"] = b"another version" * 10_000
    server.faults, server.always = [{"stop": 5000}], {"stop": 0}
    with pytest.raises(DatasetError, match="tries"):
        get("fruit", tmp_path)
    server.files["fruit.zip"], server.always, server.requests = ZIP, {}, []
    get("fruit", tmp_path)
    assert server.ranges == ["bytes=5000-"]
    assert kept(tmp_path) == whole(tmp_path)


def test_pieces_of_two_versions_are_found_out_and_fetched_anew(server, fruit, tmp_path):
    """The server says nothing of versions, and the half file is of another one: the checksum tells."""
    server.always = {"no_etag": True}
    folder = tmp_path / "fruit.files"
    folder.mkdir()
    (folder / "fruit.zip.part").write_bytes(b"\0" * 1000)
    get("fruit", tmp_path)
    assert server.ranges == ["bytes=1000-", None]
    assert kept(tmp_path) == whole(tmp_path)


def test_without_version_and_checksum_half_a_file_is_not_trusted(server, fruit, tmp_path):
    fruit(size=None, sha256=None)
    server.always = {"no_etag": True}
    folder = tmp_path / "fruit.files"
    folder.mkdir()
    (folder / "fruit.zip.part").write_bytes(ZIP[:1000])
    get("fruit", tmp_path)
    assert server.ranges == [None]
    assert kept(tmp_path) == whole(tmp_path)


def test_a_whole_part_needs_no_request(server, fruit, tmp_path):
    folder = tmp_path / "fruit.files"
    folder.mkdir()
    (folder / "fruit.zip.part").write_bytes(ZIP)
    get("fruit", tmp_path)
    assert server.requests == []
    assert kept(tmp_path) == whole(tmp_path)


def test_a_whole_part_of_unknown_size_is_told_by_416(server, fruit, tmp_path):
    fruit(size=None)
    folder = tmp_path / "fruit.files"
    folder.mkdir()
    (folder / "fruit.zip.part").write_bytes(ZIP)
    get("fruit", tmp_path)
    assert server.ranges == [f"bytes={len(ZIP)}-"]
    assert kept(tmp_path) == whole(tmp_path)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"length": len(ZIP) + 5}, "bytes instead of"),
        ({"length": len(ZIP) - 5}, "bytes instead of"),
        ({"length": None, "stop": len(ZIP) - 5, "ranges": False}, "ended 5 bytes early"),
        ({"length": None, "body": ZIP + b"more"}, "more than"),
        ({"body": ZIP[:-1] + b"X"}, "gives another file: SHA-256"),
        ({"status": 404}, "answered 404"),
        ({"status": 403}, "answered 403"),
        ({"status": 500}, "answered 500"),
        ({"body": b"<!DOCTYPE html><title>Log in</title>", "length": None}, "a web page"),
        ({"body": b"\n<html>", "headers": {"Content-Type": "text/html"}, "length": None}, "a web page"),
        ({"status": 206, "headers": {"Content-Range": "bytes 7-9/10"}}, "another part"),
        ({"status": 302, "headers": {"Location": "/fruit.zip"}}, "redirects"),
    ],
)
def test_what_a_server_gets_wrong_is_one_error_that_says_what_to_do(server, fruit, tmp_path, fault, reason):
    server.always = fault
    with pytest.raises(DatasetError, match=reason) as told:
        get("fruit", tmp_path)
    assert not (tmp_path / "fruit").exists()
    text = str(told.value)
    for part in (
        f"{server.url}/fruit.zip", "fruit.zip", f"{len(ZIP):,} bytes", hashlib.sha256(ZIP).hexdigest(),
        str(tmp_path / "fruit.files"), "by hand",
    ):  # fmt: skip
        assert part in text
    assert "\n" not in text
    server.always = {}
    get("fruit", tmp_path)
    assert kept(tmp_path) == whole(tmp_path)


def test_a_server_that_recovers_is_waited_for_as_it_asks(server, fruit, tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(downloading, "_PAUSE", 1.0)
    server.faults = [
        {"status": 500}, {"status": 503, "headers": {"Retry-After": "7"}}, {"status": 429},
        {"status": 429, "headers": {"Retry-After": "9999"}},
    ]  # fmt: skip
    get("fruit", tmp_path)
    assert kept(tmp_path) == whole(tmp_path)
    assert 0.8 <= slept[0] <= 1.2
    assert slept[1] == 7
    assert 3.2 <= slept[2] <= 4.8
    assert slept[3] == 30


def test_nobody_answers(fruit, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    fruit(urls=(f"http://127.0.0.1:{port}/fruit.zip",))
    with pytest.raises(DatasetError, match=r"refused.*\(5 tries\).*put it into .*fruit\.files"):
        get("fruit", tmp_path)


def test_the_second_address_is_asked_when_the_first_has_nothing(server, fruit, tmp_path):
    fruit(urls=(f"{server.url}/gone.zip", f"{server.url}/fruit.zip"))
    get("fruit", tmp_path)
    assert [path for path, _ in server.requests] == ["/gone.zip", "/fruit.zip"]
    assert json.loads((tmp_path / ".zoo" / "fruit.json").read_text())["files"]["fruit.zip"]["from"].endswith(
        "/fruit.zip"
    )


def test_an_encoding_is_not_undone(server, tmp_path):
    """Some servers say that a .gz is 'encoded': the file that has the checksum is still the .gz."""
    packed = gzip.compress(b"1 2 3\n" * 100)
    server.files["numbers.txt.gz"] = packed
    server.always = {"headers": {"Content-Encoding": "gzip"}}
    register(
        Dataset(
            name="numbers", about="", terms="", page="", holds=("numbers.txt",),
            files=(File(name="numbers.txt.gz", urls=(f"{server.url}/numbers.txt.gz",),
                        sha256=hashlib.sha256(packed).hexdigest()),),
        )
    )  # fmt: skip
    assert (get("numbers", tmp_path) / "numbers.txt").read_bytes() == b"1 2 3\n" * 100


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
        from tests.datasets.test_getting import ZIP
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
