"""The ladder of examples/nietzsche.py, at a tiny size."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pytest
import torch

from examples.nietzsche import STAGES, Ladder, StatefulRNN
from tests.gallery.cases import EndAt, Ended
from zoo import Learner
from zoo.losses import CrossEntropyFlat
from zoo_text import CarriedState, LanguageModelData

TEXT = "what is noble? what does the word noble still mean for us nowadays? " * 60


@pytest.fixture
def ladder() -> Ladder:
    return Ladder(TEXT, argparse.Namespace(cycles=5, hidden=32))


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_learns_more_than_how_many_characters_there_are(ladder: Ladder, stage: str) -> None:
    found = dict(ladder.climb(stage))
    assert len(found) == (4 if stage == "identity" else 1)
    assert min(found.values()) < math.log(ladder.n_chars) - 0.05


def test_windows_are_the_text_itself(ladder: Ladder) -> None:
    ids = ladder.ids[1]
    x, y = ladder.windows(3, every=False).valid_dl.tensors
    assert torch.equal(x[5], ids[5:8])
    assert torch.equal(y, ids[3:])
    x, y = ladder.windows(8, every=True).valid_dl.tensors
    assert torch.equal(x.reshape(-1), ids[: x.numel()])
    assert torch.equal(y.reshape(-1), ids[1 : x.numel() + 1])


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_the_state_of_a_plain_module_is_carried_and_forgotten(kind: str) -> None:
    torch.manual_seed(0)
    model = StatefulRNN(kind, 20, 6, 8, 2, 0.5).eval()
    ids = torch.randint(0, 20, (3, 9))
    whole = model(ids)
    model.reset()
    parts = torch.cat([model(ids[:, :4]), model(ids[:, 4:])], 1)
    torch.testing.assert_close(parts, whole)
    assert model(ids[:1]).shape == (1, 9, 20)  # what is left over of a text has a row of its own
    model.reset()
    torch.testing.assert_close(model(ids), whole)


def test_a_fit_of_a_plain_module_goes_on_in_the_middle_of_a_text(ladder: Ladder, tmp_path: Path) -> None:
    options = {"callbacks": [CarriedState()], "seed": 0, "progress": False, "device": "cpu"}

    def learner(folder: str) -> Learner:
        texts = [[part] for part in ladder.parts]
        data = LanguageModelData.from_texts(
            ladder.field, *texts, bs=4, bptt=20, seed=0, path=tmp_path / folder
        )
        torch.manual_seed(0)
        model = StatefulRNN("lstm", ladder.n_chars, 6, 8, 1, 0.0)
        return Learner(data, model, loss_fn=CrossEntropyFlat(), **options)

    rows = learner("a").fit(1e-2, 2)
    with pytest.raises(Ended):
        learner("b").fit(1e-2, 2, checkpoint_every=5, callbacks=[EndAt(13)])
    again = learner("b").fit(1e-2, 2, checkpoint_every=5, resume=True)
    assert again[-1]["valid_loss"] == rows[-1]["valid_loss"]
