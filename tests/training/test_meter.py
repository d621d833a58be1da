import math

import pytest
import torch

from hicmae_core.training.meter import GRADIENT_NORM, Meter


def add(meter: Meter, step: int, loss: float, norm: float = 1.0, skipped: bool = False) -> None:
    meter.add(step, {"total": torch.tensor(loss)}, torch.tensor(norm), torch.tensor(float(skipped)))


def test_a_reading_holds_the_steps_since_the_last_one() -> None:
    meter = Meter()
    add(meter, 0, 4.0)
    add(meter, 1, 2.0)
    assert meter.read().series == {"total": [(0, 4.0), (1, 2.0)], GRADIENT_NORM: [(0, 1.0), (1, 1.0)]}
    add(meter, 2, 3.0)
    assert meter.read().series["total"] == [(2, 3.0)]
    assert meter.end_epoch() == {"total": 3.0, GRADIENT_NORM: 1.0, "skipped_steps": 0, "gradient_spikes": 0}


def test_skipped_steps_are_counted_and_leave_no_values() -> None:
    meter = Meter()
    add(meter, 0, 1.0)
    add(meter, 1, math.nan, math.nan, skipped=True)
    reading = meter.read()
    assert reading.skipped == [1]
    assert reading.series["total"] == [(0, 1.0)]
    row = meter.end_epoch()
    assert (row["total"], row["skipped_steps"]) == (1.0, 1)
    add(meter, 2, math.nan, math.nan, skipped=True)
    meter.read()
    with pytest.raises(ValueError, match="not one step"):
        meter.end_epoch()


def test_a_norm_far_above_the_recent_ones_is_a_spike() -> None:
    meter = Meter()
    for step in range(30):
        add(meter, step, 1.0, norm=2.0)
    add(meter, 30, 1.0, norm=50.0)
    add(meter, 31, 1.0, norm=2.0)
    assert meter.read().spikes == {30: 25.0}
    assert meter.end_epoch()["gradient_spikes"] == 1


def test_a_restored_meter_goes_on_as_if_nothing_had_happened() -> None:
    whole, first, second = Meter(), Meter(), Meter()
    for step in range(25):
        for meter in (whole, first):
            add(meter, step, step / 7, norm=1 + step / 100)
            meter.read()
    second.restore(first.state())
    for meter in (whole, second):
        add(meter, 25, 0.1, norm=30.0)
    assert whole.read() == second.read()
    assert whole.end_epoch() == second.end_epoch()
