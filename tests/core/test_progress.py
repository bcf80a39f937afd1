"""What a fit shows: in a terminal, in a notebook, in a file, and nothing where nothing is wanted."""

import os
import re
import select
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

from tests.core.helpers import DigitsNet, digits_data, digits_learner
from tests.core.processes import start
from zoo import Callback, ModelData, fit
from zoo.callbacks import Progress
from zoo.callbacks.progress import column_widths, progress_bar
from zoo.metrics import accuracy

ROOT = Path(__file__).parents[2]

SCRIPT = """
    import time
    import zoo.callbacks.progress
    from tests.core.helpers import digits_learner
    from zoo import Callback
    from zoo.metrics import accuracy

    zoo.callbacks.progress.REDRAW_SECONDS = 0.0

    class Slow(Callback):
        def after_batch(self, state):
            time.sleep(0.005)

    learn = digits_learner(progress=True, metrics=[accuracy], callbacks=[Slow()])
    found = learn.lr_find()
    rows = learn.fit(0.01, 2)
    answers = learn.predict()
    figures = learn.evaluate()
"""


def table(rows, names=("epoch", "train_loss", "valid_loss", "accuracy", "seconds")):
    """The text of an epoch table, written out by hand."""
    lines = [f"{names[0]:>7}" + "".join(f"{name:>12}" for name in names[1:])]
    for row in rows:
        cells = [f"{row[name]:12.1f}" if name == "seconds" else f"{row[name]:12.6f}" for name in names[1:]]
        lines.append(f"{row['epoch']:7d}" + "".join(cells))
    return "\n".join(lines) + "\n"


def screen_of(text):
    """What a terminal shows after this text: a carriage return goes back to the beginning of the line."""
    lines, place = [[]], 0
    for char in text.replace("\r\n", "\n"):
        if char == "\n":
            lines.append([])
            place = 0
        elif char == "\r":
            place = 0
        else:
            assert char.isprintable(), f"unexpected control character {char!r}"
            line = lines[-1]
            line[place : place + 1] = [char]
            place += 1
    return "\n".join("".join(line).rstrip() for line in lines)


class Screen:
    """A pseudo-terminal, and what was written to it."""

    def __init__(self, columns, encoding):
        fcntl = pytest.importorskip("fcntl", reason="this platform has no pseudo-terminals")
        import pty
        import struct
        import termios

        self.written = b""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self.file = os.fdopen(theirs, "w", encoding=encoding)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while True:
            try:
                self.written += os.read(self._ours, 65536)
            except OSError:  # Linux says so at the end
                os.close(self._ours)
                return

    def text(self):
        encoding = self.file.encoding
        self.file.close()
        self._thread.join(20)
        return self.written.decode(encoding)


@pytest.fixture
def terminal(monkeypatch):
    """A terminal in this process; every batch is drawn."""
    made = []

    def make(columns=100, encoding="utf-8", redraw_seconds=0.0):
        made.append(Screen(columns, encoding))
        monkeypatch.setattr(sys, "stdout", made[-1].file)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.delenv("TERM", raising=False)
        monkeypatch.setattr("zoo.callbacks.progress.REDRAW_SECONDS", redraw_seconds)
        return made[-1]

    yield make
    for screen in made:
        screen.file.close()


# -- piped


def test_piped_output_is_the_table_and_nothing_else(capfd):
    learn = digits_learner(progress=True, metrics=[accuracy])
    rows = learn.fit(0.01, 3)
    out, err = capfd.readouterr()
    assert out == table(rows)
    assert err == ""
    assert all(char.isprintable() or char == "\n" for char in out)


def test_a_fit_that_is_off_prints_nothing_nor_do_predictions(capfd):
    digits_learner(progress=False).fit(0.01, 1)
    learn = digits_learner(progress=True)
    learn.lr_find(num_it=10)
    learn.predict()
    learn.predict_array(torch.zeros(1, 64))
    learn.evaluate()
    learn.summary()
    assert capfd.readouterr() == ("", "")


