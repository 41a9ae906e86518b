"""Augmentation in the log-mel domain: each change is as strong as asked for, in the domain of power."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.augment import Augmentation, add_noise, augment, reverberate, telephone

NOTHING = Augmentation(
    noise_share=0.0, babble_share=0.0, floor_share=0.0, room_share=0.0, telephone_share=0.0, mask_share=0.0
)
ALWAYS = {
    name: Augmentation(**{**{share: 0.0 for share in vars(NOTHING) if share.endswith("share")}, name: 1.0})
    for name in vars(NOTHING)
    if name.endswith("share")
}


def crops(count: int = 6, frames: int = 50, seed: int = 0) -> np.ndarray:
    """Energies as speech has them: 5 to 22, smooth over the bins."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(6.0, -4.0, 80)
    return (14.0 + slope + 2.0 * rng.standard_normal((count, frames, 80))).astype(np.float32)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def power(logarithms: np.ndarray) -> np.ndarray:
    return np.exp(logarithms.astype(np.float64))


def db(ratio: float) -> float:
    return 10.0 * math.log10(ratio)


def test_the_signal_to_noise_ratio_is_what_was_asked_for():
    speech, noise = crops(), 0.5 * crops(seed=2) - 3.0
    asked = np.array([-5.0, 0.0, 3.3, 10.0, 15.0, 20.0])
    added = power(add_noise(speech, noise, asked)) - power(speech)
    for row in range(6):
        assert math.isclose(db(power(speech)[row].sum() / added[row].sum()), asked[row], abs_tol=0.02)


def test_noise_keeps_its_own_shape_over_time_and_bins():
    speech, noise = crops(1), crops(1, seed=3)
    added = power(add_noise(speech, noise, np.array([0.0]))) - power(speech)
    loud = added > 1e-3 * power(speech)  # elsewhere float32 has too few digits to tell
    gains = added[loud] / power(noise)[loud]
    assert loud.mean() > 0.9
    assert np.allclose(gains, np.median(gains), rtol=0.01)


def test_noise_under_digital_silence_is_finite():
    silence = np.full((2, 30, 80), math.log(2.0**-23), np.float32)
    for speech, noise in ((silence, crops(2, 30)), (crops(2, 30), silence), (silence, silence)):
        assert np.all(np.isfinite(add_noise(speech, noise, np.array([0.0, 20.0]))))


def test_a_room_only_adds():
    speech = crops()
    heard = reverberate(speech, np.linspace(0.15, 0.7, 6))
    assert np.all(heard >= speech - 1e-5)
    assert heard.mean() > speech.mean()


@pytest.mark.parametrize("rt60_s", [0.15, 0.3, 0.7])
def test_a_room_decays_by_sixty_db_in_its_rt60(rt60_s):
    impulse = np.full((1, 40, 80), math.log(2.0**-23), np.float32)
    impulse[0, 5] = 20.0
    heard = power(reverberate(impulse, np.array([rt60_s])))[0, :, 0]
    assert math.isclose(heard[5], math.exp(20.0), rel_tol=1e-5)
    for frames in range(1, 31):
        expected_db = -60.0 * 0.01 * frames / rt60_s + db(0.5)
        if expected_db > -100.0:
            assert math.isclose(db(heard[5 + frames] / heard[5]), expected_db, abs_tol=0.01)
    assert heard[36] <= 1e-4  # the tail is 30 frames long
    assert np.all(heard[:5] <= 1e-4)  # nothing is heard before it sounds


def test_a_crop_shorter_than_the_rooms_tail_is_no_problem():
    for frames in (1, 2, 30, 31):
        assert reverberate(crops(2, frames), np.array([0.3, 0.7])).shape == (2, frames, 80)


def test_a_telephone_leaves_its_band_alone_and_takes_45_db_off_the_rest():
    speech = crops()
    loss = (speech - telephone(speech)).astype(np.float64)
    step = (1127.0 * math.log(1 + 8_000 / 700) - 1127.0 * math.log(1 + 20 / 700)) / 81
    for bin_ in range(80):
        centre_hz = 700.0 * math.expm1((1127.0 * math.log(1 + 20 / 700) + (bin_ + 1) * step) / 1127.0)
        expected_db = 0.0 if 300.0 <= centre_hz <= 3_400.0 else 45.0
        assert np.allclose(loss[:, :, bin_] * 10 / math.log(10), expected_db, atol=1e-4)


def test_no_share_changes_nothing():
    batch = crops()
    assert np.array_equal(augment(batch, crops(seed=4), NOTHING, rng()), batch)


