"""The service: endpoints in the user's terms, the Open Inference Protocol, health, numbers and the page."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.middleware.trustedhost import TrustedHostMiddleware

from zoo._version import __version__
from zoo.serving.batching import Batcher, Busy
from zoo.serving.inputs import Cell, PairsOf, Pictures, Refused, domain_of
from zoo.serving.limits import BodyLimit, Limits, Receive, Scope, Send
from zoo.serving.open_inference import add_open_inference
from zoo.serving.record import Record

log = logging.getLogger("zoo.serving")
_MOST_TOLD = 5  # errors of one request that are listed


class Served:
    """A model of the service.

    Args:
        name: under which it is served.
        learn: an exported learner.
        limits: what is accepted.
    """

    def __init__(self, name: str, learn: Any, limits: Limits) -> None:
        self.name, self.domain, self.limits = name, domain_of(learn, limits), limits
        self.batcher = Batcher(self.domain.answers, waiting=limits.waiting)

    async def answer(self, given: Any) -> Any:
        """The answer for one input.

        Raises:
            HTTPException: for inputs that are refused, and where too many wait.
        """
        with told_to_client():
            return await asyncio.wait_for(self.batcher(self.domain.item(given)), self.limits.seconds)

    async def batch(self, given: list[Any]) -> list[Any]:
        """Answers for several inputs, each for itself: one that is refused is told in its place."""
        items: list[Any] = []
        for one in given:
            try:
                items.append(self.domain.item(one))
            except Refused as error:
                items.append(error)
        fine = [item for item in items if not isinstance(item, Refused)]
        with told_to_client():
            work = self.batcher.alone(self.domain.answers, fine) if fine else _nothing()
            found = iter(await asyncio.wait_for(work, self.limits.seconds))
        answers = [item if isinstance(item, Refused) else next(found) for item in items]
        return [{"error": str(one)} if isinstance(one, Refused) else _fine(one) for one in answers]


async def _nothing() -> list[Any]:
    return []


def _fine(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


@contextlib.contextmanager
def told_to_client() -> Any:
    """Errors as answers of HTTP."""
    try:
        yield
    except Refused as error:
        raise HTTPException(422, str(error)) from error
    except Busy as error:
        raise HTTPException(503, str(error), {"Retry-After": "1"}) from error
    except TimeoutError as error:
        raise HTTPException(504, "the answer took too long") from error


def make_app(
    models: Mapping[str, Any],
    limits: Limits | None = None,
    *,
    record: str | Path | None = None,
    hosts: list[str] | None = None,
) -> FastAPI:
    """A service of exported learners.

    Args:
        models: learners by the name under which they are served.
        limits: what is accepted.
        record: a file to which predictions and corrections made on the page are appended, a line of JSON
            each; None keeps nothing.
        hosts: names of this machine that requests may be for; by default those of the machine itself alone,
            so that a page of somebody else cannot ask by another name.

    Raises:
        ValueError: without a model, and for learners that cannot be served.

    Example:
        >>> from zoo_text import Field, TextData
        >>> texts, labels = ["a good film", "good", "a bad film", "bad"], ["pos", "pos", "neg", "neg"]
        >>> learn = TextData.from_texts(Field(), (texts, labels), bs=2).get_model(progress=False)
        >>> sorted(route.path for route in make_app({"films": learn}).routes if "films" in route.path)[:2]
        ['/models/films', '/models/films/predict']
    """
    if not models:
        raise ValueError("there is no model to serve")
    limits = limits or Limits()
    served = {name: Served(name, learn, limits) for name, learn in models.items()}
    kept = Record(None if record is None else Path(record))

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        app.state.ready = True
        yield
        app.state.ready = False
        for one in served.values():
            one.batcher.close()

    app = FastAPI(
        title="zoo", version=__version__, summary=f"Answers of {', '.join(served)}.", lifespan=life,
        docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.ready, app.state.models = False, served
    numbers = Numbers()
    _add_errors(app)
    _add_health(app, served, numbers)
    for one in served.values():
        _add_model(app, one, kept)
    add_open_inference(app, served)
    _add_page(app, served)
    if limits.per_minute is not None:
        _add_rate(app, limits.per_minute)
    app.add_middleware(Counting, numbers=numbers)
    app.add_middleware(BodyLimit, most=int(limits.body_mb * 1e6), seconds=limits.seconds)
    app.add_middleware(
        TrustedHostMiddleware, allowed_hosts=hosts or ["localhost", "127.0.0.1", "[::1]", "testserver"]
    )
    return app


class Numbers:
    """What is counted, as Prometheus reads it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ["path", "status"]
        self.requests = Counter(
            "zoo_requests", "Requests by path and status.", labels, registry=self.registry
        )
        self.seconds = Histogram(
            "zoo_request_seconds", "Seconds of requests.", ["path"], registry=self.registry
        )
        self.batches = Gauge("zoo_batches", "Passes of the model.", ["model"], registry=self.registry)
        self.rows = Gauge("zoo_batched_rows", "Inputs of these passes.", ["model"], registry=self.registry)

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Counts a request by the route that answered it."""
        path = getattr(scope.get("route"), "path", "other")
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)


class Counting:
    """Counts every request; a layer of ASGI of its own, as those of Starlette cost a task a request.

    Args:
        app: what answers.
        numbers: where it is counted.
    """

    def __init__(self, app: Any, numbers: Numbers) -> None:
        self.app, self.numbers = app, numbers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def watched(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            self.numbers.count(scope, status, time.perf_counter() - started)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> JSONResponse:
        found = error.errors()
        told = [
            {"where": ".".join(str(part)[:100] for part in one["loc"]), "what": str(one["msg"])[:300]}
            for one in found[:_MOST_TOLD]
        ]
        more = {} if len(found) <= _MOST_TOLD else {"more": len(found) - _MOST_TOLD}
        return JSONResponse({"detail": "the request does not fit", "errors": told, **more}, 422)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        number = secrets.token_hex(4)
        log.error("request %s failed: %s %s", number, request.method, request.url.path, exc_info=error)
        return JSONResponse({"detail": f"the service failed; its log tells more under {number}"}, 500)


def _add_health(app: FastAPI, served: Mapping[str, Served], numbers: Numbers) -> None:
    @app.get("/health/live", tags=["health"])
    async def live() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "live"}

    @app.get("/health/ready", tags=["health"])
    async def ready() -> JSONResponse:
        """Whether models answer."""
        fine = app.state.ready
        return JSONResponse(
            {"status": "ready" if fine else "not ready", "models": list(served)}, 200 if fine else 503
        )

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Numbers for Prometheus."""
        for one in served.values():
            numbers.batches.labels(one.name).set(one.batcher.batches)
            numbers.rows.labels(one.name).set(one.batcher.rows)
        return Response(generate_latest(numbers.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/models", tags=["models"])
    async def listed() -> dict[str, Any]:
        """The models and what they read."""
        return {"models": [{"name": one.name, "kind": one.domain.kind} for one in served.values()]}


def _add_model(app: FastAPI, one: Served, kept: Record) -> None:
    domain, base = one.domain, f"/models/{one.name}"
    Input = domain.schema()
    Inputs = create_model(
        f"{Input.__name__}s", __config__=ConfigDict(extra="forbid"),
        inputs=(list[Input], Field(min_length=1, max_length=one.limits.rows)),  # type: ignore[valid-type]
    )  # fmt: skip

    @app.get(base, tags=[one.name])
    async def about() -> dict[str, Any]:
        """What the model reads and answers."""
        return {"name": one.name, **domain.about()}

    @app.post(f"{base}/predict", tags=[one.name])
    async def predict(given: Input) -> dict[str, Any]:  # type: ignore[valid-type]
        """The answer for one input."""
        values = given.model_dump(by_alias=True)  # type: ignore[attr-defined]
        found = await one.answer(values)
        number = kept.prediction(one.name, domain, values, found)
        return {**found, **({} if number is None else {"id": number})}

    @app.post(f"{base}/predict-batch", tags=[one.name])
    async def predict_batch(given: Inputs) -> dict[str, Any]:  # type: ignore[valid-type]
        """Answers for several inputs, in their order; an input that is refused is told in its place."""
        values = [part.model_dump(by_alias=True) for part in given.inputs]  # type: ignore[attr-defined]
        return {"answers": await one.batch(values)}

    @app.post(f"{base}/why", tags=[one.name])
    async def why(given: Input) -> dict[str, Any]:  # type: ignore[valid-type]
        """What the answer for one input rests on."""
        values = given.model_dump(by_alias=True)  # type: ignore[attr-defined]
        with told_to_client():
            item = domain.item(values)
            try:
                work = one.batcher.alone(domain.why, item)
                return await asyncio.wait_for(work, one.limits.seconds)
            except (ValueError, TypeError) as error:
                raise Refused(str(error)) from error

    if isinstance(domain, Pictures):

        @app.post(
            f"{base}/predict-file",
            tags=[one.name],
            openapi_extra={"requestBody": {"required": True, "content": {"image/*": {"schema": _BINARY}}}},
        )
        async def predict_file(request: Request) -> dict[str, Any]:
            """The answer for a picture whose file is the body of the request."""
            body = await request.body()
            if not body:
                raise HTTPException(422, "the body is empty: send the bytes of a picture file")
            return await one.answer({"picture": body})

    if isinstance(domain, PairsOf):
        _add_lists(app, one, domain)
    if kept.path is not None:

        @app.post(f"{base}/correct", tags=[one.name])
        async def correct(given: Correction) -> dict[str, bool]:
            """What the answer of a prediction should have been; kept for the next training."""
            if not kept.correction(one.name, given.id, given.truth):
                raise HTTPException(404, "no prediction of this model has that id")
            return {"kept": True}


_BINARY = {"type": "string", "format": "binary"}


class Correction(BaseModel):
    """What an answer should have been."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    id: Annotated[str, Field(max_length=64)]
    truth: Annotated[str, Field(max_length=1000)] | float


def _add_lists(app: FastAPI, one: Served, domain: PairsOf) -> None:
    most = one.limits.items

    class ListOf(BaseModel):
        """Users whose lists are wanted, or what somebody new thinks of items."""

        model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
        users: Annotated[list[Cell], Field(min_length=1, max_length=most)] | None = None
        ratings: Annotated[list[tuple[Cell, float]], Field(min_length=1, max_length=most)] | None = None
        n: Annotated[int, Field(ge=1, le=most)] = 10

    @app.post(f"/models/{one.name}/recommend", tags=[one.name])
    async def recommend(given: ListOf) -> dict[str, Any]:
        """The best items for users that are known, or for somebody with ratings."""
        if (given.users is None) == (given.ratings is None):
            raise HTTPException(422, "give users, or the ratings of somebody: [[item, rating], ...]")
        with told_to_client():
            try:
                work = one.batcher.alone(domain.recommend, given.users, given.ratings, given.n)
                return {"items": await asyncio.wait_for(work, one.limits.seconds)}
            except (ValueError, TypeError) as error:
                raise Refused(str(error)) from error


def _add_rate(app: FastAPI, per_minute: int) -> None:
    from limits import RateLimitItemPerMinute
    from limits.storage import MemoryStorage
    from limits.strategies import MovingWindowRateLimiter

    limiter, rate = MovingWindowRateLimiter(MemoryStorage()), RateLimitItemPerMinute(per_minute)

    @app.middleware("http")
    async def paced(request: Request, answer: Any) -> Response:
        client = request.client.host if request.client else "unknown"
        if request.url.path.startswith("/health/") or limiter.hit(rate, client):
            return await answer(request)
        detail = f"more than {per_minute} requests a minute"
        return JSONResponse({"detail": detail}, 429, {"Retry-After": "60"})


def _add_page(app: FastAPI, served: Mapping[str, Served]) -> None:
    from jinja2 import Environment, StrictUndefined

    text = files("zoo.serving").joinpath("page.html.j2").read_text(encoding="utf8")
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(text)

    @app.get("/", include_in_schema=False)
    async def shown() -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
            "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        html = page.render(nonce=nonce, models=list(served), version=__version__)
        headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return HTMLResponse(html, headers=headers)
