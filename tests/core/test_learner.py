import csv
import json
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.core.helpers import DigitsNet, digits, digits_data, digits_learner, same, weights
from zoo import Learner, ModelData, Prediction, TensorLoader, load_learner, set_seed
from zoo.callbacks import CSVLogger
from zoo.losses import CrossEntropyFlat, MSEFlat
from zoo.metrics import accuracy
from zoo.storage.archive import ArchiveError


def test_sgdr_counts_cycles_and_plain_fit_counts_epochs():
    learn = digits_learner()
    assert len(learn.fit(0.01, 3, cycle_len=1, cycle_mult=2)) == 7
    assert len(learn.fit(0.01, 2)) == 2
    assert [row["epoch"] for row in learn.history] == list(range(9))


def test_sgdr_rate_jumps_back_at_each_cycle():
    learn = digits_learner()
    learn.fit(0.01, 2, cycle_len=1, cycle_mult=1)
    steps = len(learn.data.train_dl)
    lrs = learn.sched.lrs
    assert lrs[0] == lrs[steps] == 0.01
    assert lrs[steps - 1] < 0.0002
    assert (np.diff(lrs[:steps]) < 0).all()


def test_one_cycle_peaks_at_the_rate_given_and_mirrors_momentum():
    learn = digits_learner()
    learn.fit_one_cycle(3, 0.02, pct_start=0.3, div_factor=10, moms=(0.9, 0.8))
    lrs, momenta = np.array(learn.sched.lrs), np.array(learn.sched.momenta)
    assert lrs[0] == pytest.approx(0.002)
    assert lrs.max() == pytest.approx(0.02)
    assert lrs.argmax() == momenta.argmin() == round(0.3 * (len(lrs) - 1))
    assert momenta[0] == pytest.approx(0.9)
    assert momenta[-1] == pytest.approx(0.9)
    learn.fit_one_cycle(1, 0.02)
    assert learn.sched.momenta[0] == pytest.approx(0.95)


def test_digits_are_learned_in_three_lines():
    learn = digits_learner(metrics=[accuracy])
    learn.fit_one_cycle(12, 0.02)
    assert learn.history[-1]["accuracy"] > 0.9


def test_cycle_and_best_weights_are_saved(tmp_path):
    learn = digits_learner(path=tmp_path)
    learn.fit(0.02, 2, cycle_len=1, cycle_save_name="snap", best_save_name="best")
    assert sorted(file.stem for file in (tmp_path / "models").iterdir()) == [
        "best",
        "snap_cyc_0",
        "snap_cyc_1",
    ]
    final = weights(learn.model)
    learn.load("snap_cyc_0")
    assert not same(final, weights(learn.model))
    learn.load("snap_cyc_1")
    assert same(final, weights(learn.model))
    best = min(row["valid_loss"] for row in learn.history)
    assert learn.load("best").evaluate()["valid_loss"] == pytest.approx(best)


def test_save_names_are_helpful_when_wrong(tmp_path):
    learn = digits_learner(path=tmp_path)
    learn.save("first")
    with pytest.raises(FileNotFoundError, match=r"did you mean 'first'\?.*saved here: first"):
        learn.load("frist")
    with pytest.raises(ValueError, match="cycle_len"):
        learn.fit(0.1, 1, cycle_save_name="x")


def test_weights_of_another_model_change_nothing(tmp_path):
    learn = digits_learner(path=tmp_path)
    Learner(digits_data(path=tmp_path), nn.Linear(64, 10), device="cpu").save("other")
    before = weights(learn.model)
    with pytest.raises(
        ValueError, match=r"weights of a Linear .* do not fit this DigitsNet: missing: body\.0\.weight"
    ):
        learn.load("other")
    Learner(digits_data(path=tmp_path), DigitsNet(width=16), device="cpu").save("narrow")
    with pytest.raises(ValueError, match=r"of another shape: body\.0\.weight"):
        learn.load("narrow")
    assert same(before, weights(learn.model))


