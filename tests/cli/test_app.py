import subprocess
import sys

import pytest

import zoo.demo
from zoo.cli import main


def run(*arguments):
    code = "from zoo.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


def test_help_lists_the_commands():
    result = run("--help")
    assert result.returncode == 0
    assert "demo" in result.stdout


def test_errors_are_one_line_with_exit_code_2(tmp_path, monkeypatch, capsys):
    def fail(*args, **options):
        raise ValueError("no such thing: try another")

    monkeypatch.setattr(zoo.demo, "run", fail)
    monkeypatch.setattr(sys, "argv", ["zoo", "demo", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert capsys.readouterr().err == "zoo: no such thing: try another\n"


def test_the_demo_gets_its_options(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(zoo.demo, "run", lambda out, **options: seen.update(out=out, **options))
    monkeypatch.setattr(sys, "argv", ["zoo", "demo", "--out", str(tmp_path), "--seed", "3", "--scale", "0.5"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    assert seen == {"out": tmp_path, "seed": 3, "scale": 0.5}