def test_columns_stay_aligned_with_long_names_large_values_and_notes(capsys):
    def a_metric_with_quite_a_long_name(preds, targets):
        return 1e9

    def nothing(preds, targets):
        return float("nan")

    class Note(Callback):
        def after_validate(self, state):
            state.row["note"] = "x"

    learn = digits_learner(
        progress=True, metrics=[a_metric_with_quite_a_long_name, nothing], callbacks=[Note()]
    )
    learn.fit(0.01, 2)
    lines = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in lines}) == 1
    ends = [match.end() for match in re.finditer(r"\S+", lines[0])]
    for line in lines[1:]:
        assert [match.end() for match in re.finditer(r"\S+", line)] == ends
        assert "1e+09" in line


def test_the_bare_loop_can_show_it_too(capsys):
    net = DigitsNet()
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    data = ModelData(digits_data().train_dl)
    rows = fit(net, data, 2, opt, torch.nn.functional.cross_entropy, callbacks=[Progress()])
    assert capsys.readouterr().out == table(rows, ("epoch", "train_loss", "seconds"))


# -- a terminal


def _in_the_terminal(script, name):
    """The process: the first of a session of its own, whose terminal is the one of this name."""
    os.setsid()
    theirs = os.open(name, os.O_RDWR)
    for number in (0, 1):
        os.dup2(theirs, number)
    os.close(theirs)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    # whoever runs the tests in the background may have them ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for variable in ("COLUMNS", "LINES"):
        os.environ.pop(variable, None)
    exec(script, {"__name__": "__main__"})  # noqa: S102


def run_in_a_terminal(script, folder, columns=100, interrupt_at=None):
    """Run a script whose terminal is a pseudo-terminal.

    Returns what it wrote there, and its stderr.
    """
    fcntl = pytest.importorskip("fcntl", reason="this platform has no pseudo-terminals")
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    process = start(
        _in_the_terminal, textwrap.dedent(script), os.ttyname(theirs),
        environment={"TERM": "xterm"}, output=folder,
    )  # fmt: skip
    written = b""
    try:
        while True:
            if theirs is not None and (written or not process.is_alive()):  # the process has opened it by now
                os.close(theirs)
                theirs = None
            try:
                ready = select.select([ours], [], [], 0.05)[0]
                part = os.read(ours, 65536) if ready else None
            except OSError:  # Linux says so at the end
                break
            if part == b"":
                break
            written += part or b""
            if interrupt_at is not None and re.search(
                interrupt_at, written[-1000:].decode("utf-8", "ignore")
            ):
                os.write(ours, b"\x03")
                interrupt_at = None
        process.join(60)
        error = (folder / "stderr").read_text()
        assert process.exitcode == 0, error
    finally:
        os.close(ours)
        process.kill()
    return written.decode("utf-8"), error


def test_a_terminal_shows_a_live_bar_and_keeps_the_table_also_after_control_c(tmp_path):
    written, error = run_in_a_terminal(
        SCRIPT + "    learn.fit(0.01, 200)\n", tmp_path, interrupt_at=r"epoch 4 \(3/200\) train: +\d\d%"
    )
    bars = re.findall(r"epoch \d+ \(\d+/2\d*\) (?:train|valid): [^\r]*", written)
    last = [bar for bar in bars if "epoch 1 (2/2) train" in bar][-1]
    pattern = r"train: 100%\|█+\| 19/19 \[00:0\d<00:00, +[\d.]+batch/s, loss [\d.]+\]"
    assert re.search(pattern, last), last
    assert any(re.search(r"train:  \d\d%\|█+.? *\| \d+/19 \[00:0\d<00:0\d, ", bar) for bar in bars)
    assert any("valid" in bar for bar in bars)
    assert max(len(bar.replace("^C", "").rstrip()) for bar in bars) <= 100
    lines = screen_of(written).replace("^C", "").rstrip().splitlines()
    head = table([]).rstrip("\n")
    assert [line for line in lines if "epoch" in line] == [head, head]
    rows = [line for line in lines if "epoch" not in line and line.strip()]
    assert len(rows) == 4
    for number, line in enumerate(rows):
        assert re.fullmatch(rf" {{6}}{number}(?: {{4}}\d\.\d{{6}}){{3}} {{9}}\d\.\d", line)
    assert len(error.splitlines()) == 1
    assert "interrupted in epoch 4" in error


