"""What appears in a real Jupyter kernel: figures without any magic, and nothing below a fit's table."""

import sys
import textwrap

import pytest
import torch
from torch import nn

from tests.core.helpers import digits_learner
from zoo import Learner, ModelData, TensorLoader
from zoo.inspect.plots import figure
from zoo.training.rows import EpochRows

SETUP = """
    import torch, zoo
    from torch import nn
    x = torch.randn(64, 4)
    loader = zoo.TensorLoader(x, (x.sum(1) > 0).long(), bs=16)
    learn = zoo.Learner(zoo.ModelData(loader, loader), nn.Linear(4, 2), device="cpu", path={path!r})
    zoo_rows = None
"""
CELLS = {
    "setup": SETUP,
    "fit": "learn.fit(0.1, 2)",
    "last expression": "learn.sched.plot_loss(skip_start=2)",
    "mid-cell": "figure = learn.sched.plot_lr(); print('after')",
    "in a function": "def draw():\n    learn.sched.plot_loss()\nfor _ in range(2): draw()",
    "shown at once": "learn.sched.plot_loss().show(); print('after')",
    "later": "figure",
    "load": "learn.save('w'); learn.load('w')",
    "repr": "learn",
    "kept": "rows = learn.fit(0.1, 1); rows",
    "rows": "rows",
    "magic": "%matplotlib inline\nlearn.sched.plot_loss()",
    "magic mid-cell": "learn.sched.plot_loss(); None",
    "error": "learn.sched.plot_loss(); 1 / 0",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Outputs of each cell of a fresh kernel: the kind, and the formats or the text."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    folder = tmp_path_factory.mktemp("notebook")
    sources = [textwrap.dedent(source).format(path=str(folder)) for source in CELLS.values()]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    source, target = folder / "in.ipynb", folder / "out.ipynb"
    nbformat.write(notebook, source)
    code = (
        "import nbclient, nbformat\n"
        f"book = nbformat.read({str(source)!r}, 4)\n"
        "nbclient.NotebookClient(book, timeout=120, kernel_name='python3', allow_errors=True).execute()\n"
        f"nbformat.write(book, {str(target)!r})\n"
    )
    assert nbclient
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {}
    for name, cell in zip(CELLS, nbformat.read(target, 4).cells, strict=True):
        found[name] = [
            sorted(one.data) if "data" in one else one.get("text", one.get("ename")) for one in cell.outputs
        ]
    assert found["setup"] == []
    return found


def pictures(cell):
    return sum("image/png" in output for output in cell if isinstance(output, list))


@pytest.mark.parametrize(
    "cell", ["last expression", "mid-cell", "shown at once", "later", "magic", "magic mid-cell", "error"]
)
def test_a_figure_appears_exactly_once(outputs, cell):
    assert pictures(outputs[cell]) == 1


def test_figures_made_in_functions_appear(outputs):
    assert pictures(outputs["in a function"]) == 2
    assert outputs["shown at once"][-1] == "after\n"
    assert outputs["mid-cell"][0] == "after\n"


def test_nothing_is_printed_below_the_table_of_a_fit(outputs):
    for cell in ("fit", "kept"):
        texts = [output for output in outputs[cell] if isinstance(output, str)]
        assert texts
        assert texts[0].split()[:2] == ["epoch", "train_loss"]
        assert all("text/html" not in output and "{" not in output for output in outputs[cell])
    assert "text/html" in outputs["rows"][0]  # a frame, when it is asked for
    assert outputs["load"] == []
    assert "layer groups" in outputs["repr"][0] or "Learner of Linear" in outputs["repr"][0]


def test_rows_of_a_fit_are_a_list_of_dicts():
    learn = digits_learner()
    rows = learn.fit(0.01, 1) + learn.fit(0.01, 1)
    assert isinstance(rows, EpochRows)
    assert rows == learn.history
    assert repr(rows) == repr(learn.history)
    assert [row["epoch"] for row in rows[:1]] == [0]


def test_figures_are_pictures_for_whatever_displays_them():
    drawn = figure()
    drawn.add_subplot().plot([1, 2])
    assert drawn._repr_png_().startswith(b"\x89PNG")
    assert drawn._repr_mimebundle_() == {}
    with pytest.warns(UserWarning, match=r"no window .*backend is '[aA]gg'.*savefig"):
        drawn.show()


def test_ends_of_curves_may_be_left_out():
    learn = digits_learner()
    learn.lr_find(num_it=20)
    learn.fit(0.01, 1)
    (line, *_) = learn.sched.plot(5, skip_end=3).axes[0].lines
    assert line.get_xdata().tolist() == learn.sched.finder.lrs[5:-3]
    (line, *_) = learn.sched.plot_loss(skip_start=4).axes[0].lines
    assert line.get_xdata()[0] == 5
    assert line.get_ydata().tolist() == learn.sched.smooth_losses[4:]
    for call in (
        lambda: learn.sched.plot(30),
        lambda: learn.sched.plot_loss(-1),
        lambda: learn.sched.plot(skip_end=0.5),
    ):
        with pytest.raises(ValueError, match="skip_"):
            call()


def test_a_summary_of_modules_that_learn_their_statistics_in_the_first_batch():
    class Norm(nn.Module):
        def forward(self, x):
            if self.training:
                self.means = x.mean(0)
            return x - self.means

    x = torch.randn(8, 4)
    net = nn.Sequential(nn.Linear(4, 3), Norm())
    learn = Learner(ModelData(TensorLoader(x, x.sum(1), bs=4)), net, device="cpu")
    assert [row.shape for row in learn.summary().rows] == [(-1, 3), (-1, 3)]
    assert not hasattr(net[1], "means")
