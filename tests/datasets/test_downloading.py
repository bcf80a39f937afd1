"""Downloads from a server that breaks off, lies, changes and recovers."""

import gzip
import hashlib
import json
import socket
import time

import pytest

from tests.datasets.fruit import ZIP, kept, whole
from zoo.datasets import Dataset, DatasetError, File, downloading, get, register


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
