"""The service as a client sees it, from a real process."""

import base64
import concurrent.futures
import io
import json
import struct
import zlib

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.serving.conftest import Server
from zoo import load_learner
from zoo.serving.record import read_corrections


@pytest.fixture
def post(server):
    def call(path, body=None, **options):
        options = {"json": body, **options} if body is not None else options
        return httpx.post(f"{server.url}{path}", timeout=60, **options)

    return call


def test_answers_are_those_of_the_learner(server, post, exported) -> None:
    listed = httpx.get(f"{server.url}/models").json()["models"]
    assert {one["name"]: one["kind"] for one in listed} == {
        "rows": "table", "sales": "table", "films": "ratings", "reviews": "text", "pictures": "image"
    }  # fmt: skip
    row = {"kind of it": "a", "size": 7.5}
    own = load_learner(exported["rows"], device="cpu").predict_one(row)
    found = post("/models/rows/predict", row).json()
    assert found["label"] == own.label
    assert found["probabilities"] == pytest.approx(own.probabilities, rel=1e-4)
    day = {"Date": "2023-02-04", "kind": "a", "size": None}
    own = load_learner(exported["sales"], device="cpu").predict_one({**day, "size": float("nan")})
    assert post("/models/sales/predict", day).json()["value"] == pytest.approx(own, rel=1e-4)
    own = load_learner(exported["films"], device="cpu").predict_one((3, 7))
    assert post("/models/films/predict", {"user": 3, "item": 7}).json()["value"] == pytest.approx(
        own, rel=1e-4
    )
    own = load_learner(exported["reviews"], device="cpu").predict_one("a fine film")
    assert post("/models/reviews/predict", {"text": "a fine film"}).json()["label"] == own.label
    picture = exported["picture"].read_bytes()
    own = load_learner(exported["pictures"], device="cpu").predict_one(exported["picture"])
    for found in (
        post("/models/pictures/predict", {"picture": base64.b64encode(picture).decode()}),
        post("/models/pictures/predict-file", content=picture, headers={"Content-Type": "image/png"}),
    ):
        assert found.json()["probabilities"] == pytest.approx(own.probabilities, rel=1e-3)


def test_a_batch_tells_each_input_for_itself(post) -> None:
    rows = [{"kind of it": "a", "size": 1.0}, {"kind of it": "zzz", "size": None}]
    answers = post("/models/rows/predict-batch", {"inputs": rows}).json()["answers"]
    assert [answers[0]["label"] in ("yes", "no"), answers[1]["label"] in ("yes", "no")] == [True, True]
    days = [{"Date": "2023-02-04", "kind": "a", "size": 1}, {"Date": "soon", "kind": "a", "size": 1}]
    answers = post("/models/sales/predict-batch", {"inputs": days}).json()["answers"]
    assert "value" in answers[0]
    assert "cannot read 'soon' as a date" in answers[1]["error"]


def test_lists(post) -> None:
    found = post("/models/films/recommend", {"users": [1, 2], "n": 3}).json()["items"]
    assert [(row["user"], row["rank"]) for row in found] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert found[0]["title"].startswith("Film <")
    own = post("/models/films/recommend", {"ratings": [[1, 5], [2, 1]], "n": 4}).json()["items"]
    assert not {1, 2} & {row["item"] for row in own}
    both = post("/models/films/recommend", {"users": [1], "ratings": [[1, 5]]})
    assert both.status_code == 422


def test_reasons(post, exported) -> None:
    found = post("/models/reviews/why", {"text": "a dull film"}).json()
    assert [one["word"] for one in found["words"]] == ["a", "dull", "film"]
    picture = base64.b64encode(exported["picture"].read_bytes()).decode()
    heat = post("/models/pictures/why", {"picture": picture}).json()["heat_map"]
    drawn = Image.open(io.BytesIO(base64.b64decode(heat.partition(",")[2])))
    assert drawn.size == (16, 16)
    colours = np.unique(np.asarray(drawn).reshape(-1, 3), axis=0)
    assert len(colours) > 50  # the picture, in the colours of the heat
    found = post("/models/sales/why", {"Date": "2023-02-04", "kind": "b", "size": 5}).json()["alternatives"]
    by_name = {row["column"]: row for row in found}
    assert set(by_name) == {"kind", "size"}
    assert by_name["kind"]["then"] == "a"
    assert by_name["kind"]["change"] > 1


def test_the_open_inference_protocol(server, post) -> None:
    tensors = httpx.get(f"{server.url}/v2/models/rows").json()
    assert [one["name"] for one in tensors["inputs"]] == ["kind of it", "size"]
    assert httpx.get(f"{server.url}/v2/health/ready").json() == {"ready": True}
    assert httpx.get(f"{server.url}/v2/models/rows/ready").json()["ready"]
    inputs = [
        {"name": "kind of it", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]},
        {"name": "size", "shape": [2, 1], "datatype": "FP64", "data": [1.0, 9.0]},
    ]
    found = post("/v2/models/rows/infer", {"id": "7", "inputs": inputs}).json()
    assert found["id"] == "7"
    label, probability, every = found["outputs"]
    alone = post("/models/rows/predict", {"kind of it": "b", "size": 9.0}).json()
    assert label["data"][1] == alone["label"]
    assert probability["data"][1] == pytest.approx(alone["probability"], rel=1e-4)
    assert every["shape"] == [2, 2]
    for wrong, told in (
        (inputs[:1], "lacks 'size'"),
        ([*inputs, {**inputs[0], "name": "more"}], "'more'"),
        ([inputs[0], {**inputs[1], "shape": [3]}], "shape"),
        ([inputs[0], {**inputs[1], "data": ["x", 1.0]}], "input 0"),
    ):
        refused = post("/v2/models/rows/infer", {"inputs": wrong})
        assert refused.status_code == 422
        assert told in refused.json()["detail"]
    assert httpx.get(f"{server.url}/v2/models/none").status_code == 404


