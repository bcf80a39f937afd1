"""What importing the text package costs."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_package_and_making_a_field_loads_no_torch_and_no_spacy() -> None:
    code = (
        "import sys, zoo_text\n"
        "field = zoo_text.Field(tokenize='whitespace')\n"
        "field.build_vocab(['a b'])\n"
        "print([name for name in ('torch', 'spacy', 'pandas') if name in sys.modules])"
    )
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == "[]"


def test_the_tokens_need_no_torch() -> None:
    code = (
        "import sys\n"
        "from zoo_text.tokens import corpus, english, tokenize, vocab\n"
        "corpus.encode_texts(['a b'], vocab.Field(tokenize='whitespace').counter())\n"
        "print('torch' in sys.modules)"
    )
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == "False"
