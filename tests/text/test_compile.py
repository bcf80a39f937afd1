"""Compiled text models: recurrent kernels stay whole, everything else is the same."""

import copy

import pytest
import torch

from tests.core.helpers import same, weights
from zoo_text.data.labelled_data import TextData
from zoo_text.data.language_data import LanguageModelData
from zoo_text.tokens.vocab import Field

TEXTS = [f"film {n} was {'good' if n % 2 else 'bad'} and {'long ' * (n % 5)}" for n in range(24)]
SIZES = {"emb_sz": 4, "n_hid": 6, "n_layers": 2, "device": "cpu", "progress": False, "seed": 1}


def language_model():
    torch.manual_seed(0)
    data = LanguageModelData.from_texts(Field(), TEXTS * 2, TEXTS[:9], bs=4, bptt=10, min_freq=1, seed=1)
    return data.get_model(**SIZES)


def classifier():
    torch.manual_seed(0)
    labels = ["yes" if n % 2 else "no" for n in range(24)]
    data = TextData.from_texts(Field(), (TEXTS, labels), (TEXTS, labels), bs=8, min_freq=1, seed=1)
    return data.get_model(**SIZES)


class Sizes:
    """A backend that runs graphs as they are and notes how many operations they hold."""

    def __init__(self) -> None:
        self.kernels = self.graphs = 0

    def __call__(self, graph, example_inputs):
        self.graphs += 1
        self.kernels += sum("lstm" in str(node.target) for node in graph.graph.nodes)
        return graph


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # the compiler looks at it
@pytest.mark.parametrize("make", [language_model, classifier])
def test_compiled_text_models_train_the_same(make):
    torch._dynamo.reset()
    try:
        plain, compiled, backend = make(), make(), Sizes()
        compiled.compile(backend=backend)
        for learn in (plain, compiled):
            learn.fit(0.01, 2)
        assert backend.graphs
        assert not backend.kernels
        assert same(weights(plain.model), weights(compiled.model))
        assert (plain.predict() == compiled.predict()).all()
        twin = copy.deepcopy(compiled.model)  # a copy runs its own weights
        for param in twin.parameters():
            param.data.zero_()
        batch = next(iter(plain.data.valid_dl))[:-1]
        first = twin(*batch)
        assert not (first[0] if isinstance(first, tuple) else first).any()
    finally:
        torch._dynamo.reset()