def bomb(side: int) -> bytes:
    """A PNG of few bytes that says it has side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def test_hostile_bodies_are_refused_in_a_few_words(post) -> None:
    json_type = {"Content-Type": "application/json"}
    for path, body, status in (
        ("/models/rows/predict", b"{", 422),
        ("/models/rows/predict", b"[" * 50_000, 400),
        ("/models/rows/predict", b'{"a":' * 50_000, 400),
        ("/models/rows/predict", b'{"kind of it": "a", "size": NaN}', 422),
        ("/models/rows/predict", b'{"kind of it": "a", "size": 1e999}', 422),
        ("/models/rows/predict", json.dumps({f"c{i}": 1 for i in range(100_000)}).encode(), 422),
        ("/models/rows/predict", b'{"kind of it": "a", "size": 1, "more": 2}', 422),
        ("/models/rows/predict", b'{"kind of it": ["a"], "size": 1}', 422),
        ("/models/rows/predict", b"\xff\xfe\x00", 400),
        ("/models/rows/predict", b" " * 3_000_000, 413),
        ("/models/reviews/predict", json.dumps({"text": "x" * 100_001}).encode(), 422),
        ("/models/reviews/predict", b'{"text": " "}', 422),
        ("/models/rows/predict-batch", json.dumps({"inputs": [{"size": 1}] * 1001}).encode(), 422),
        ("/models/films/recommend", b'{"users": [1], "n": 1000000}', 422),
        ("/models/films/recommend", b'{"ratings": [[1, 99]]}', 422),
        ("/models/pictures/predict", b'{"picture": "no base64!"}', 422),
        ("/models/pictures/predict-file", b"no picture", 422),
        ("/models/pictures/predict-file", b"", 422),
        ("/models/pictures/predict-file", bomb(40_000), 422),
        ("/models/none/predict", b"{}", 404),
        ("/models/rows/predict/../../etc/passwd", b"{}", 404),
    ):
        found = post(path, content=body, headers=json_type)
        assert found.status_code == status, (path, body[:60], found.text)
        assert len(found.content) < 2500
        assert "Traceback" not in found.text
        assert "/zoo/" not in found.text
    assert post("/models/rows/predict", {"kind of it": "a", "size": 1}).status_code == 200


def test_only_this_machine_is_answered_and_other_pages_may_not_ask(server) -> None:
    assert httpx.get(f"{server.url}/models", headers={"Host": "elsewhere.example"}).status_code == 400
    found = httpx.options(
        f"{server.url}/models/rows/predict",
        headers={"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"},
    )
    assert "access-control-allow-origin" not in found.headers
    page = httpx.get(server.url)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "https://" not in page.text
    assert "http://" not in page.text


def test_two_hundred_clients_at_once_share_passes_of_the_model(server) -> None:
    def ask(number: int) -> tuple[int, str]:
        row = {"kind of it": "abc"[number % 3], "size": float(number % 11)}
        found = httpx.post(f"{server.url}/models/rows/predict", json=row, timeout=60)
        return found.status_code, found.json()["label"]

    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(ask, range(400)))
    assert {status for status, _ in answers} == {200}
    for number in range(33):
        assert len({label for _, label in answers[number::33]}) == 1  # the same question, the same answer
    told = httpx.get(f"{server.url}/metrics").text
    counts = {
        line.split("{")[0]: float(line.split()[-1]) for line in told.splitlines() if 'model="rows"' in line
    }
    assert counts["zoo_batches"] < counts["zoo_batched_rows"]


def test_predictions_and_corrections_are_kept(server, post) -> None:
    row = {"kind of it": "b", "size": 2.0}
    number = post("/models/rows/predict", row).json()["id"]
    assert post("/models/rows/correct", {"id": number, "truth": "no"}).json() == {"kept": True}
    assert post("/models/rows/correct", {"id": "unknown", "truth": "no"}).status_code == 404
    assert post("/models/sales/correct", {"id": number, "truth": 3}).status_code == 404
    kept = read_corrections(server.record)
    assert {"model": "rows", "input": row, "truth": "no"} in kept


def test_it_ends_gracefully_and_starts_again(exported) -> None:
    for _ in range(2):
        running = Server(exported["rows"], "--per-minute", "3")
        rows = {"kind of it": "a", "size": 1}
        codes = [httpx.post(f"{running.url}/models/rows/predict", json=rows).status_code for _ in range(5)]
        assert codes == [200, 200, 200, 429, 429]
        assert httpx.get(f"{running.url}/health/live").status_code == 200
        running.stop()
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{running.url}/health/live")
