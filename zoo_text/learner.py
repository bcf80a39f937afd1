"""The learner of language models."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, Unpack, overload

from torch import Tensor

from zoo.data.answers.nested import map_tensors
from zoo.engine.callback import Callback
from zoo.engine.state import State
from zoo.keywords import completed, takes
from zoo.learner import Learner
from zoo_text.data.language_data import LanguageModelData
from zoo_text.generate import GENERATE_DEFAULTS, GenerateOptions, Sampling, continuation
from zoo_text.model.language_model import LanguageModel, seq2seq_reg
from zoo_text.model.softmax import FusedCrossEntropy
from zoo_text.transfer import EncoderMixin


class CarriedState(Callback):
    """Starts every pass over a text with a fresh hidden state, and forgets it at the end.

    An evaluation in the middle of a training pass leaves the pass's state as it was, and a fit that goes on
    from a checkpoint goes on with it. A `LanguageLearner` has one; for modules of your own give it to the
    learner, or to `zoo.fit`.

    The module has a method `reset()`, which forgets the state, and keeps it in an attribute `carried`: None,
    or tensors in lists, tuples or dicts, whose history it cuts.
    """

    in_finder = True

    def __init__(self) -> None:
        self._model: Any = None
        self._kept: Any = None

    @staticmethod
    def _reset(model: Any) -> None:
        model.reset()

    def before_train(self, state: State) -> None:
        self._model = state.model
        self._reset(state.model)

    def after_train(self, state: State) -> None:
        self._reset(state.model)

    def before_validate(self, state: State) -> None:
        self._kept = getattr(state.model, "carried", None)
        self._reset(state.model)

    def after_validate(self, state: State) -> None:
        self._reset(state.model)
        if self._kept is not None:
            state.model.carried, self._kept = self._kept, None

    def cleanup_fit(self, state: State) -> None:
        self._reset(state.model)
        self._model = self._kept = None

    def state_dict(self) -> dict[str, Any]:
        return {"carried": getattr(self._model, "carried", None)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._model is not None and state["carried"] is not None:
            device = next(self._model.parameters()).device
            self._model.carried = map_tensors(lambda part: part.to(device), state["carried"])


class DeferredOutput(Callback):
    """Lets the model leave out the output layer where nobody needs all its scores at once: in training, and
    in an evaluation whose loss and metrics read them block by block. Predictions are scores."""

    in_finder = True

    def before_batch(self, state: State) -> None:
        if not isinstance(state.model, LanguageModel) or not isinstance(state.loss_fn, FusedCrossEntropy):
            return
        metrics = state.meters[1:]  # the first is the loss
        measured = bool(state.meters) and all(getattr(one, "reads_lazily", False) for one in metrics)
        state.model.defer_output = state.training or measured

    def cleanup_batch(self, state: State) -> None:
        if isinstance(state.model, LanguageModel):
            state.model.defer_output = False


class ActivationRegularisation(Callback):
    """Applies a learner's `reg_fn` to the training loss, after the recorder has noted the plain one."""

    in_finder = True
    order = 10

    def __init__(self, reg_fn: Callable[[Tensor, tuple[Tensor, ...]], Tensor]) -> None:
        self.reg_fn = reg_fn

    def after_loss(self, state: State) -> None:
        if state.training and state.extras:
            state.loss = self.reg_fn(state.loss, state.extras)


class LanguageLearner(EncoderMixin, Learner):
    """Trains a language model; made by `LanguageModelData.get_model`.

    Args:
        data: The corpus.
        model: A `LanguageModel` of its vocabulary, or any module with its interface (`encoder`, `reset`).
        options: As for `zoo.Learner`.

    Attributes:
        reg_fn: Activation regularisation, `(loss, extras) -> loss`; by default `seq2seq_reg` with alpha 2 and
            beta 1. None switches it off.
        clip: Largest gradient norm; 0.3 is usual.
    """

    domain = "language_model"
    data_class = LanguageModelData

    def __init__(self, data: Any, model: Any, **options: Any) -> None:
        super().__init__(data, model, **options)
        self.reg_fn: Callable[[Tensor, tuple[Tensor, ...]], Tensor] | None = partial(
            seq2seq_reg, alpha=2.0, beta=1.0
        )

        self._loaded_documents: Tensor | None = None

    def _take_documents(self, vectors: Tensor | None) -> None:
        self._loaded_documents = vectors

    def _documents(self) -> Tensor | None:
        own = self.data.document_vectors()
        return self._loaded_documents if own is None else own

    def _domain_callbacks(self) -> list[Callback]:
        regularise = [] if self.reg_fn is None else [ActivationRegularisation(self.reg_fn)]
        return [CarriedState(), DeferredOutput(), *regularise]

    @overload
    def generate(
        self, prompt: str, n: int = 50, *, stream: Literal[False] = False, **options: Unpack[GenerateOptions]
    ) -> str: ...

    @overload
    def generate(
        self, prompt: str, n: int = 50, *, stream: Literal[True], **options: Unpack[GenerateOptions]
    ) -> Iterator[str]: ...

    @takes(GenerateOptions, GENERATE_DEFAULTS)
    def generate(
        self, prompt: str, n: int = 50, *, stream: bool = False, **options: Unpack[GenerateOptions]
    ) -> str | Iterator[str]:
        """Continues a text.

        Args:
            prompt: How it begins.
            n: Words (tokens) to add at most.
            stream: Give the pieces of the text as they are drawn, the prompt first.
            options: How words are chosen, see `GenerateOptions`.

        Returns:
            The prompt and its continuation; with `stream` an iterator of pieces that are the same text when
            put together. The learner may be used for something else between two pieces.

        Raises:
            TypeError: If the prompt is no string.
            ValueError: If it holds no word, an option is out of range, or the model reads backward.

        Example:
            >>> from zoo_text import Field, LanguageModelData
            >>> field = Field(tokenize="whitespace")
            >>> data = LanguageModelData.from_texts(field, ["a b c d"] * 40, bs=4, min_freq=1)
            >>> learn = data.get_model(emb_sz=8, n_hid=8, n_layers=1, progress=False, seed=0)
            >>> text = learn.generate("a b", 5, top_p=0.9, no_repeat=3, seed=0)
            >>> pieces = learn.generate("a b", 5, top_p=0.9, no_repeat=3, seed=0, stream=True)
            >>> "".join(pieces) == text
            True
        """
        chosen = completed(GenerateOptions, GENERATE_DEFAULTS, options, "generate")
        if getattr(self.data, "backward", False):
            raise ValueError(
                "this model reads texts from their end, it cannot continue one: use a forward model"
            )
        stop = chosen.pop("stop")
        pieces = continuation(
            self.data.field, self.model, prompt, n, Sampling(**chosen), stop=stop, device=self.device
        )
        return itertools.chain([prompt], pieces) if stream else prompt + "".join(pieces)
