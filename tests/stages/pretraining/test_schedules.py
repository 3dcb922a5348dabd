"""Schedules: their values at the first step, at the end of the warm-up, and at the last step."""

from __future__ import annotations

import pytest

from stages.pretraining.schedules import Schedules
from stages.settings import PretrainSettings


def _schedules(**changes: float) -> Schedules:
    return Schedules.of(PretrainSettings(steps=100, **changes))  # type: ignore[arg-type]


def test_learning_rate_rises_in_a_line_and_falls_in_a_cosine():
    """A tenth of the peak after a tenth of the warm-up, half the peak half-way down, and 1e-6 at the end."""
    schedules = _schedules(lr=1e-2, warmup=0.1)
    assert schedules.learning_rate(1) == pytest.approx(1e-3)
    assert schedules.learning_rate(10) == pytest.approx(1e-2)
    assert schedules.learning_rate(55) == pytest.approx((1e-2 + 1e-6) / 2)
    assert schedules.learning_rate(100) == pytest.approx(1e-6)


def test_weight_decay_and_momentum_go_from_end_to_end():
    """The first step has the start value and the last step has the end value. The teacher's momentum ends at 1."""
    schedules = _schedules(weight_decay=0.04, weight_decay_end=0.4, momentum=0.99)
    assert schedules.weight_decay_at(1) == pytest.approx(0.04)
    assert schedules.weight_decay_at(100) == pytest.approx(0.4)
    assert schedules.momentum_at(1) == pytest.approx(0.99)
    assert schedules.momentum_at(100) == pytest.approx(1.0)
    assert 0.04 < schedules.weight_decay_at(50) < 0.4


def test_teacher_temperature_rises_during_the_warmup_and_never_falls():
    """It rises from 0.04 to the final value. A final value below 0.04 holds from the first step on."""
    schedules = _schedules(teacher_temperature=0.07, warmup=0.2)
    assert schedules.teacher_temperature(10) == pytest.approx(0.055)
    assert schedules.teacher_temperature(20) == schedules.teacher_temperature(100) == pytest.approx(0.07)
    low = _schedules(teacher_temperature=0.02)
    assert {low.teacher_temperature(step) for step in range(1, 101)} == {0.02}


@pytest.mark.parametrize("steps", [1, 2])
def test_the_shortest_runs_have_schedules(steps):
    """With one or two steps and no warm-up, every value is in its range."""
    schedules = Schedules.of(PretrainSettings(steps=steps, warmup=0))
    for step in range(1, steps + 1):
        assert 0 < schedules.learning_rate(step) <= 1e-3
        assert 0.99 <= schedules.momentum_at(step) <= 1
        assert schedules.teacher_temperature(step) == 0.05
