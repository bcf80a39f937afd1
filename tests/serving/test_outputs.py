"""The outputs of the Open Inference Protocol that a request asks for."""

import asyncio
from typing import Any

import httpx
import pytest

from zoo.serving import make_app
from zoo_text import Field, TextData


@pytest.fixture(scope="module")
def infer():
    texts, labels = ["a good film", "good", "a bad film", "bad"], ["pos", "pos", "neg", "neg"]
    learn = TextData.from_texts(Field(), (texts, labels), bs=2).get_model(progress=False, seed=0)
    transport = httpx.ASGITransport(make_app({"films": learn}))
    text = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["good"]}

    async def ask(outputs: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            asked = {"inputs": [text], "outputs": outputs}
            return await client.post("/v2/models/films/infer", json=asked)

    return lambda outputs: asyncio.run(ask(outputs))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (None, ["label", "probability", "probabilities"]),
        ([], ["label", "probability", "probabilities"]),
        ([{"name": "probabilities", "parameters": {"binary_data": False}}], ["probabilities"]),
        ([{"name": "probability"}, {"name": "label"}], ["label", "probability"]),
    ],
)
def test_only_what_is_asked_for_is_told(infer, asked, told) -> None:
    found = infer(asked)
    assert [one["name"] for one in found.json()["outputs"]] == told


def test_an_output_that_is_none_is_refused(infer) -> None:
    found = infer([{"name": "logits"}])
    assert found.status_code == 422
    assert "there is no output 'logits'; there are label, probability" in found.json()["detail"]
