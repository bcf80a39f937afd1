"""Constructors of tables name the options that they share, and refuse those that do not exist."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pytest

from zoo_tabular import AutoencoderData, ColumnarModelData, TabularClassifier, TabularRegressor
from zoo_tabular.data.options import TABLE_DEFAULTS

DF = pd.DataFrame({"Kind": list("abab"), "Size": range(4), "Sales": [1.0, 2.0, 4.0, 3.0]})
MAKERS = ("from_data_frame", "from_data_frames", "from_arrays", "from_parquet")


@pytest.mark.parametrize("name", MAKERS)
def test_signature_and_help_name_every_option(name: str) -> None:
    made = getattr(ColumnarModelData, name)
    found = inspect.signature(made).parameters
    for option, default in (TABLE_DEFAULTS | {"target_transform": None}).items():
        assert found[option].kind is inspect.Parameter.KEYWORD_ONLY
        assert found[option].default == default
    text = inspect.getdoc(made)
    assert text is not None
    for option in TABLE_DEFAULTS:
        assert f"    {option}: " in text
    assert "options" not in found


def test_learners_of_tables_name_every_option_of_learner() -> None:
    for made in (ColumnarModelData.get_learner, AutoencoderData.get_autoencoder):
        found = inspect.signature(made).parameters
        assert (found["wd"].default, found["precision"].default, found["progress"].default) == (
            None,
            "auto",
            True,
        )
        assert "    opt_fn: optimizer class" in str(inspect.getdoc(made))


def test_unknown_names_are_refused_with_the_near_miss(tmp_path) -> None:
    near = "an unexpected keyword argument 'min_counts' \\(did you mean 'min_count'"
    with pytest.raises(TypeError, match=near):
        ColumnarModelData.from_data_frame(tmp_path, None, DF, "Sales", ["Kind"], min_counts=2)  # type: ignore
    with pytest.raises(TypeError, match=near):
        ColumnarModelData.from_arrays(tmp_path, None, np.ones((4, 1)), np.ones(4), min_counts=2)  # type: ignore
    data = ColumnarModelData.from_data_frame(tmp_path, None, DF, "Sales", ["Kind"], 2)
    with pytest.raises(TypeError, match=r"get_learner\(\) got .* 'metric' \(did you mean 'metrics'"):
        data.get_learner(metric=[])  # type: ignore
    rows = AutoencoderData.from_frame(tmp_path, None, DF, ["Kind"], 2)
    with pytest.raises(TypeError, match=r"get_autoencoder\(\) got .* 'sed' \(did you mean 'seed'"):
        rows.get_autoencoder(2, [4], sed=1)  # type: ignore


def test_the_seed_of_an_autoencoder_is_that_of_its_first_weights(tmp_path) -> None:
    rows = AutoencoderData.from_frame(tmp_path, None, DF, ["Kind"], 2)
    one, other = (rows.get_autoencoder(2, [4], seed=3, device="cpu").model.state_dict() for _ in range(2))
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize("kind", [TabularRegressor, TabularClassifier])
def test_estimators_may_be_given_constructors_of_their_own(kind: type) -> None:
    class Wide(kind):
        def __init__(self, factor: int = 2) -> None:
            super().__init__(szs=(100 * factor,), verbose=True)
            self.factor = factor

    made = Wide(3)
    assert (made.szs, made.verbose, made.cat_flds, made.factor) == ((300,), True, "auto", 3)
    assert made.get_params() == {"factor": 3}
