"""What a service holds in memory stays bounded, whatever it is sent."""

import asyncio
import base64
import io

import numpy as np
import pytest
from PIL import Image

from zoo.serving import Limits, corrected
from zoo.serving.inputs import Pictures, Refused
from zoo.serving.limits import BodyLimit
from zoo.serving.record import Record


class _Brightness:
    """Answers the mean of each picture, and remembers how many came at once."""

    domain = "vision"

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict_batch(self, pictures: list) -> np.ndarray:
        self.sizes.append(len(pictures))
        found = np.array([float(np.asarray(one).mean()) for one in pictures])
        if 200 in found:
            raise ValueError("too bright")
        return found


def _file(value: int, side: int = 20) -> bytes:
    kept = io.BytesIO()
    Image.new("RGB", (side, side), (value,) * 3).save(kept, "PNG")
    return kept.getvalue()


def test_pictures_that_wait_are_files_and_few_are_decoded_at_once() -> None:
    learn = _Brightness()
    domain = Pictures(learn, Limits(megapixels=0.001))  # two of 400 pixels
    items = [domain.item({"picture": base64.b64encode(_file(n)).decode()}) for n in range(7)]
    broken = domain.item({"picture": _file(9)[:60]})
    found = domain.answers([*items[:3], broken, *items[3:]])
    assert isinstance(found[3], Refused)
    assert [one["value"] for one in [*found[:3], *found[4:]]] == list(range(7))
    assert max(learn.sizes) == 2
    assert all(isinstance(one.data, bytes) for one in items)


def test_a_picture_that_the_model_refuses_is_told_alone() -> None:
    domain = Pictures(_Brightness(), Limits())
    found = domain.answers([domain.item({"picture": _file(value)}) for value in (1, 200, 3)])
    assert [found[0], found[2]] == [{"value": 1.0}, {"value": 3.0}]
    assert isinstance(found[1], Refused)
    assert str(found[1]) == "too bright"


def test_the_inputs_that_can_be_corrected_are_bounded_by_their_size(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("zoo.serving.record._CHARACTERS", 1000)
    kept = Record(tmp_path / "record.jsonl")
    ids = [kept.prediction("cats", Pictures, {"picture": f"{n}" * 300}, {}) for n in range(9)]
    known = [n for n, one in enumerate(ids) if kept.correction("cats", str(one), "cat")]
    assert known == [6, 7, 8]
    assert corrected(tmp_path / "record.jsonl", "label")["picture"].tolist() == [f"{n}" * 300 for n in known]
    huge = kept.prediction("cats", Pictures, {"picture": "x" * 5000}, {})
    assert kept.correction("cats", str(huge), "cat")  # the newest can always be corrected


def test_a_record_that_cannot_be_written_is_told_at_once_and_costs_no_answer(tmp_path, caplog) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Record(tmp_path / "file" / "record.jsonl")
    kept = Record(tmp_path / "new" / "record.jsonl")
    assert (tmp_path / "new" / "record.jsonl").read_text() == ""
    kept.path = tmp_path  # nothing can be appended to a folder, as nothing to a full disk
    assert kept.prediction("cats", Pictures, {}, {}) is None
    assert "a prediction is not kept" in caplog.text


@pytest.mark.parametrize("trickles", [False, True])
def test_a_body_that_never_comes_is_given_up(trickles) -> None:
    sent = []

    async def receive() -> dict:
        await asyncio.sleep(0.02 if trickles else 30)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message) -> None:
        sent.append(message)

    async def app(scope, receive, send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    limited = BodyLimit(app, 10**6, seconds=0.2)
    asyncio.run(asyncio.wait_for(limited({"type": "http", "headers": []}, receive, send), 5))
    assert [message.get("status") for message in sent] == [408, None]
    assert b"0.2 seconds" in sent[1]["body"]
