"""The same models by the Open Inference Protocol (V2): metadata, readiness, tensors in and out.

The protocol as KServe and the Triton server speak it; see https://github.com/kserve/open-inference-protocol.
A model has an input tensor for each column: texts and categories BYTES, numbers FP64; pictures are files in
base64, BYTES. The outputs of classes are `label` (BYTES), `probability` and `probabilities` (FP32), of values
`value` (FP64).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from zoo._version import __version__
from zoo.serving.inputs import PairsOf, Pictures, Rows

Scalar = str | int | float | bool | None


class Tensor(BaseModel):
    """A tensor in JSON."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    name: Annotated[str, Field(max_length=1000)]
    shape: Annotated[list[Annotated[int, Field(ge=0, le=100_000_000)]], Field(max_length=8)]
    datatype: Literal[
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32",
        "FP64", "BYTES",
    ]  # fmt: skip
    data: list[Scalar]


class Output(BaseModel):
    """An output that is asked for."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    name: Annotated[str, Field(max_length=1000)]


class Inference(BaseModel):
    """A request of the protocol."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    id: Annotated[str, Field(max_length=1000)] | None = None
    inputs: Annotated[list[Tensor], Field(min_length=1, max_length=10_000)]
    outputs: Annotated[list[Output], Field(max_length=100)] | None = None


def add_open_inference(app: FastAPI, served: Mapping[str, Any]) -> None:
    """Adds `/v2/...` to a service."""

    def model(name: str) -> Any:
        if name not in served:
            raise HTTPException(404, f"there is no model {name[:100]!r}")
        return served[name]

    @app.get("/v2", tags=["v2"])
    async def server() -> dict[str, Any]:
        """The server."""
        return {"name": "zoo", "version": __version__, "extensions": []}

    @app.get("/v2/health/live", tags=["v2"])
    async def live() -> dict[str, bool]:
        """Whether the process answers."""
        return {"live": True}

    @app.get("/v2/health/ready", tags=["v2"])
    async def ready() -> JSONResponse:
        """Whether all models answer."""
        return JSONResponse({"ready": app.state.ready}, 200 if app.state.ready else 503)

    @app.get("/v2/models/{name}", tags=["v2"])
    async def metadata(name: str) -> dict[str, Any]:
        """The tensors of a model."""
        one = model(name)
        return {
            "name": name, "versions": ["1"], "platform": "zoo_pytorch", "inputs": _inputs(one.domain),
            "outputs": _outputs(one.domain),
        }  # fmt: skip

    @app.get("/v2/models/{name}/ready", tags=["v2"])
    async def model_ready(name: str) -> JSONResponse:
        """Whether a model answers."""
        model(name)
        return JSONResponse({"name": name, "ready": app.state.ready}, 200 if app.state.ready else 503)

    @app.post("/v2/models/{name}/infer", tags=["v2"])
    async def infer(name: str, given: Inference) -> dict[str, Any]:
        """Answers for tensors whose first dimension counts inputs."""
        one = model(name)
        names = _asked(one.domain, given.outputs)
        rows = _rows(one.domain, given.inputs, one.limits.rows)
        answers = await one.batch(rows)
        for number, answer in enumerate(answers):
            if isinstance(answer, dict) and "error" in answer:
                raise HTTPException(422, f"input {number}: {answer['error']}")
        told: dict[str, Any] = {
            "model_name": name,
            "model_version": "1",
            "outputs": [found for found in _told(one.domain, answers) if found["name"] in names],
        }
        return told if given.id is None else {"id": given.id, **told}


def _names(domain: Any) -> dict[str, str]:
    """Input tensors with their types."""
    if isinstance(domain, Rows):
        known = dict.fromkeys((*domain.dates, *domain.categories), "BYTES")
        return known | dict.fromkeys(domain.numbers, "FP64")
    if isinstance(domain, PairsOf):
        return {"user": "BYTES", "item": "BYTES"}
    return {"picture" if isinstance(domain, Pictures) else "text": "BYTES"}


def _inputs(domain: Any) -> list[dict[str, Any]]:
    return [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in _names(domain).items()]


def _outputs(domain: Any) -> list[dict[str, Any]]:
    classes = domain.about()["classes"]
    if classes is None or domain.learn.activation.kind == "identity":
        return [{"name": "value", "datatype": "FP64", "shape": [-1]}]
    return [
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
        {"name": "probability", "datatype": "FP32", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(classes)]},
    ]


def _asked(domain: Any, outputs: list[Output] | None) -> list[str]:
    """Names of the outputs that are asked for; all where none is named."""
    known = [one["name"] for one in _outputs(domain)]
    asked = [one.name for one in outputs or ()] or known
    others = [name for name in asked if name not in known]
    if others:
        raise HTTPException(422, f"there is no output {others[0][:100]!r}; there are {', '.join(known)}")
    return asked


def _rows(domain: Any, tensors: list[Tensor], most: int) -> list[dict[str, Any]]:
    """Tensors as inputs in the user's terms."""
    names = _names(domain)
    given = {tensor.name: tensor for tensor in tensors}
    if len(given) != len(tensors):
        raise HTTPException(422, "an input tensor is named twice")
    absent, others = (
        [name for name in names if name not in given],
        [name for name in given if name not in names],
    )
    if absent or others:
        told = f"lacks {absent[0]!r}" if absent else f"has {others[0][:100]!r}, which the model does not read"
        raise HTTPException(422, f"the request {told}; its inputs are {', '.join(list(names)[:20])}")
    lengths = set()
    for tensor in tensors:
        if len(tensor.shape) == 2 and tensor.shape[1] == 1:
            tensor.shape = tensor.shape[:1]
        if tensor.shape != [len(tensor.data)]:
            raise HTTPException(
                422, f"{tensor.name[:100]!r}: shape {tensor.shape} and {len(tensor.data)} values"
            )
        lengths.add(len(tensor.data))
    if len(lengths) != 1:
        raise HTTPException(422, "the input tensors have different lengths")
    (n,) = lengths
    if not 1 <= n <= most:
        raise HTTPException(422, f"the request has {n} inputs, 1 to {most} are accepted")
    Input = domain.schema()
    rows = []
    for place in range(n):
        try:
            row = Input.model_validate({name: given[name].data[place] for name in names})
        except ValueError as error:
            raise HTTPException(422, f"input {place}: {str(error).splitlines()[2].strip()[:300]}") from error
        rows.append(row.model_dump(by_alias=True))
    return rows


def _told(domain: Any, answers: list[Any]) -> list[dict[str, Any]]:
    kinds = {one["name"]: one["datatype"] for one in _outputs(domain)}
    n = len(answers)
    if "value" in kinds:
        values = [one.get("values", one.get("value")) for one in answers]
        flat = [number for value in values for number in (value if isinstance(value, list) else [value])]
        flat = [number["value"] if isinstance(number, dict) else number for number in flat]
        shape = [n] if len(flat) == n else [n, len(flat) // n]
        return [{"name": "value", "datatype": "FP64", "shape": shape, "data": flat}]
    labels = [",".join(one["label"]) if isinstance(one["label"], list) else one["label"] for one in answers]
    probabilities = [list(one["probabilities"].values()) for one in answers]
    sure = [one["probability"] for one in answers]
    return [
        {"name": "label", "datatype": "BYTES", "shape": [n], "data": labels},
        {"name": "probability", "datatype": "FP32", "shape": [n], "data": sure},
        {
            "name": "probabilities", "datatype": "FP32", "shape": [n, len(probabilities[0])],
            "data": [number for row in probabilities for number in row],
        },
    ]  # fmt: skip
