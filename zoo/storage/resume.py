"""Which checkpoint a fit goes on from: fits are counted, so that a script with several finds its place."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.distributed import group as distributed
from zoo.storage.checkpoint import CheckpointFolder
from zoo.storage.mapping import check_mapping, describe, first_rows

# whose fit came to its end in this process, by the folder and number of its checkpoints
_finished_here: dict[Path, FitCounter] = {}


@dataclass(frozen=True)
class Run:
    """A fit that is about to begin, or to go on.

    Attributes:
        number: which fit of its learner it is, from 0.
        first_epoch: the number of its first epoch.
        folder: where its checkpoints are.
        every: batches between two checkpoints, or `None`.
        saved: what it goes on from, or `None`.
    """

    number: int
    first_epoch: int
    folder: CheckpointFolder
    every: int | None
    saved: dict[str, Any] | None

    @property
    def keeps(self) -> bool:
        """Whether checkpoints play any part in it."""
        return self.every is not None or self.saved is not None

    def check(self, arguments: dict[str, Any], data: Any) -> None:
        """Make sure that the checkpoint is one of a fit with these arguments, of data whose numbers mean the
        same, and with as many processes; warn of other training rows.

        Raises:
            ValueError: telling what differs.
        """
        if self.saved is None:
            return
        begin_anew = "or resume=False to train anew"
        other = [
            f"{name} {self.saved['arguments'][name]} instead of {value}"
            for name, value in arguments.items()
            if name in self.saved["arguments"] and self.saved["arguments"][name] != value
        ]
        if other:
            raise ValueError(
                f"the checkpoint in {self.folder.path} is of a fit with other arguments "
                f"({'; '.join(other)}): "
                f"give the same to go on, {begin_anew}"
            )
        check_mapping(self.saved.get("mapping"), describe(data), f"the checkpoint in {self.folder.path}")
        rows = self.saved.get("first rows")
        if rows is not None and rows != first_rows(data.train_dl):
            warnings.warn(
                f"the checkpoint in {self.folder.path} is of a fit on other training rows: their number or "
                "the first ones differ, so the history mixes two sets of rows; make the same data to go on "
                "as if nothing had happened, or give resume=False to train anew",
                stacklevel=3,
            )
        processes = len(self.saved["processes"])
        if processes != distributed.world_size():
            raise ValueError(
                f"the checkpoint in {self.folder.path} was written by {processes} "
                f"process{'es' * (processes > 1)}, now there are {distributed.world_size()}: start as many, "
                f"{begin_anew}"
            )

    def describe(self) -> str:
        """One line about what it goes on from."""
        if self.saved is None:
            return "no checkpoint yet: training begins anew"
        if self.saved["complete"]:
            return f"this fit was complete on {self.saved['written']}: its end is restored"
        at = self.saved["position"]
        return (
            f"going on from epoch {at['epoch']}, batch {at['start_batch']} of {self.saved['n_batches']} "
            f"(checkpoint of {self.saved['written']})"
        )


class FitCounter:
    """Numbers the fits of a learner; one that did not come to its end keeps its number when it is resumed."""

    def __init__(self) -> None:
        self._number = -1
        self._is_open = False

    def plan(self, path: Path, first_epoch: int, every: int | None, resume: bool) -> Run:
        """The coming fit.

        Raises:
            ValueError: if another learner of this process has come to the end of a fit with the same
                checkpoints.
        """
        number = self._number if resume and self._is_open else self._number + 1
        folder = CheckpointFolder(path)
        found = None
        if resume:
            folder.sweep()
            found = folder.read(number)
        if found is None:
            return Run(number, first_epoch, folder, every, None)
        file, saved = found
        owner = _finished_here.get(_key(folder, number), self)
        # one whose later fit failed is being run again; one that is through is somebody else's
        if saved["complete"] and owner is not self and not owner._is_open:
            raise ValueError(
                f"{file} is the end of a fit of another learner of this process: give every learner a path "
                "of its own, or resume=False to train anew"
            )
        return Run(number, saved["position"]["first_epoch"], folder, every, saved)

    def begin(self, run: Run) -> None:
        """The fit begins."""
        self._number, self._is_open = run.number, True

    def end(self, run: Run) -> None:
        """The fit came to its end."""
        self._is_open = False
        if run.every is not None:
            _finished_here[_key(run.folder, run.number)] = self


def _key(folder: CheckpointFolder, number: int) -> Path:
    return (folder.path / str(number)).resolve()