def test_shared_weights_survive_saving(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    learn = Learner(digits_data(path=tmp_path), Tied(), device="cpu", progress=False)
    value = learn.model.a.weight.detach().clone()
    learn.save("tied")
    learn.model.a.weight.data.zero_()
    learn.load("tied")
    assert torch.equal(learn.model.b.weight, value)


def test_wrong_calls_are_refused_clearly():
    learn = digits_learner()
    with pytest.raises(ValueError, match="3 layer groups"):
        learn.fit([0.1, 0.2], 1)
    with pytest.raises(ValueError, match="n_cycle must be a whole number"):
        learn.fit(0.1, 0)
    with pytest.raises(ValueError, match="cycle_mult must be"):
        learn.fit(0.1, 1, cycle_len=1, cycle_mult=0)
    with pytest.raises(ValueError, match="there is no test set"):
        learn.predict(is_test=True)
    with pytest.raises(TypeError, match="model must be a torch module"):
        Learner(digits_data(), lambda x: x)
    with pytest.raises(ValueError, match="device 'cuda:99' is not available"):
        digits_learner(device="cuda:99")
    with pytest.raises(TypeError, match="zoo Callback"):
        learn.fit(0.1, 1, callbacks=[print])
    with pytest.raises(ValueError, match="needs validation data"):
        learn.data = ModelData(learn.data.train_dl)
        learn.fit(0.1, 1, best_save_name="best")
    assert learn.history == []


def test_predictions_are_log_probabilities_in_order():
    x, y = digits()
    learn = digits_learner()
    learn.fit(0.02, 1)
    log_probs, targets = learn.predict_with_targs()
    learn.model.eval()
    expected = learn.model(x[1200:]).log_softmax(1).detach().numpy()
    assert log_probs == pytest.approx(expected, abs=1e-5)
    assert (targets == y[1200:].numpy()).all()
    assert learn.predict_proba().sum(1) == pytest.approx(np.ones(597), abs=1e-5)
    assert learn.predict_array(x[1200][None].numpy()) == pytest.approx(expected[:1], abs=1e-5)


def test_predict_is_silent(capsys):
    learn = digits_learner(progress=True)
    learn.predict()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_piped_progress_is_one_line_an_epoch_without_control_characters(capsys):
    learn = digits_learner(progress=True, metrics=[accuracy])
    learn.fit(0.01, 2)
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].split() == ["epoch", "train_loss", "valid_loss", "accuracy", "seconds"]
    assert [line.split()[0] for line in lines[1:]] == ["0", "1"]
    assert float(lines[2].split()[2]) == pytest.approx(learn.history[1]["valid_loss"], abs=1e-6)
    assert "\r" not in captured.out
    assert "\x1b" not in captured.out
    assert captured.err == ""


