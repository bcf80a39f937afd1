"""Pairs without ratings: what is drawn against them, what is lost, what is learned through the one loop."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zoo import Ensemble, load_learner
from zoo_collab import (
    BPRLoss,
    CollabFilterDataset,
    RankingMetrics,
    SampledBCELoss,
    SampledSoftmaxLoss,
    by_user,
    by_user_time,
    leave_one_out,
)
from zoo_collab.data.negatives import SampledNegatives
from zoo_collab.pairs.seen import SeenPairs


def tastes(n: int = 3000, seed: int = 0) -> pd.DataFrame:
    """Users of two tastes, films of two kinds, some of them popular."""
    rng = np.random.default_rng(seed)
    who, film = rng.integers(0, 60, n), (rng.random(n) ** 2 * 80).astype(int)
    alike = ((who + film) % 2 == 0) | (rng.random(n) < 0.1)
    frame = pd.DataFrame({"who": who[alike], "film": film[alike], "when": np.arange(alike.sum())})
    return frame.drop_duplicates(["who", "film"], ignore_index=True)


@pytest.fixture(scope="module")
def table() -> CollabFilterDataset:
    return CollabFilterDataset(".", tastes(), "who", "film", time_col="when")


def test_negatives_are_never_what_the_user_has_taken_and_stand_for_all_items() -> None:
    seen = SeenPairs.from_pairs(np.array([1, 1, 1, 2]), np.array([1, 2, 3, 4]), 3)
    draw = SampledNegatives(seen, 6, 400, flat=False)
    batch = torch.tensor([1, 2, 2]), torch.tensor([1, 4, 0]), torch.tensor([2.0, 1.0, 1.0])
    users, items, negatives, weights = draw(batch, True, torch.Generator().manual_seed(0))
    assert (users.tolist(), items.tolist()) == ([1, 2, 2], [1, 4, 0])
    assert negatives.unique().tolist() == [1, 2, 3, 4, 5]
    assert weights[:, 0].tolist() == [2.0, 1.0, 0.0]  # an unknown item says nothing
    counted = weights[:, 1:] > 0
    assert negatives[counted[0]].unique().tolist() == [4, 5]
    assert negatives[counted[1]].unique().tolist() == [1, 2, 3, 5]
    assert weights[1, 1:].sum().item() == pytest.approx(4, rel=0.1)  # four items that were not taken
    with pytest.raises(
        ValueError, match="negatives is how many items are drawn for a batch, 1 or more, not 0"
    ):
        SampledNegatives(seen, 6, 0)


def test_a_held_out_item_is_no_negative_of_its_own_row() -> None:
    seen = SeenPairs.from_pairs(np.array([1]), np.array([1]), 2)
    draw = SampledNegatives(seen, 5, 200, flat=False)
    batch = torch.tensor([1, 1]), torch.tensor([2, 3]), torch.ones(2)
    *_, negatives, weights = draw(batch, False, torch.Generator())
    assert [negatives[row > 0].unique().tolist() for row in weights[:, 1:]] == [[3, 4], [2, 4]]


def test_one_draw_in_two_shapes() -> None:
    seen = SeenPairs.from_pairs(np.array([1, 2]), np.array([1, 4]), 3)
    batch = torch.tensor([1, 2]), torch.tensor([1, 4]), torch.ones(2)
    found = [
        SampledNegatives(seen, 6, 3, flat=flat)(batch, True, torch.Generator().manual_seed(5))
        for flat in (True, False)
    ]
    users, items, target = found[0]
    *_, negatives, same = found[1]
    assert torch.equal(target, same)
    assert users.tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    assert items.reshape(2, 4).tolist() == [[1, *negatives.tolist()], [4, *negatives.tolist()]]


def test_draws_depend_on_seed_epoch_and_batch_alone(table) -> None:
    from zoo.data.loaders.batches import device_batches

    def drawn(seed: int, epoch: int, train: bool = True) -> list[list[int]]:
        data = table.get_data(leave_one_out(seed=1), 256, negatives=5, seed=seed)
        loader = data.train_dl if train else data.valid_dl
        loader.batch_transform.flat = False
        loader.set_epoch(epoch)
        return [batch[2].tolist() for batch in device_batches(loader, torch.device("cpu"), training=train)]

    first = drawn(0, 0)
    assert first == drawn(0, 0)
    assert first[0] != first[1]
    assert first != drawn(0, 1)
    assert first != drawn(1, 0)
    assert drawn(0, 0, train=False) == drawn(3, 7, train=False)  # judged by the same ones


def test_losses_are_their_formulas() -> None:
    torch.manual_seed(0)
    scores, weights = torch.randn(5, 4), torch.tensor([[1.0, 2.0, 2.0, 2.0]]).repeat(5, 1)
    weights[1, 2] = 0
    weights[:, 0] = torch.tensor([1.0, 1, 3, 1, 0])
    share = weights[:, 0] / weights[:, 0].sum()

    def check(loss: nn.Module, rows: list[torch.Tensor]) -> None:
        expected = (torch.stack(rows) * share).sum()
        assert torch.allclose(loss(scores, weights), expected)
        assert torch.allclose(loss(scores.flatten(), weights), expected)  # as models without negatives answer

    kept = [[j for j in (1, 2, 3) if weights[i, j] > 0] for i in range(5)]
    pairs = [torch.stack([-F.logsigmoid(scores[i, 0] - scores[i, j]) for j in kept[i]]) for i in range(5)]
    check(BPRLoss(), [row.mean() for row in pairs])
    against = [torch.stack([-F.logsigmoid(-scores[i, j]) for j in kept[i]]).mean() for i in range(5)]
    check(SampledBCELoss(3.0), [-F.logsigmoid(scores[i, 0]) + 3 * against[i] for i in range(5)])
    softmax = [
        torch.log(scores[i, 0].exp() + sum(2 * scores[i, j].exp() for j in kept[i])) - scores[i, 0]
        for i in range(5)
    ]
    check(SampledSoftmaxLoss(), softmax)
    with pytest.raises(ValueError, match="negatives is the weight of the items that were not taken, not 0"):
        SampledBCELoss(0)


@pytest.mark.parametrize("loss", [None, SampledSoftmaxLoss(), SampledBCELoss()])
def test_lists_are_learned_through_the_one_loop(table, loss) -> None:
    learn = table.get_learner(8, by_user_time(share=0.2), seed=0, progress=False, loss_fn=loss)
    assert isinstance(learn.loss_fn, BPRLoss if loss is None else type(loss))
    rows = learn.fit_one_cycle(8, 3e-2)
    popular = table.compare(by_user_time(share=0.2), k=10, models="popularity").table["ndcg@10"].item()
    assert rows[-1]["ndcg@10"] > popular + 0.03
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    found = learn.recommend([3, 4], n=5)
    assert list(found) == ["user", "rank", "item", "title", "score", "known_user"]
    assert (found["item"] % 2 == found["user"] % 2).mean() >= 0.9  # their tastes


@pytest.mark.parametrize("kind", ["net", "own"])
def test_other_models_get_pairs(table, kind, tmp_path) -> None:
    class Own(nn.Module):
        def __init__(self, n_users: int, n_items: int) -> None:
            super().__init__()
            self.users, self.items = nn.Embedding(n_users, 4), nn.Embedding(n_items, 4)

        def forward(self, users, items):
            return (self.users(users) * self.items(items)).sum(1)

    data = table.get_data(leave_one_out(seed=1))
    options = {"hidden": [16]} if kind == "net" else {"model": Own(len(data.users), len(data.items))}
    learn = table.get_learner(8, leave_one_out(seed=1), negatives=20, seed=0, progress=False, **options)
    rows = learn.fit_one_cycle(4, 1e-2)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert learn.predict().shape == (len(data.valid_dl.tensors[0]),)
    assert len(learn.recommend(3, n=4)) == 4


def test_it_goes_on_bit_for_bit(table, tmp_path) -> None:
    def learner():
        learn = table.get_learner(4, leave_one_out(seed=1), seed=0, progress=False, path=tmp_path)
        return learn

    whole, parts = learner(), learner()
    whole.fit(1e-2, 2)
    parts.fit(1e-2, 1)
    parts.fit(1e-2, 1)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, parts.model.state_dict()[name]), name


def test_export_keeps_what_lists_need(table, tmp_path) -> None:
    learn = table.get_learner(4, leave_one_out(seed=1), seed=0, progress=False)
    learn.fit(1e-2, 1)
    learn.export(tmp_path / "pairs.zoo")
    again = load_learner(tmp_path / "pairs.zoo")
    assert again.data.task == "implicit"
    assert torch.equal(again.data.weights, learn.data.weights)
    pd.testing.assert_frame_equal(again.recommend([1, 2], 3), learn.recommend([1, 2], 3))
    assert learn.predict_one((1, 2)) == again.predict_one((1, 2))  # a score, cut off nowhere


def test_weights_count_and_repeats_add_up() -> None:
    frame = pd.DataFrame({"who": [1, 1, 2, 1], "song": [7, 8, 7, 7], "heard": [2.0, 1, 5, 3]})
    counted = CollabFilterDataset(".", frame, "who", "song", weight_col="heard")
    data = counted.get_data()
    assert dict(zip(data.seen.items.tolist(), data.weights.tolist(), strict=True)).keys() == {1, 2}
    assert data.weights.tolist() == [5.0, 1.0, 5.0]
    assert sorted(data.train_dl.tensors[2].tolist()) == [1, 2, 3, 5]
    summed = CollabFilterDataset(".", frame, "who", "song", weight_col="heard", duplicates="sum")
    assert summed.ratings.tolist() == [1.0, 5.0, 5.0]
    assert summed.given.tolist() == [1, 2, 3]
    assert data.show_batch(4)["weight"].sum() == 11
    plain = CollabFilterDataset(".", frame, "who", "song").get_data()
    assert plain.weights.tolist() == [2.0, 1.0, 1.0]  # a row each
    with pytest.raises(ValueError, match=r"'heard' holds the weight -1 in row 2; a pair counts more than 0"):
        CollabFilterDataset(".", frame.assign(heard=[2, 1, -1, 3]), "who", "song", weight_col="heard")


def test_ratings_without_their_ratings() -> None:
    frame = tastes().assign(stars=lambda rows: 1.0 + rows["film"] % 5)
    table = CollabFilterDataset(".", frame, "who", "film", "stars", time_col="when")
    liked = table.implicit(relevant=4)
    assert len(liked) == (frame["stars"] >= 4).sum()
    assert liked.ratings.tolist() == [1.0] * len(liked)
    held = [int(row) for row in np.flatnonzero(frame["stars"] == 5)[:10]]
    tensors = liked.get_data(held).valid_dl.tensors
    assert len(tensors[0]) == 10
    assert len(table) == len(frame)  # as it was
    assert table.columns[2] == "stars"
    with pytest.raises(ValueError, match=r"no rating is 6 or more; the highest is 5"):
        table.implicit(relevant=6)
    with pytest.raises(ValueError, match="implicit already"):
        liked.implicit()
    for wrong, told in (
        ({"negatives": 3}, r"negatives= belongs to pairs without ratings.*table.implicit\(\)"),
    ):
        with pytest.raises(ValueError, match=told):
            table.get_data(**wrong)
    with pytest.raises(ValueError, match="y_range= belongs to ratings"):
        liked.get_data(y_range=(0, 5))
    with pytest.raises(ValueError, match="rating_range= belongs to ratings"):
        CollabFilterDataset(".", frame, "who", "film", rating_range=(0, 5))
    with pytest.raises(ValueError, match="weight_col='when' says how much a pair without a rating counts"):
        CollabFilterDataset(".", frame, "who", "film", "stars", weight_col="when")
    with pytest.raises(ValueError, match="duplicates='sum' adds up weights, and these are ratings"):
        CollabFilterDataset(".", frame, "who", "film", "stars", duplicates="sum")


def test_lists_are_judged_unless_somebody_else_does(table) -> None:
    assert [type(part).__name__ for part in table.get_learner(4, leave_one_out(seed=1)).callbacks] == [
        "RankingMetrics"
    ]
    own = RankingMetrics(5)
    assert table.get_learner(4, leave_one_out(seed=1), callbacks=[own]).callbacks == [own]
    assert table.get_learner(4).callbacks == []


def test_crossed_pairs_are_those_that_are_held(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    seen = SeenPairs.from_pairs(rng.integers(1, 9, 40), rng.integers(1, 12, 40), 9)
    users, items = torch.tensor([0, 3, 8, 3]), torch.tensor([0, 1, 11, 5, 20])
    expected = [[item in seen.of(user).tolist() for item in items.tolist()] for user in users.tolist()]
    assert seen.crossed(users, items).tolist() == expected
    monkeypatch.setattr("zoo_collab.pairs.seen._CELLS", 1)
    assert seen.crossed(users, items).tolist() == expected
    assert SeenPairs.none(9).crossed(users, items).any().item() is False


def test_scores_with_negatives_are_those_of_pairs() -> None:
    from zoo_collab import EmbeddingDotBias

    model = EmbeddingDotBias(7, 9, 3, mean=0.3)
    for table in (model.user_factors, model.item_factors, model.user_bias, model.item_bias):
        nn.init.normal_(table.weight)
    users, items, negatives = torch.tensor([1, 4]), torch.tensor([2, 8]), torch.tensor([3, 2, 5])
    found = model(users, items, negatives)
    for row in range(2):
        asked = torch.cat([items[row : row + 1], negatives])
        torch.testing.assert_close(found[row], model(users[row].repeat(4), asked))


def test_there_is_no_rating_to_plot(table) -> None:
    with pytest.raises(ValueError, match=r"pairs without ratings have no truth.*evaluate_ranking\(\)"):
        table.get_learner(4, leave_one_out(seed=1)).plot_predictions()


def test_whole_users_may_be_held_out(table) -> None:
    # no pair of theirs can be in a list, so there is nothing to judge after an epoch
    learn = table.get_learner(4, by_user(0.1), seed=0, progress=False)
    assert learn.callbacks == []
    (row,) = learn.fit(1e-2, 1)
    assert row["valid_loss"] > 0
    assert learn.fit_als() == {}
    assert len(learn.recommend_for([1, 3], n=2)) == 2


def test_losses_of_pairs_are_refused_for_ratings() -> None:
    frame = tastes().assign(stars=lambda rows: 1.0 + rows["film"] % 5)
    rated = CollabFilterDataset(".", frame, "who", "film", "stars")
    with pytest.raises(ValueError, match=r"BPRLoss is of pairs without ratings, and column 'stars' holds"):
        rated.get_learner(4, loss_fn=BPRLoss())


@pytest.mark.parametrize("hidden", [None, [8]])
@pytest.mark.parametrize("is_test", [False, True])
def test_predictions_are_one_score_a_pair(table, hidden, is_test) -> None:
    asked = pd.DataFrame({"who": [3, 4, -1], "film": [5, 6, 7]})
    options = {"test_df": asked, "hidden": hidden, "seed": 0, "progress": False}
    learn = table.get_learner(4, leave_one_out(seed=1), **options)
    learn.fit(1e-2, 1)
    users, items, weights = (learn.data.test_dl if is_test else learn.data.valid_dl).tensors
    found = learn.predict(is_test)
    assert found.shape == (len(users),)
    np.testing.assert_allclose(found, learn.predict_array((users, items)), rtol=1e-5, atol=1e-6)
    if not is_test:
        scores, targets = learn.predict_with_targs()
        assert np.array_equal(scores, found)
        assert np.array_equal(targets.reshape(-1), weights.numpy().reshape(-1))
        assert learn.evaluate()["valid_loss"] > 0  # the loss still has its negatives


@pytest.mark.parametrize("relevant", ["4", float("nan"), True])
def test_what_counts_as_liked_is_a_number(relevant) -> None:
    frame = tastes().assign(stars=lambda rows: 1.0 + rows["film"] % 5)
    rated = CollabFilterDataset(".", frame, "who", "film", "stars")
    with pytest.raises(ValueError, match="relevant is the lowest rating that counts as liked, a number, not"):
        rated.implicit(relevant)
    with pytest.raises(ValueError, match="relevant is the lowest rating that counts as liked, a number, not"):
        rated.get_learner(4, leave_one_out(seed=0)).evaluate_ranking(relevant=relevant)


@pytest.mark.parametrize("weight", [1e38, 2e30, 5e-31, 1e-50])
def test_weights_whose_sums_would_leave_the_range_of_numbers_are_refused(weight) -> None:
    frame = tastes().assign(plays=2.0)
    frame.loc[7, "plays"] = weight
    with pytest.raises(
        ValueError,
        match=rf"weight {re.escape(f'{weight:g}')} in row 7.*1e-30 to 1e\+30 .1 such rows.: sums .* divide",
    ):
        CollabFilterDataset(".", frame, "who", "film", weight_col="plays")
    learn = CollabFilterDataset(".", tastes(), "who", "film").get_learner(3, device="cpu", progress=False)
    with pytest.raises(ValueError, match=r"the new .*: column 'plays' holds the weight .* in row 7"):
        learn.fit_als(1)
        learn.update(frame, weight_col="plays")


@pytest.mark.parametrize("weight", [1e30, 1e-30])
def test_the_largest_and_the_smallest_weights_train_as_ones_do(weight) -> None:
    losses = []
    for each in (weight, 1.0):
        table = CollabFilterDataset(".", tastes().assign(plays=each), "who", "film", weight_col="plays")
        learn = table.get_learner(4, list(range(100)), device="cpu", progress=False, seed=0)
        learn.fit_one_cycle(1, 1e-2)
        losses.append([learn.history[-1][name] for name in ("train_loss", "valid_loss")])
        assert np.isfinite(list(learn.fit_als().values())).all()
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_users_who_have_everything_are_told_once(caplog) -> None:
    frame = pd.DataFrame({"who": np.repeat(np.arange(20), 6), "film": np.tile(np.arange(6), 20)})
    told = "every one of the 20 users has every one of the 6 items, so that no item stands against what was"
    full = CollabFilterDataset(".", frame, "who", "film")
    learn = full.get_learner(4, device="cpu", progress=False)
    learn.fit(1e-2, 2)
    assert learn.history[-1]["train_loss"] == 0
    assert caplog.text.count(told) == 1
    assert caplog.records[-1].levelname == "WARNING"
    caplog.clear()
    CollabFilterDataset(".", frame[1:], "who", "film").get_learner(4, device="cpu", progress=False)
    CollabFilterDataset(".", frame.assign(stars=1.0 * (frame.index % 3)), "who", "film", "stars").get_learner(
        4
    )
    assert told[:12] not in caplog.text


@pytest.mark.parametrize("hidden", [(None, None), ([8], [8]), (None, [8])])
def test_an_ensemble_answers_one_score_a_pair(table, hidden) -> None:
    learners = [
        table.get_learner(6, by_user_time(), hidden=one, device="cpu", progress=False, seed=seed)
        for seed, one in enumerate(hidden)
    ]
    for learn in learners:
        learn.fit_one_cycle(1, 3e-2)
    both = Ensemble(learners)
    n = len(learners[0].data.valid_dl.tensors[0])
    expected = np.mean([learn.predict() for learn in learners], axis=0)
    assert both.predict().shape == (n,)
    np.testing.assert_allclose(both.predict(), expected, rtol=1e-5, atol=1e-7)
    scores, targets = both.predict_with_targs()
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-7)
    assert targets.tolist() == [1.0] * n  # weights of the pairs
    own = [learn.evaluate()["valid_loss"] for learn in learners]
    found = both.evaluate()["valid_loss"]
    assert min(own) - 0.1 < found <= np.mean(own) + 1e-6  # BPR is convex in the scores
    alone = Ensemble(learners[:1])
    assert alone.evaluate()["valid_loss"] == pytest.approx(own[0], rel=1e-5)


def test_an_ensemble_of_logits_has_one_probability_a_pair(table) -> None:
    learners = [
        table.get_learner(
            6, by_user_time(), loss_fn=SampledBCELoss(), device="cpu", progress=False, seed=seed
        )
        for seed in (0, 1)
    ]
    n = len(learners[0].data.valid_dl.tensors[0])
    expected = np.mean([learn.predict_proba() for learn in learners], axis=0)
    assert expected.shape == (n,)
    np.testing.assert_allclose(Ensemble(learners).predict_proba(), expected, rtol=1e-4)


def test_an_ensemble_of_other_negatives_has_no_common_loss(table) -> None:
    learners = [
        table.get_learner(6, by_user_time(), negatives=n, device="cpu", progress=False, seed=0)
        for n in (8, 64)
    ]
    both = Ensemble(learners)
    assert both.predict().shape == (len(learners[0].data.valid_dl.tensors[0]),)
    with pytest.raises(ValueError, match=r"learner 1 has other validation rows .* the same settings"):
        both.evaluate()