@pytest.mark.parametrize("share", ALWAYS)
def test_a_share_of_one_changes_every_crop(share):
    batch = crops()
    changed = augment(batch, crops(seed=4), ALWAYS[share], rng())
    assert np.all(np.abs(changed - batch).max(axis=(1, 2)) > 0.1)


@pytest.mark.parametrize("share", ["noise_share", "babble_share", "floor_share", "room_share"])
def test_sounds_only_add(share):
    batch = crops()
    assert np.all(augment(batch, crops(seed=4), ALWAYS[share], rng()) >= batch - 1e-5)


def test_a_crop_gets_the_noise_of_its_own_row():
    batch, noise = crops(12), np.full((12, 50, 80), math.log(2.0**-23), np.float32)
    for row in range(12):
        noise[row, :, 5 * row] = 10.0
    how = Augmentation(**{**vars(NOTHING), "noise_share": 0.5, "noise_snr_db": (0.0, 0.0)})
    louder = (augment(batch, noise, how, rng()) - batch).mean(axis=1) > 0.5
    changed = np.flatnonzero(louder.any(axis=1))
    assert 2 <= len(changed) <= 10
    assert [np.flatnonzero(louder[row]).tolist() for row in changed] == [[5 * row] for row in changed]


def test_babble_is_the_neighbouring_crop_at_its_ratio():
    batch, how = crops(), Augmentation(**{**vars(ALWAYS["babble_share"]), "babble_snr_db": (9.0, 9.0)})
    added = power(augment(batch, crops(seed=4), how, rng())) - power(batch)
    for row in range(6):
        assert math.isclose(db(power(batch)[row].sum() / added[row].sum()), 9.0, abs_tol=0.02)
        loud = added[row] > 1e-2 * power(batch)[row]
        gains = np.log(added[row][loud] / power(batch)[row - 1][loud])
        assert np.allclose(gains, np.median(gains), atol=0.01)


def test_a_noise_floor_lies_as_far_below_the_peak_as_asked():
    batch = np.full((4, 400, 80), math.log(2.0**-23), np.float32)
    batch[:, 0, 0] = 22.0
    how = Augmentation(**{**vars(ALWAYS["floor_share"]), "floor_below_peak_db": (40.0, 40.0)})
    heard = power(augment(batch, batch, how, rng()))[:, 1:]
    assert math.isclose(db(math.exp(22.0) / heard.mean()), 40.0, abs_tol=0.1)
    # A noise's power in one bin is exponentially distributed: as much deviation as mean.
    assert math.isclose(heard.std() / heard.mean(), 1.0, abs_tol=0.05)


def test_masks_are_one_stretch_of_bins_and_one_of_frames():
    batch = crops(40)
    changed = augment(batch, batch, ALWAYS["mask_share"], rng()) != batch
    for crop in changed:
        bins, frames = np.flatnonzero(crop.mean(axis=0) > 0.9), np.flatnonzero(crop.mean(axis=1) > 0.9)
        assert 1 <= len(bins) <= 8
        assert 1 <= len(frames) <= 12
        assert np.all(np.diff(bins) == 1)
        assert np.all(np.diff(frames) == 1)
        crop[:, bins] = crop[frames] = False
        assert not crop.any()


MUCH = Augmentation(
    noise_share=0.5, babble_share=0.5, floor_share=0.5, room_share=0.5, telephone_share=0.5, mask_share=0.5
)


@pytest.mark.parametrize(("count", "frames"), [(1, 20), (8, 98), (32, 13)])
def test_shape_and_type_stay_and_nothing_becomes_nan(count, frames):
    for batch in (crops(count, frames), np.full((count, frames, 80), math.log(2.0**-23), np.float32)):
        for seed in range(10):
            changed = augment(batch, crops(count, frames, seed=5), MUCH, rng(seed))
            assert changed.shape == batch.shape
            assert changed.dtype == np.float32
            assert np.all(np.isfinite(changed))


def test_the_same_seed_gives_the_same_batch_and_another_seed_another():
    batch, noise = crops(), crops(seed=4)
    first = augment(batch, noise, MUCH, rng(1))
    assert np.array_equal(augment(batch, noise, MUCH, rng(1)), first)
    assert not np.array_equal(augment(batch, noise, MUCH, rng(2)), first)


def test_the_callers_arrays_stay_as_they_are():
    batch, noise = crops(), crops(seed=4)
    kept, kept_noise = batch.copy(), noise.copy()
    for how in (MUCH, *ALWAYS.values()):
        augment(batch, noise, how, rng())
    assert np.array_equal(batch, kept)
    assert np.array_equal(noise, kept_noise)