def test_csv_log_holds_the_history(tmp_path):
    learn = digits_learner(metrics=[accuracy])
    learn.fit(0.01, 2, callbacks=[CSVLogger(tmp_path / "logs" / "run.csv")])
    with (tmp_path / "logs" / "run.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["accuracy"]) for row in rows] == [row["accuracy"] for row in learn.history]


def test_repr_and_summary_tell_sizes_groups_loss_and_shapes():
    learn = digits_learner(metrics=[accuracy])
    text = repr(learn)
    for part in ("train 1,200, valid 597", "CrossEntropyFlat", "AdamW", "accuracy", "0 body", "2 head"):
        assert part in text
    learn.freeze()
    summary = learn.summary()
    rows = {row.name: row for row in summary.rows}
    assert rows["body.0"].shape == (-1, 32)
    assert rows["body.0"].n_params == 64 * 32 + 32
    assert not rows["body.0"].trainable
    assert rows["head"].trainable
    assert summary.n_params == sum(param.numel() for param in learn.model.parameters())
    assert "[-1, 10]" in repr(summary)


def test_losses_are_chosen_from_the_targets():
    x, y = digits()
    classes = ModelData(TensorLoader(x, y))
    values = ModelData(TensorLoader(x, y.float()))
    assert isinstance(Learner(classes, DigitsNet(), device="cpu").loss_fn, CrossEntropyFlat)
    assert isinstance(Learner(values, nn.Linear(64, 1), device="cpu").loss_fn, MSEFlat)
    assert Learner(classes, DigitsNet(), loss_fn=F.cross_entropy, device="cpu").loss_fn is F.cross_entropy


def test_regression_with_a_column_of_outputs_never_broadcasts():
    x, y = digits()
    loader = TensorLoader(x, y.float(), bs=100)
    learn = Learner(ModelData(loader, loader), nn.Linear(64, 1), device="cpu", progress=False)
    learn.fit_one_cycle(10, 0.1)
    assert learn.history[-1]["valid_loss"] < 5.0


def test_same_seed_same_result():
    def run():
        set_seed(11)
        x, y = digits()
        learn = Learner(
            ModelData(TensorLoader(x, y, shuffle=True)), DigitsNet(), device="cpu", progress=False
        )
        learn.fit(0.01, 2)
        return weights(learn.model)

    assert same(run(), run())


def test_the_seed_of_a_learner_fixes_order_and_draws():
    def run(seed):
        x, y = digits()
        torch.manual_seed(3)
        net = DigitsNet()
        torch.seed()  # whatever went on before must not matter
        data = ModelData(TensorLoader(x, y, bs=64, shuffle=True))
        learn = Learner(data, net, device="cpu", progress=False, seed=seed)
        learn.lr_find(num_it=3)
        learn.fit(0.01, 1)
        learn.fit(0.01, 1)
        return weights(learn.model)

    assert same(run(5), run(5))
    assert not same(run(5), run(6))


def test_optimizer_state_lives_on_between_fits_and_follows_new_decay():
    learn = digits_learner()
    learn.fit(0.01, 1)
    opt = learn.opt
    learn.fit(0.01, 1, wds=[0.0, 0.1, 0.2])
    assert learn.opt is opt
    assert opt.wds == [0.0, 0.1, 0.2]
    learn.fit(0.01, 1)
    assert opt.wds == [0.01] * 3


def test_clip_bounds_the_gradient_norm():
    from zoo import Callback

    norms = []

    class Norm(Callback):
        order = 99

        def before_step(self, state):
            norms.append(torch.cat([p.grad.reshape(-1) for p in state.model.parameters()]).norm().item())

    digits_learner().fit(0.01, 1, clip=0.05, callbacks=[Norm()])
    assert max(norms) == pytest.approx(0.05, abs=1e-5)


def test_bf16_trains_close_to_fp32():
    learn = digits_learner(metrics=[accuracy]).to_bf16()
    learn.fit_one_cycle(8, 0.02)
    assert learn.history[-1]["accuracy"] > 0.9
    assert learn.model.head.weight.dtype == torch.float32
    assert learn.predict().dtype == np.float32


def test_exports_open_in_a_fresh_process_and_predict_the_same(tmp_path):
    learn = digits_learner()
    learn.fit(0.02, 2)
    places = [str(tmp_path / name) for name in ("folder", "file.zip")]
    for place in places:
        learn.export(place)
    np.save(tmp_path / "x.npy", digits()[0][:5].numpy())
    script = f"""
        import json, numpy as np
        import tests.core.helpers
        from zoo import load_learner
        x = np.load({str(tmp_path / "x.npy")!r})
        for place in {places}:
            learn = load_learner(place, device="cpu")
            print(json.dumps([learn.data.classes, learn.predict_array(x).tolist()]))
    """
    # a process from nothing, unlike those of the domains' tests: an archive opens without any other import
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    told = [json.loads(line) for line in out.stdout.splitlines()]
    assert len(told) == 2
    for classes, log_probs in told:
        assert classes == learn.data.classes
        assert np.array(log_probs) == pytest.approx(learn.predict_array(digits()[0][:5]), abs=1e-6)


def test_exporting_twice_replaces_and_never_overwrites_other_things(tmp_path):
    learn = digits_learner()
    learn.export(tmp_path / "model")
    learn.fit(0.02, 1)
    learn.export(tmp_path / "model")
    assert same(weights(load_learner(tmp_path / "model", device="cpu").model), weights(learn.model))
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="not an exported learner"):
        learn.export(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_unregistered_models_and_odd_arguments_say_what_to_do(tmp_path):
    learn = Learner(digits_data(), nn.Sequential(nn.Linear(64, 10)), device="cpu")
    with pytest.raises(TypeError, match="Sequential is not a registered model"):
        learn.export(tmp_path / "model")
    learn = Learner(digits_data(), DigitsNet(dropout=torch.tensor([0.1]).mean()), device="cpu")
    learn.export(tmp_path / "model")
    assert not list(tmp_path.glob(".*"))


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (self.target, "w"))


