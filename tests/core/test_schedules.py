import math

import pytest

from zoo.schedules import Constant, CosineRestarts, OneCycle, RangeTest, cycle_lengths


def test_constant_is_one_at_every_step():
    assert [Constant(5).lr(t) for t in range(5)] == [1.0] * 5


def test_cosine_restarts_has_the_published_value_at_every_step():
    schedule = CosineRestarts((3, 6))
    expected = [
        1.0,
        0.75,
        0.25,
        1.0,
        (1 + math.cos(math.pi / 6)) / 2,
        0.75,
        0.5,
        0.25,
        (1 + math.cos(5 * math.pi / 6)) / 2,
    ]
    assert [schedule.lr(t) for t in range(9)] == pytest.approx(expected)
    assert list(schedule.cycle_ends()) == [3, 9]
    assert schedule.n_steps == 9


def test_equal_cycles_work():
    assert cycle_lengths(3, 1, 1) == [1, 1, 1]
    assert cycle_lengths(3, 2, 2) == [2, 4, 8]


def test_one_cycle_has_the_right_value_at_every_step():
    schedule = OneCycle(9, pct_start=0.25, div_factor=10, final_div=1000, moms=(0.95, 0.85, 0.9))
    assert schedule.peak == 2
    up = [0.1, 0.55, 1.0]
    down = [0.001 + 0.999 * (1 + math.cos(math.pi * k / 6)) / 2 for k in range(1, 7)]
    assert [schedule.lr(t) for t in range(9)] == pytest.approx(up + down)
    momenta = [schedule.momentum(t) for t in range(9)]
    assert momenta[0] == pytest.approx(0.95)
    assert momenta[2] == pytest.approx(0.85)
    assert momenta[8] == pytest.approx(0.9)
    assert OneCycle(9, moms=None).momentum(3) is None


@pytest.mark.parametrize("n", [1, 2, 3])
def test_one_cycle_survives_very_short_runs(n):
    values = [OneCycle(n).lr(t) for t in range(n)]
    assert all(0 < value <= 1 for value in values)


def test_range_test_is_geometric_or_linear():
    assert [RangeTest(4, 1e-3, 1.0).lr(t) for t in range(4)] == pytest.approx([1e-3, 1e-2, 1e-1, 1.0])
    assert [RangeTest(3, 0.0, 1.0, linear=True).lr(t) for t in range(3)] == pytest.approx([0, 0.5, 1])


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        OneCycle(10, pct_start=1.5)
    with pytest.raises(ValueError, match="at least one step"):
        CosineRestarts(())
