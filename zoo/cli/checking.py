"""`zoo check` and `zoo info`: what data and models hold."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from zoo.cli.console import Console
from zoo.cli.planning import make_plan, script_of
from zoo.cli.plans import Wishes
from zoo.cli.script import load_script
from zoo.data.splits import get_cv_idxs


def check(path: Path, wishes: Wishes, console: Console, page: Path | None) -> dict[str, Any]:
    """Looks at the data that `zoo train` would learn from; nothing is changed.

    Returns:
        What was found; "problems" are errors and warnings.
    """
    from zoo_collab import CollabFilterDataset

    plan = make_plan(path, wishes).with_(lr=1.0)
    console.choices(plan.choices)
    with tempfile.TemporaryDirectory() as folder:
        data = load_script(script_of(plan, Path(folder), ""), "zoo check").data()
        if isinstance(data, CollabFilterDataset):
            data = data.get_data(get_cv_idxs(len(data), plan.settings["valid"], seed=wishes.seed))
        report = data.check()
    rows = [(one.severity, one.what, one.where, one.count, ", ".join(one.examples[:3]), one.cure)
            for one in report.findings]  # fmt: skip
    problems = sum(row[0] != "note" for row in rows)
    found = {
        "ok": report.ok, "problems": problems, "rows": dict(report.rows),
        "findings": report.table.to_dict("records"), "remarks": list(report.remarks),
    }  # fmt: skip
    if page is not None:
        found["page"] = str(report.html(page))
    if rows:
        console.table(["severity", "what", "where", "count", "examples", "what to do"], rows)
    counted = ", ".join(f"{name} {count:,}" for name, count in report.rows.items())
    told = "nothing was found" if not rows else f"{problems} problems, {len(rows) - problems} notes"
    console.answer(found, [f"Rows: {counted}; {told}", *(f"({remark})" for remark in report.remarks)])
    return found


def info(model: Path, console: Console) -> None:
    """Tells what an exported model is, from its file alone."""
    from zoo.cli.predicting import model_file
    from zoo.storage.archive import read_archive

    archive = read_archive(model_file(model))
    found = {name: value for name, value in archive.config.items() if value is not None}
    found["numbers"] = sum(tensor.numel() for tensor in archive.tensors.values())
    rows = [(name, _short(value)) for name, value in found.items()]
    console.table(["", ""], rows)
    console.answer(found)


def _short(value: Any) -> str:
    told = str(value)
    return told if len(told) <= 200 else f"{told[:197]}..."