def test_a_narrow_terminal_is_never_overrun(terminal):
    out = terminal(columns=47)
    learn = digits_learner(progress=True, metrics=[accuracy])
    rows = learn.fit(0.01, 1)
    text = out.text()
    assert max(len(piece) for piece in re.split(r"[\r\n]", text)) <= 47
    lines = screen_of(text).splitlines()
    assert lines[0] == " epoch train_loss valid_loss accuracy  seconds"
    assert lines[1].split()[:2] == ["0", f"{rows[0]['train_loss']:.6f}"]
    assert len(lines[0]) == len(lines[1]) == 46


def test_a_terminal_without_block_characters_and_a_dumb_one(terminal, monkeypatch):
    out = terminal(encoding="ascii")
    digits_learner(progress=True).fit(0.01, 1)
    assert "|####" in out.text()
    out = terminal()
    monkeypatch.setenv("TERM", "dumb")
    rows = digits_learner(progress=True).fit(0.01, 1)
    assert out.text() == table(rows, ("epoch", "train_loss", "valid_loss", "seconds")).replace("\n", "\r\n")


def test_a_fit_that_goes_on_inside_an_epoch_begins_its_bar_there(terminal):
    class GoOn(Callback):
        def before_fit(self, state):
            state.start_batch = 12

    out = terminal()
    digits_learner(progress=True).fit(0.01, 1, callbacks=[GoOn()])
    text = out.text()
    seen = [int(done) for done in re.findall(r"train: +\d+%.*? (\d+)/19", text)]
    assert seen == [12, *range(13, 20)]


