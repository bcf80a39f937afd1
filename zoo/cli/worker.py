"""One of several processes that train a run folder: `torchrun ... -m zoo.cli.worker FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from zoo import distributed
from zoo.cli.script import load_script

HISTORY, WEIGHTS = "history.json", "trained"


def main(folder: Path) -> None:
    """Trains the script of a run folder, and leaves weights and history there."""
    file = folder / "train.py"
    running = load_script(file.read_text(encoding="utf8"), str(file))
    learn = running.learner(running.data())
    running.train(learn)
    learn.save(WEIGHTS)
    if distributed.is_main():
        (folder / HISTORY).write_text(json.dumps(learn.history), encoding="utf8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
