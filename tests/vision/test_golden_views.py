"""The pixels of validation stay what they are."""

from pathlib import Path

import numpy as np
import pytest

from tests.vision import golden

KEPT = np.load(Path(__file__).with_name("golden_validation.npz"))


@pytest.mark.parametrize("case", golden.CASES)
def test_validation_pictures_are_those_of_all_versions(case: str) -> None:
    np.testing.assert_array_equal(golden.pixels(case), KEPT[case])
