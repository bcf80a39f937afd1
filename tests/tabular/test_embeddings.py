"""Embeddings as frames, as features of other models, and as drawings."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from tests.tabular.known import (
    KIND,
    MISSING_KIND,
    UNKNOWN_KIND,
    assert_same,
    known_frame,
    known_learner,
    state,
)
from zoo_tabular import ColumnarModelData, EmbeddingTransformer, TabularLearner, plot_embedding
from zoo_tabular.reasons.embedding_plot import embedding_plane
from zoo_tabular.reasons.embeddings import EmbeddingTables


def small(path: object) -> TabularLearner:
    """An untrained network with widths above one."""
    md = ColumnarModelData.from_data_frame(
        path, range(400, 600), known_frame(), "Sales", ["Kind", "Shade"], 64, cont_flds=["Size", "Noise"]
    )
    learn = md.get_learner([(3, 4), (2, 2)], szs=[8], progress=False, device="cpu")
    learn.model.eval()
    return learn


def test_frames_of_all_columns_with_and_without_the_reserved_rows(tmp_path) -> None:
    learn = known_learner(tmp_path)
    frames = learn.embeddings()
    assert list(frames) == ["Kind", "Shade"]
    assert frames["Kind"][0].to_dict() == KIND
    full = learn.embedding("Kind", reserved=True)
    assert full.index.tolist() == ["a", "b", "c", "(missing)", "(rare)", "(unknown)"]
    assert full[0].tolist() == [*KIND.values(), MISSING_KIND, 0.0, UNKNOWN_KIND]
    with pytest.raises(ValueError, match=r"no category column 'Kin' \(did you mean 'Kind'"):
        learn.embedding("Kin")


def test_rows_are_those_that_the_model_looks_up(tmp_path) -> None:
    learn = small(tmp_path)
    df = known_frame()[380:420].reset_index(drop=True)
    df.loc[3, "Kind"] = "never seen"
    transformer = learn.embedding_transformer()
    before = state(learn)
    given = transformer.fit_transform(df)
    assert_same(before, state(learn))
    codes, numbers = (torch.from_numpy(part) for part in learn.data.processor.transform_arrays(df))
    assert np.array_equal(given[:, :6], learn.model.embeddings(codes).detach().numpy())
    assert np.array_equal(given[:, 6:], numbers.numpy())
    assert given.dtype == np.float32
    table = learn.embedding("Kind", reserved=True).to_numpy()
    assert np.array_equal(given[3, :4], table[5])
    missing = df["Kind"].isna().to_numpy()
    assert missing.any()
    assert (given[missing, :4] == table[3]).all()


def test_a_transformer_is_a_copy_of_that_moment(tmp_path) -> None:
    learn = small(tmp_path)
    transformer = EmbeddingTransformer(learn)
    before = transformer.transform(known_frame())
    learn.fit(0.1, 1)
    assert np.array_equal(transformer.transform(known_frame()), before)
    assert not np.array_equal(EmbeddingTransformer(learn).transform(known_frame()), before)


def test_an_archive_gives_the_same(tmp_path) -> None:
    learn = small(tmp_path)
    learn.export(tmp_path / "small.zip")
    df = known_frame()
    of_file = EmbeddingTransformer(tmp_path / "small.zip", as_read=True)
    assert np.array_equal(of_file.transform(df), EmbeddingTransformer(learn, as_read=True).transform(df))


def test_options_choose_the_features(tmp_path) -> None:
    learn = small(tmp_path)
    df = known_frame()
    for options, names in (
        ({}, ["Kind_0", "Kind_1", "Kind_2", "Kind_3", "Shade_0", "Shade_1", "Size", "Noise", "Size_na"]),
        ({"columns": "Shade", "numbers": False}, ["Shade_0", "Shade_1"]),
        ({"columns": ["Shade"], "numbers": False, "codes": "rest"}, ["Shade_0", "Shade_1", "Kind"]),
        ({"columns": [], "codes": "all"}, ["Kind", "Shade", "Size", "Noise", "Size_na"]),
        ({"columns": []}, ["Size", "Noise", "Size_na"]),
    ):
        transformer = learn.embedding_transformer(**options).set_output(transform="pandas")
        frame = transformer.fit_transform(df)
        assert frame.columns.tolist() == names == transformer.get_feature_names_out().tolist()
        assert frame.index.equals(df.index)
        needed = transformer.feature_names_in_.tolist()
        assert transformer.n_features_in_ == len(needed)
        pd.testing.assert_frame_equal(transformer.transform(df[needed]), frame)
    codes = learn.embedding_transformer([], codes="all", numbers=False).transform(df)
    assert np.array_equal(codes, learn.data.processor.transform_arrays(df)[0])


def test_distances_are_those_that_the_first_layer_sees(tmp_path) -> None:
    learn = small(tmp_path)
    with torch.no_grad():
        learn.model.bn_cont.running_var[:] = torch.tensor([4.0, 0.25, 1.0])
        learn.model.bn_cont.weight[:] = torch.tensor([1.0, -3.0, 0.5])
    df = known_frame()[:50]
    given = EmbeddingTransformer(learn, as_read=True).transform(df)
    inputs = [torch.from_numpy(part) for part in learn.data.processor.transform_arrays(df)]
    seen: list[np.ndarray] = []
    learn.model.hidden[0].register_forward_hook(lambda _, args, out: seen.append(out.detach().numpy()))
    for column in (0, 1):  # one category column differs, all else is the same
        varied = inputs[0].clone()
        varied[:, 1 - column], numbers = 1, inputs[1][:1].expand(50, -1)
        learn.model(varied, numbers)
        wide = slice(0, 4) if column == 0 else slice(4, 6)
        ours = np.linalg.norm(given[0, wide] - given[:, wide], axis=1)
        assert np.allclose(ours, np.linalg.norm(seen[-1][0] - seen[-1], axis=1), atol=1e-4)
    for number in range(3):
        varied = inputs[1][:1].repeat(50, 1)
        varied[:, number] = inputs[1][:, number]
        learn.model(inputs[0][:1].expand(50, -1), varied)
        ours = np.abs(given[0, 6 + number] - given[:, 6 + number])
        assert np.allclose(ours, np.linalg.norm(seen[-1][0] - seen[-1], axis=1), atol=1e-4)


def test_other_models_learn_from_it(tmp_path) -> None:
    """A linear model of embeddings finds what the network was made of; trees and neighbours run."""
    learn = known_learner(tmp_path)
    df = known_frame()
    embed = learn.embedding_transformer()
    linear = make_pipeline(embed, LinearRegression()).fit(df[:400], df["Sales"][:400])
    assert linear.score(df[400:], df["Sales"][400:]) > 0.99
    for model in (
        HistGradientBoostingRegressor(max_iter=30),
        RandomForestRegressor(20, random_state=0),
        KNeighborsRegressor(3),
    ):
        pipeline = make_pipeline(embed, model).fit(df[:400], df["Sales"][:400])
        assert pipeline.score(df[400:], df["Sales"][400:]) > 0.5, model
    assert cross_val_score(linear, df, df["Sales"], cv=3).min() > 0.95
    search = GridSearchCV(linear, {"embeddingtransformer__numbers": [True, False]}, cv=2)
    assert search.fit(df, df["Sales"]).best_params_ == {"embeddingtransformer__numbers": True}


def test_clones_and_pickles_share_or_hold_all_they_need(tmp_path) -> None:
    transformer = EmbeddingTransformer(small(tmp_path), ["Kind"], codes="rest")
    df = known_frame()
    expected = transformer.transform(df)
    twin = clone(transformer)
    assert twin.source is transformer.source
    assert copy.deepcopy(transformer).source is transformer.source
    assert twin.get_params() == transformer.get_params()
    assert np.array_equal(twin.transform(df), expected)
    data = pickle.dumps(transformer)
    assert np.array_equal(pickle.loads(data).transform(df), expected)
    (tmp_path / "transformer.pickle").write_bytes(data)
    df.to_pickle(tmp_path / "df.pickle")
    script = (
        "import pickle, sys, pandas as pd\n"
        f"t = pickle.load(open({str(tmp_path / 'transformer.pickle')!r}, 'rb'))\n"
        f"print(t.transform(pd.read_pickle({str(tmp_path / 'df.pickle')!r})).shape, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["(600,", "8)", "False"], done.stderr


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimators_unfitted,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_set_params,
    ],
    ids=lambda check: check.__name__,
)
def test_scikit_learn_checks_that_apply(tmp_path, check) -> None:
    """Those that bring data of their own cannot: the columns are those of the network."""
    check("EmbeddingTransformer", EmbeddingTransformer(small(tmp_path)))


def test_arrays_stand_for_the_columns_in_order(tmp_path) -> None:
    transformer = small(tmp_path).embedding_transformer()
    df = known_frame()[["Kind", "Shade", "Size", "Noise"]]
    assert np.array_equal(transformer.transform(df.to_numpy(dtype=object)), transformer.transform(df))
    import pyarrow as pa

    assert np.array_equal(
        transformer.transform(pa.Table.from_pandas(known_frame())), transformer.transform(df)
    )
    with pytest.raises(ValueError, match="an array of 4 columns"):
        transformer.transform(np.zeros((3, 2)))


def test_bad_arguments(tmp_path) -> None:
    learn = small(tmp_path)
    df = known_frame()
    for make, message in (
        (
            lambda: EmbeddingTransformer(learn, ["Shad"]).fit(df),
            r"no category column 'Shad' \(did you mean 'Shade'",
        ),
        (lambda: EmbeddingTransformer(learn, codes="some").fit(df), "codes must be one of none, rest, all"),
        (lambda: EmbeddingTransformer(learn, [], numbers=False).fit(df), "nothing is left to give"),
        (lambda: EmbeddingTransformer(learn).fit(df.drop(columns="Shade")), "no column 'Shade'"),
        (lambda: EmbeddingTransformer(learn).transform(df[:0]), "no rows"),
        (
            lambda: EmbeddingTransformer(learn).get_feature_names_out(["Kind"]),
            "input_features has no 'Shade'",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="a learner of a table or the path of an exported one, got int"):
        EmbeddingTransformer(3)


def test_names_that_meet_are_refused(tmp_path) -> None:
    df = known_frame().rename(columns={"Size": "Shade_1"})
    md = ColumnarModelData.from_data_frame(tmp_path, None, df, "Sales", ["Shade"], 64, cont_flds=["Shade_1"])
    learn = md.get_learner([(2, 2)], szs=[4], device="cpu")
    with pytest.raises(ValueError, match="two features would be called Shade_1"):
        learn.embedding_transformer().fit(df)


def test_tables_of_numbers_alone_and_models_of_other_kinds(tmp_path) -> None:
    df = known_frame()
    md = ColumnarModelData.from_data_frame(tmp_path, None, df, "Sales", [], 64, cont_flds=["Size", "Noise"])
    learn = md.get_learner(szs=[4], device="cpu")
    assert learn.embeddings() == {}
    assert learn.embedding_transformer().transform(df).shape == (600, 3)
    small_learn = small(tmp_path)
    other = TabularLearner(small_learn.data, torch.nn.Linear(2, 1), device="cpu")
    with pytest.raises(TypeError, match="Linear has no embedding tables"):
        other.embedding("Kind")


def test_levels_in_the_plane(tmp_path) -> None:
    learn = small(tmp_path)
    plane, shares = embedding_plane(learn, "Kind")
    counts = known_frame()["Kind"][:400].value_counts()
    assert plane["weight"].to_dict() == {level: counts[level] for level in "abc"}
    assert sum(shares) == pytest.approx(1)  # three points lie in a plane
    table = learn.embedding("Kind").to_numpy()
    for i in range(3):  # so all distances are kept
        ours = np.hypot(plane["x"] - plane["x"].iloc[i], plane["y"] - plane["y"].iloc[i])
        assert np.allclose(ours, np.linalg.norm(table - table[i], axis=1), atol=1e-5)
    mean = np.average(plane[["x", "y"]], axis=0, weights=plane["weight"])
    assert np.allclose(mean, 0, atol=1e-6)
    heavy, _ = embedding_plane(learn, "Kind", weights={"a": 1e9, "b": 1, "c": 1})
    assert np.allclose(heavy.loc["a", ["x", "y"]].to_numpy(dtype=float), 0, atol=1e-6)
    near, none = embedding_plane(learn, "Kind", method="tsne", df=None)
    assert none is None
    assert len(near) == 3


def test_levels_by_what_the_network_answers(tmp_path) -> None:
    learn = known_learner(tmp_path)
    plane, shares = embedding_plane(learn, "Kind", of="answers")
    assert shares[0] == pytest.approx(1, abs=1e-6)  # a linear model: levels lie on a line, by their effect
    steps = plane["x"].diff().dropna().abs()
    assert steps["c"] / steps["b"] == pytest.approx(2, rel=1e-3)
    learn.export(tmp_path / "known.zip")
    again, _ = embedding_plane(tmp_path / "known.zip", "Kind", of="answers", df=known_frame()[400:])
    assert np.allclose(np.abs(again["x"].diff().dropna()), steps, rtol=1e-3)
    with pytest.raises(ValueError, match="no validation rows"):
        embedding_plane(tmp_path / "known.zip", "Kind", of="answers")


def test_drawings_have_names_and_shares(tmp_path) -> None:
    learn = small(tmp_path)
    axes = learn.plot_embedding("Kind", {"a": "first"}, connect=True)
    assert sorted(text.get_text() for text in axes.texts) == ["b", "c", "first"]
    assert "% of the variance)" in axes.get_xlabel()
    assert "Kind" in axes.get_title()
    axes.get_figure().canvas.draw()
    assert plot_embedding(learn, "Kind", max_names=1, ax=axes) is axes
    for options, message in (
        ({"names": ["one"]}, "1 names for the 3 levels"),
        ({"weights": {"a": 1}}, "no value for the level 'b'"),
        ({"weights": {"a": 1, "b": -1, "c": 1}}, "at least 0"),
        ({"method": "umap"}, "method must be 'pca' or 'tsne'"),
        ({"of": "answer"}, "of must be 'vectors' or 'answers'"),
    ):
        with pytest.raises(ValueError, match=message):
            plot_embedding(learn, "Kind", **options)


def test_one_level_has_no_plane_and_one_dimension_has_a_line(tmp_path) -> None:
    df = known_frame().assign(Kind="a", Shade=lambda one: one["Shade"])
    md = ColumnarModelData.from_data_frame(
        tmp_path, None, df, "Sales", ["Kind", "Shade"], 64, cont_flds=["Size"]
    )
    learn = md.get_learner([(1, 2), (2, 1)], szs=[4], device="cpu")
    with pytest.raises(ValueError, match="'Kind' has 1 level"):
        embedding_plane(learn, "Kind")
    plane, shares = embedding_plane(learn, "Shade")
    assert plane["y"].tolist() == [0.0, 0.0]
    assert shares == (1.0, 0.0)


def test_repr_names_the_columns(tmp_path) -> None:
    tables = EmbeddingTables.of(small(tmp_path))
    assert repr(tables) == "EmbeddingTables(Kind 4, Shade 2)"
    assert EmbeddingTables.of(tables) is tables


def test_whole_frames_pass_where_the_network_refuses_other_columns(tmp_path) -> None:
    learn = small(tmp_path)
    learn.data.processor.extra = "error"
    transformer = learn.embedding_transformer(["Shade"], numbers=False)
    assert transformer.fit_transform(known_frame()).shape == (600, 2)


def test_principal_components_are_drawn_to_scale(tmp_path) -> None:
    """Distances can only be compared where both axes have one scale."""
    axes = plot_embedding(small(tmp_path), "Kind")
    axes.get_figure().canvas.draw()
    box = axes.get_window_extent()
    assert np.ptp(axes.get_xlim()) / box.width == pytest.approx(np.ptp(axes.get_ylim()) / box.height)


def test_equal_weights_are_told_on_the_drawing(tmp_path) -> None:
    """An exported learner does not know how common its levels were."""
    learn = small(tmp_path)
    learn.export(tmp_path / "small.zip")
    words = "all levels count the same"
    assert words in plot_embedding(tmp_path / "small.zip", "Kind").get_title()
    assert words not in learn.plot_embedding("Kind").get_title()
    weights = {"a": 3, "b": 2, "c": 1}
    assert words not in plot_embedding(tmp_path / "small.zip", "Kind", weights=weights).get_title()
