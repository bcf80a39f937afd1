"""The rules of the house that no linter checks by itself."""

import subprocess
import sys
from pathlib import Path

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
