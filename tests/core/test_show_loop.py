import re

import pytest

from tests.core.helpers import digits, digits_learner, same, weights
from zoo import Callback, ModelData, TensorLoader
from zoo.callbacks import CSVLogger
from zoo.engine.callback import EVENTS


def tracer(order, journal):
    """A callback of a class of its own that notes every event."""

    def note(event):
        def method(self, state):
            journal.append((event, type(self).__name__))

        return method

    kind = type(f"Tracer{order + 999}", (Callback,), {"order": order, **{e: note(e) for e in EVENTS}})
    return kind()


def one_batch_learner(validates=True, **options):
    x, y = digits()
    loader = TensorLoader(x[:32], y[:32], bs=32)
    learn = digits_learner(**options)
    learn.data = ModelData(loader, loader if validates else None)
    return learn


@pytest.mark.parametrize("validates", [True, False])
def test_the_events_shown_are_those_that_a_fit_emits(validates):
    journal = []
    learn = one_batch_learner(validates)
    callbacks = [tracer(0, journal)]
    shown = learn.show_loop(callbacks)
    assert journal == []
    learn.fit(0.1, 1, cycle_len=1, callbacks=callbacks)
    assert shown.events == [event for event, _ in journal]
    assert set(shown.events) == {event for event in EVENTS if validates or "validate" not in event}


def test_the_listeners_shown_are_called_in_that_order():
    journal = []
    mine = [tracer(order, journal) for order in (-70, 55, 55, 200)]
    mine[1].event_orders = {"after_loss": -500}
    learn = one_batch_learner(callbacks=[tracer(10, journal)], clip=1.0)
    shown = learn.show_loop(mine)
    learn.fit(0.1, 1, cycle_len=1, callbacks=mine)
    traced = {type(callback).__name__ for callback in [*mine, *learn.callbacks]}
    expected = [
        (line.text, name)
        for line in shown.lines
        if line.is_event
        for _, name in line.listeners
        if name in traced
    ]
    assert journal == expected
    for line in shown.lines:
        orders = [order for order, _ in line.listeners]
        assert orders == sorted(orders)
    (loss,) = {line.listeners[0] for line in shown.lines if line.text == "after_loss"}
    assert loss == (-500, type(mine[1]).__name__)


def test_the_listing_reads_like_the_loop(tmp_path):
    learn = one_batch_learner(clip=0.5)
    text = repr(learn.show_loop([CSVLogger(tmp_path / "log.csv")]))
    assert re.sub(r"  +(?!.*:)(?=[A-Z]).*", "", text) == HEADS
    lines = text.splitlines()
    assert "        before_step   ClipGradients (50)" in lines
    assert "  after_epoch         Recorder (-100), CSVLogger (70)" in lines
    assert all(line == line.rstrip() for line in lines)


def test_looking_changes_nothing():
    plain = digits_learner()
    plain.fit(0.01, 1)
    looked_at = digits_learner()
    looked_at.show_loop()
    given = [Callback()]
    looked_at.show_loop(given)
    assert len(given) == 1
    assert looked_at.opt is None
    looked_at.fit(0.01, 1)
    assert same(weights(plain.model), weights(looked_at.model))


HEADS = """\
before_fit
every epoch:
  before_epoch
  training:
    before_train
    every batch:
      before_batch
      after_predict
      after_loss
      after_backward
      when an update is due:
        before_step
        after_step
      after_batch
      cleanup_batch
    after_train
  validation:
    before_validate
    every batch:
      before_batch
      after_predict
      after_loss
      after_batch
      cleanup_batch
    after_validate
  when a cycle is done:
    after_cycle
  after_epoch
  cleanup_epoch
after_fit
cleanup_fit"""