def test_a_crafted_pickle_given_to_every_loader_executes_nothing(tmp_path):
    victim = tmp_path / "executed"
    bomb = pickle.dumps(Bomb(str(victim)))
    learn = digits_learner(path=tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "evil.safetensors").write_bytes(bomb)
    with pytest.raises(ArchiveError, match="not a safetensors file"):
        learn.load("evil")
    (tmp_path / "evil.zip").write_bytes(bomb)
    with pytest.raises(ArchiveError, match="not an exported learner"):
        load_learner(tmp_path / "evil.zip")
    torch.save(Bomb(str(victim)), tmp_path / "torch.zip")
    with pytest.raises(ArchiveError, match="not an exported learner"):
        load_learner(tmp_path / "torch.zip")
    learn.export(tmp_path / "model")
    for name in ("config.json", "preprocess.json", "model.safetensors"):
        kept = (tmp_path / "model" / name).read_bytes()
        (tmp_path / "model" / name).write_bytes(bomb)
        with pytest.raises(ArchiveError):
            load_learner(tmp_path / "model")
        (tmp_path / "model" / name).write_bytes(kept)
    assert not victim.exists()


def test_archives_with_odd_contents_are_refused(tmp_path):
    digits_learner().export(tmp_path / "model")
    config_file = tmp_path / "model" / "config.json"
    good = json.loads(config_file.read_text())

    def refuse(change, message):
        config_file.write_text(json.dumps({**good, **change}))
        with pytest.raises(ValueError, match=message):
            load_learner(tmp_path / "model")

    refuse({"format": 99}, "format 99.*upgrade zoo")
    refuse({"domain": "tabluar"}, "did you mean 'tabular'")
    refuse({"model": {"name": "os.system", "args": {"command": "true"}}}, "no model named 'os.system'")
    refuse({"model": {"name": "test.digits_net", "args": {"width": 8}}}, "do not fit this DigitsNet")
    refuse({"model": {}}, "incomplete or damaged")
    with pytest.raises(FileNotFoundError, match="no exported learner at"):
        load_learner(tmp_path / "nothing")


def test_a_loaded_learner_says_that_it_has_no_data(tmp_path):
    digits_learner().export(tmp_path / "model")
    learn = load_learner(tmp_path / "model", device="cpu")
    with pytest.raises(ValueError, match="no training data"):
        learn.fit(0.1, 1)
    learn.data = digits_data()
    assert len(learn.fit(0.01, 1)) == 1


def test_raw_inputs_come_back_as_predictions():
    class DigitRows(ModelData):
        def batches_from_raw(self, items):
            for start in range(0, len(items), 2):
                yield (torch.stack([torch.as_tensor(item) for item in items[start : start + 2]]),)

    learn = digits_learner()
    learn.fit_one_cycle(8, 0.02)
    train = learn.data
    learn.data = DigitRows(train.train_dl, train.valid_dl)
    learn.data.task, learn.data.classes = "classification", train.classes
    x, _ = digits()
    answers = learn.predict_batch(list(x[1200:1205]))
    assert [answer.label for answer in answers] == [str(i) for i in learn.predict()[:5].argmax(1)]
    one = learn.predict_one(x[1200])
    assert isinstance(one, Prediction)
    assert one.label == answers[0].label
    assert sum(one.probabilities.values()) == pytest.approx(1)
    with pytest.raises(ValueError, match="nothing to predict"):
        learn.predict_batch([])


def test_sched_plots_need_something_to_draw():
    learn = digits_learner()
    with pytest.raises(ValueError, match="lr_find"):
        learn.sched.plot()
    with pytest.raises(ValueError, match="fit"):
        learn.sched.plot_loss()
    learn.fit(0.01, 1)
    assert len(learn.sched.plot_lr().axes) == 2
    lines = learn.sched.plot_loss().axes[0].lines
    assert len(lines[0].get_xdata()) == len(learn.data.train_dl)
    assert lines[1].get_ydata()[0] == pytest.approx(learn.history[0]["valid_loss"])


@pytest.mark.gpu
def test_trains_and_predicts_on_the_gpu():
    learn = digits_learner(device="cuda", metrics=[accuracy])
    learn.lr_find()
    learn.fit_one_cycle(10, 0.02)
    assert learn.history[-1]["accuracy"] > 0.9
    assert next(learn.model.parameters()).device.type == "cuda"


def test_a_slip_in_predict_array_is_told_with_the_shapes() -> None:
    learn = Learner(digits_data(), nn.Linear(64, 10), device="cpu", progress=False)
    for slip in (torch.ones(3, 5), np.arange(128).reshape(2, 64)):
        with pytest.raises(RuntimeError) as caught:
            learn.predict_array(slip)
        assert f"inputs of shape {tuple(slip.shape)}" in "".join(caught.value.__notes__)