def test_the_rate_counts_what_was_done_since(terminal, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    out = terminal()
    with progress_bar(19, "going on", initial=12) as bar:
        now[0] += 2.0
        bar.update()
    assert "13/19 [00:02<00:12,  2.00s/batch]" in out.text()


def test_an_error_and_a_bare_fit_leave_no_bar(terminal):
    class Break(Callback):
        def after_backward(self, state):
            if state.batch_index == 7:
                raise RuntimeError("broken")

    out = terminal()
    learn = digits_learner(progress=True)
    with pytest.raises(RuntimeError, match="broken"):
        learn.fit(0.01, 1, callbacks=[Break()])
    text = out.text()
    assert screen_of(text).strip() == ""
    assert "7/19" in text
    out = terminal()
    net = DigitsNet()
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    rows = fit(net, digits_data(), 1, opt, torch.nn.functional.cross_entropy, callbacks=[Progress()])
    text = out.text()
    assert re.search(r"batch/s, loss \d\.\d+\]", text)
    assert screen_of(text) == table(rows, ("epoch", "train_loss", "valid_loss", "seconds"))


def test_the_bar_is_drawn_and_the_loss_read_a_few_times_a_second_only(terminal, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    reads = []
    monkeypatch.setattr(Progress, "_note", lambda self, state: reads.append(state.batch_index) or "")

    class Slow(Callback):
        def before_batch(self, state):
            now[0] += 0.1

    out = terminal(redraw_seconds=0.25)
    digits_learner(progress=True).fit(0.01, 1, callbacks=[Slow()])
    seen = [int(done) for done in re.findall(r"train: +\d+%.*? (\d+)/19", out.text())]
    assert seen == [0, 3, 6, 9, 12, 15, 18]
    assert reads[1:7] == [2, 5, 8, 11, 14, 17]
    assert len(reads) < 10


def test_the_table_stands_above_a_bar_of_the_caller(terminal, monkeypatch):
    monkeypatch.setattr(tqdm, "monitor_interval", 0)
    out = terminal()
    for _ in tqdm(range(2), desc="outer", file=out.file, mininterval=0):
        rows = digits_learner(progress=True).fit(0.01, 2)
    text = out.text()
    lines = [line.split("\r")[-1] for line in text.replace("\r\n", "\n").split("\n")]
    assert all(
        line in lines for line in table(rows, ("epoch", "train_loss", "valid_loss", "seconds")).split("\n")
    )
    assert lines[-2].startswith("outer: 100%")


def test_a_bar_starts_no_thread_and_leaves_the_start_method_open():
    script = """
        import multiprocessing, os, pty, sys, threading
        ours, theirs = pty.openpty()
        sys.stdout = os.fdopen(theirs, "w")
        from zoo.callbacks.progress import progress_bar
        before = threading.active_count()
        with progress_bar(3, "reading") as bar:
            assert not bar.disable
            assert threading.active_count() == before
        multiprocessing.set_start_method("spawn")
    """
    pytest.importorskip("pty", reason="this platform has no pseudo-terminals")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, cwd=ROOT, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_narrow_columns_still_hold_their_names():
    names = ["epoch", "train_loss", "valid_loss", "a_metric_with_quite_a_long_name", "seconds"]
    for room in (None, 1000, 60, 1):
        assert all(width > len(name) or name == "epoch" for name, width in column_widths(names, room).items())


# -- a notebook


def test_a_notebook_shows_the_table_and_a_bar_that_goes_away(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipywidgets")
    fit = "rows = learn.fit(0.01, 2)"
    codes = [
        'import sys; sys.modules["ipywidgets"] = None',  # as if it were missing
        textwrap.dedent(SCRIPT),
        "print(rows)",
        'del sys.modules["ipywidgets"]',
        fit,
        "print(rows)",
        "learn.fit(0.01, 2, callbacks=[Stop()])",
    ]
    codes[3] += textwrap.dedent("""
        class Stop(Callback):
            def after_backward(self, state):
                if state.batch_index == 7:
                    raise KeyboardInterrupt
    """)
    source, target = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    cells = [nbformat.v4.new_code_cell(code) for code in codes]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), source)
    runner = f"""
        import json, nbclient, nbformat
        seen = {{}}

        class Client(nbclient.NotebookClient):
            def process_message(self, msg, cell, cell_index):
                seen.setdefault(str(cell_index), []).append(json.dumps(msg["content"], ensure_ascii=False))
                return super().process_message(msg, cell, cell_index)

        notebook = nbformat.read({str(source)!r}, 4)
        place = {{"metadata": {{"path": {str(ROOT)!r}}}}}
        Client(notebook, timeout=120, kernel_name="python3", resources=place).execute()
        notebook.metadata["seen"] = seen
        nbformat.write(notebook, {str(target)!r})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(runner)],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    notebook = nbformat.read(target, 4)
    for number in (1, 4):
        outputs = notebook.cells[number].outputs
        bars = [output for output in outputs if output.output_type == "display_data"]
        streams = [output for output in outputs if output.output_type != "display_data"]
        assert bars
        assert all(bar.data == {"text/plain": ""} for bar in bars)
        assert {stream.get("name") for stream in streams} == {"stdout"}
        rows = eval(notebook.cells[number + 1].outputs[0].text, {"__builtins__": {}})
        assert "".join(stream.text for stream in streams) == table(rows)
    text, widget, stopped = (notebook.metadata.seen[number] for number in "146")
    pattern = r"epoch 1 \(2/2\) train: +\d+%\|.*\| \d+/19 \[.*batch/s, loss [\d.]+\]"
    assert any(re.search(pattern, message) for message in text)
    assert any("valid:" in message for message in text)
    assert any("FloatProgressModel" in message for message in widget)
    assert any(re.search(r"\d+/19\s\[.*batch/s,\sloss\s[\d.]+\]", message) for message in widget)
    # one that is interrupted goes away as well
    assert any("7/19" in message for message in stopped)
    bar, *streams = notebook.cells[6].outputs
    assert bar.data == {"text/plain": ""}
    assert "interrupted in epoch" in "".join(stream.get("text", "") for stream in streams)


def test_the_finder_shows_a_bar_and_leaves_nothing(terminal):
    learn = digits_learner(progress=True)
    screen = terminal()
    found = learn.lr_find(num_it=20)
    text = screen.text()
    assert "lr_find" in text
    assert f"{len(found.lrs)}/20" in text
    assert screen_of(text).strip() == ""
