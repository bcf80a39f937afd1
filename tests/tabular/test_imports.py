"""Table processing works without torch."""

from __future__ import annotations

import subprocess
import sys

import zoo_tabular

SCRIPT = """
import sys
import zoo_tabular
from zoo_tabular import (add_datepart, add_elapsed, add_event_counts, train_cats, apply_cats, proc_df,
    TableProcessor,
    exp_rmspe, rmspe, last_days_split, group_split, read_table, write_table)
import pandas as pd
df = pd.DataFrame({"Date": ["2015-07-31", "2015-08-01"], "Kind": ["a", "b"], "Sales": [1.0, 2.0]})
frame, y, nas = proc_df(train_cats(add_datepart(df, "Date")), "Sales")
TableProcessor().fit(df[["Kind"]]).transform(df)
assert exp_rmspe(y, y) == 0
assert "torch" not in sys.modules
"""


ROOMS = """
import pkgutil, sys
import zoo_tabular.frames, zoo_tabular.stream
for folder in (zoo_tabular.frames, zoo_tabular.stream):
    for room in pkgutil.walk_packages(folder.__path__, folder.__name__ + "."):
        if room.name != "zoo_tabular.stream.loader":  # batches for a learner
            __import__(room.name)
assert "torch" not in sys.modules
"""


def test_no_room_of_frames_and_stream_imports_torch() -> None:
    done = subprocess.run([sys.executable, "-c", ROOMS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_preparing_frames_does_not_import_torch() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_can_be_imported() -> None:
    for name in zoo_tabular.__all__:
        assert getattr(zoo_tabular, name) is not None
    assert set(zoo_tabular.__all__) <= set(dir(zoo_tabular))
