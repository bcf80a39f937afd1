"""`benchmarks/gpu.py` runs on a processor, so that on the day of a GPU the script is not the fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.py"
SETS = ("rossmann", "ml-latest-small", "mnist", "dogscats", "weights", "imdb.parquet", "imdb_unsup.parquet")
QUICK = ("--device", "cpu", "--quick")


def script(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280)


@pytest.fixture(scope="module")
def prepared(data_dir: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in SETS:
        data_dir(name)
    root = os.environ.get("ZOO_DATA", str(ROOT.parent / "shared" / "data"))
    folder = tmp_path_factory.mktemp("gpu") / "prepared"
    done = script("prepare", folder, "--data", root, "--quick")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def results(out: Path, name: str) -> tuple[list[dict[str, Any]], str]:
    found = json.loads((out / f"gpu_{name}.json").read_text())
    assert found["machine"]["torch"]
    return found["parts"], (out / f"gpu_{name}.md").read_text()


def names_of(module: str) -> list[str]:
    import importlib

    return [part.name for part in importlib.import_module(f"gpu_parts.{module}").PARTS]


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def test_the_prepared_folder_is_small_and_complete(prepared) -> None:
    members = {file.name for file in prepared.iterdir()}
    wanted = {"sales", "ratings", "digits", "photos", "weights", "reviews", "unlabelled"}
    assert members == {f"{name}.xz" for name in wanted}


@pytest.mark.parametrize("command", ["check", "marks"])
def test_every_part_runs_and_is_written_down(prepared, tmp_path, beside, command) -> None:
    done = script(command, prepared, "--out", tmp_path, "--minutes", 4, *QUICK)
    rows, page = results(tmp_path, command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["part"] for row in rows] == names_of(command)
    for row in rows:
        assert row["state"] == "done" or row["found"]["why"], row
        assert f"| {row['part']} |" in page
    assert sum(row["state"] == "done" for row in rows) >= len(rows) - 6


def test_a_part_that_fails_is_told_and_the_others_run_in_a_new_process(prepared, tmp_path) -> None:
    broken = ("--only", "finder", "streamed", "--break=finder: ratings")
    done = script("check", prepared, "--out", tmp_path, *QUICK, *broken)
    rows, page = results(tmp_path, "check")
    states = {row["part"]: row["state"] for row in rows}
    assert done.returncode == 1, done.stdout + done.stderr
    assert states.pop("finder: ratings") == "failed"
    assert set(states.values()) == {"done"}
    assert len(states) == 5
    assert "RuntimeError: this part was made to fail" in page
    assert "failed: finder: ratings" in done.stdout


def test_the_clock_stops_parts_keeps_what_they_know_and_skips_the_rest(tmp_path, beside) -> None:
    from gpu_parts.running import Context, Part, Report, run_parts

    def sleeps(context: Context) -> dict[str, Any]:
        context.note({"until then": 1.5})
        time.sleep(60)
        return {}

    def greedy(context: Context) -> dict[str, Any]:
        return {"seconds": context.seconds}

    parts = [
        Part("sleeps", sleeps, 0.2, 0.5),
        Part("adapts", greedy, 0.1, 30, adapts=True),
        Part("later", lambda context: {"fine": 1}, 2, 5),
        Part("long", lambda context: {}, 300, 300),
    ]
    report = Report(tmp_path, "clock", "A clock")
    started = time.perf_counter()
    assert run_parts(parts[:3], Context(tmp_path, "cpu", True), report, 8)
    assert run_parts(parts[3:], Context(tmp_path, "cpu", True), report, 8)
    assert time.perf_counter() - started < 6
    rows = {row["part"]: row for row in report.rows}
    assert {name: row["state"] for name, row in rows.items()} == {
        "sleeps": "out of time", "adapts": "done", "later": "done", "long": "skipped"
    }  # fmt: skip
    assert rows["sleeps"]["found"] == {"until then": 1.5}
    assert rows["adapts"]["found"]["seconds"] < 6  # the later part keeps its two
    assert "it takes about 300 s" in report.json.with_suffix(".md").read_text()


def test_all_that_needs_no_tokeniser_works_without_spacy() -> None:
    code = """
        import sys
        sys.modules["spacy"] = None
        import zoo, zoo.vision, zoo_collab, zoo_tabular, zoo_text
        for package in (zoo, zoo.vision, zoo_collab, zoo_tabular, zoo_text):
            for name in package.__all__:
                getattr(package, name)
        field = zoo_text.Field()
        assert zoo_text.Field(tokenize="whitespace").tokens("a film") == ["a", "film"]
        try:
            field.tokens("a film")
        except ImportError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    assert "needs spaCy (pip install spacy)" in lines[0]
