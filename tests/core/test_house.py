"""The rules of the house that no linter checks by itself."""

import importlib
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_importing_zoo_is_light_and_its_names_exist():
    code = (
        "import sys, zoo; assert 'torch' not in sys.modules; assert 'Learner' in dir(zoo);"
        "missing = [name for name in zoo.__all__ if not hasattr(zoo, name)]; assert not missing, missing"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_there_is_one_training_loop():
    with_backward = [
        str(file.relative_to(ROOT))
        for package in ("zoo", "zoo_tabular", "zoo_text", "zoo_collab")
        for file in (ROOT / package).rglob("*.py")
        if ".backward()" in file.read_text(encoding="utf8")
    ]
    assert with_backward == ["zoo/engine/loop.py"]


@pytest.mark.parametrize(
    "package", ["zoo", "zoo.vision", "zoo.metrics", "zoo_tabular", "zoo_text", "zoo_collab"]
)
def test_a_star_import_puts_no_module_over_the_users_variables(package):
    names = {"data": "mine", "learner": "mine", "models": "mine", "images": "mine"}
    exec(f"from {package} import *", names)  # noqa: S102
    assert [names[name] for name in ("data", "learner", "models", "images")] == ["mine"] * 4
    public = importlib.import_module(package).__all__
    brought = [name for name in public if isinstance(names[name], types.ModuleType)]
    assert not set(brought) & {"data", "learner", "models", "images", "augment", "ids", "recommend"}


def test_features_are_saved_by_a_name_of_the_vision_package():
    from zoo.inspect.hooks import SaveFeatures as ours
    from zoo.vision import SaveFeatures

    assert SaveFeatures is ours
