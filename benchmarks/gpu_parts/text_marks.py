"""Film reviews from nothing: a language model, then a classifier that starts from it, against a clock."""

from __future__ import annotations

import time
from typing import Any

from gpu_parts.domains import language_data, review_data, scratch, shortened
from gpu_parts.pacing import StopAt, epochs_within, step_seconds
from gpu_parts.running import Context

LANGUAGE_SHARE = 0.58
"""Of the time, for the language model."""
DROPS = {"dropouti": 0.3, "dropoute": 0.1, "dropout": 0.5, "wdrop": 0.3}
"""Of the classifier, as in the example."""
FORWARD_SHARE = 3.0
"""An epoch of everything takes about so many times one of the head alone."""


def film_reviews(context: Context) -> dict[str, Any]:
    """25,000 labelled reviews and as many unlabelled ones as were packed; accuracy on 25,000 others."""
    started = time.perf_counter()
    ladder: dict[str, Any] = {}

    def left() -> float:
        return 0.97 * context.seconds - (time.perf_counter() - started)

    def step(done: str, value: Any) -> None:
        ladder[f"{time.perf_counter() - started:.0f} s: {done}"] = value
        context.note(ladder)
        print(f"  {time.perf_counter() - started:.0f} s: {done} {value}", flush=True)

    sizes = (
        {"emb_sz": 10, "n_hid": 12, "n_layers": 2}
        if context.quick
        else {"emb_sz": 400, "n_hid": 1152, "n_layers": 3}
    )
    options = {"device": context.device, "seed": 0, "progress": False}
    language = train_language_model(context, LANGUAGE_SHARE * left(), sizes, options, step)
    data = review_data(context.folder, 8 if context.quick else 64, 30 if context.quick else 1000)
    test, data.valid_dl = data.valid_dl, None
    learn = data.get_model(**sizes, **DROPS, **options)
    learn.path = language.path
    learn.load_encoder("reviews")
    del language

    def measured(stage: str) -> None:
        ladder["accuracy"] = learn.evaluate(test)["accuracy"]
        step(f"{stage}: accuracy", ladder["accuracy"])

    learn.freeze()
    begun = time.perf_counter()
    guard = StopAt(begun + left())
    learn.fit_one_cycle(1, 1e-2, clip=0.4, callbacks=[guard])
    epoch = time.perf_counter() - begun
    measured("head")
    evaluation = epoch  # about: both go forward over 25,000 reviews
    if left() > 3 * (FORWARD_SHARE * epoch + evaluation):
        learn.freeze_to(-2)
        learn.fit_one_cycle(1, slice(2e-3, 5e-3), clip=0.4, callbacks=[StopAt(time.perf_counter() + left())])
        measured("head and last layer")
    if left() > epoch + evaluation:
        epochs = epochs_within(left() - 1.5 * evaluation, FORWARD_SHARE * epoch, 4)
        guard = StopAt(time.perf_counter() + left() - 1.5 * evaluation)
        learn.unfreeze()
        learn.fit_one_cycle(epochs, slice(1e-3, 4e-3), clip=0.4, callbacks=[guard])
        measured(f"everything, {epochs} epochs{', cut short' if guard.stopped else ''}")
    return ladder


def train_language_model(
    context: Context, seconds: float, sizes: dict[str, int], options: Any, step: Any
) -> Any:
    """A language model that took about so many seconds; its encoder is saved as "reviews"."""
    begun, rate = time.perf_counter(), 5e-3
    data = language_data(context.folder, *((4, 10) if context.quick else (128, 70)))
    sampled = 20 if context.quick else 2000

    def learner() -> Any:
        made = data.get_model(**sizes, sampled=sampled, **options)
        made.clip = 0.4
        return made

    valid, data.valid_dl = data.valid_dl, None
    if context.quick:
        data.train_dl = shortened(data.train_dl, 20)
    each = step_seconds(context, learner(), 1e-4)
    data.train_dl.set_epoch(0)
    per_epoch = each * len(data.train_dl)
    have = 0.93 * (seconds - (time.perf_counter() - begun))
    epochs = epochs_within(have, per_epoch, 1 if context.quick else 10)
    if per_epoch > have:  # not even one: a part of the text
        data = language_data(context.folder, *((4, 10) if context.quick else (128, 70)))
        data.valid_dl, data.train_dl = None, shortened(data.train_dl, max(20, int(have / each)))
    step("language model: ms a step, steps an epoch, epochs", [1e3 * each, len(data.train_dl), epochs])
    data.valid_dl = valid
    learn = learner()
    learn.path = scratch()
    guard = StopAt(begun + seconds)
    rows = learn.fit_one_cycle(epochs, rate, callbacks=[guard])
    cut = ", cut short" if guard.stopped else ""
    perplexities = [row.get("perplexity") for row in rows]
    if guard.stopped:
        perplexities.append(learn.evaluate()["perplexity"])
    step(f"language model{cut}: perplexity after each epoch", perplexities)
    step("it writes", learn.generate("this movie is", 20, temperature=0.7, seed=0))
    learn.save_encoder("reviews")
    return learn
