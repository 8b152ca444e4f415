from dataclasses import fields

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from spkssl import rng
from spkssl.audio.augment.config import AUGMENTS, AugmentConfig, Mix, Source
from spkssl.audio.augment.plan import CLASSES, Plan, Planner, draw_plan
from spkssl.config import build, to_dict
from spkssl.errors import InputError

KINDS = {"noise": np.arange(0, 40), "music": np.arange(40, 70), "speech": np.arange(70, 90)}


def plans(config: AugmentConfig, rows: int = 20000) -> Plan:
    planner = Planner(config, KINDS, 50)
    return planner.plan(planner.uniforms(rng.numpy(1, "plans"), rows))


def classes(plan: Plan) -> np.ndarray:
    reverb, noise = plan.rir >= 0, (plan.noise >= 0).any(1)
    return np.bincount(reverb + 2 * noise, minlength=4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rdino", (1 / 6, 1 / 8, 3 / 8, 1 / 3)),
        ("sdpn", (1 / 6, 1 / 8, 3 / 8, 1 / 3)),
        ("dino", (0, 1 / 2, 1 / 2, 0)),
        ("ssrl_pretrain", (0.2, 0.4, 0.4, 0)),
        ("ssrl", (0, 1 / 3, 2 / 3, 0)),
        ("lgl_pretrain", (0, 1 / 4, 1 / 4, 1 / 2)),
        ("lgl", (1 / 4, 1 / 4, 1 / 4, 1 / 4)),
        ("aamsupcon", (0, 1 / 5, 4 / 5, 0)),
        ("dlg_lc", (1 / 6, 1 / 6, 4 / 6, 0)),
        ("always", (0, 0, 0, 1)),
        ("reverb", (0, 1, 0, 0)),
        ("babble", (0, 0, 1, 0)),
        ("mini", (0.1, 0.1, 0.4, 0.4)),
    ],
)
def test_published_class_probabilities(name, expected):
    seen, expected = classes(plans(AUGMENTS[name]())), np.array(expected)
    assert CLASSES == ("none", "reverb", "noise", "both")
    assert (seen[expected == 0] == 0).all()
    if (expected > 0).sum() > 1:
        assert chisquare(seen[expected > 0], 20000 * expected[expected > 0]).pvalue > 1e-3


def test_single_interferer_is_uniform_over_classes_and_files_with_the_published_snrs():
    plan = plans(AUGMENTS["sdpn"]())
    assert plan.noise.shape[1] == 1
    file, snr = plan.noise[plan.noise >= 0], plan.snr[plan.noise >= 0]
    for kind, low, high in (("noise", 0, 15), ("speech", 13, 20), ("music", 5, 15)):
        mine = np.isin(file, KINDS[kind])
        assert abs(mine.mean() - 1 / 3) < 0.02
        assert chisquare(np.bincount(file[mine])[KINDS[kind]]).pvalue > 1e-3
        assert kstest(snr[mine], "uniform", (low, high - low)).pvalue > 1e-3
    assert kstest(plan.start[:, 0], "uniform").pvalue > 1e-3
    gain = 10 * np.log10(plan.rir_gain)
    assert kstest(gain, "uniform", (-7, 10)).pvalue > 1e-3


def test_any_file_of_the_set_is_as_likely_in_the_dino_recipe():
    file = plans(AUGMENTS["dino"]()).noise
    assert chisquare(np.bincount(file[file >= 0], minlength=90)).pvalue > 1e-3


def test_babble_has_three_to_eight_files_with_their_own_snrs():
    plan = plans(AUGMENTS["lgl"]())
    speech = np.isin(plan.noise, KINDS["speech"]).sum(1)
    counts = np.bincount(speech[speech > 0])
    assert (counts[:3] == 0).all() and len(counts) == 9
    assert chisquare(counts[3:]).pvalue > 1e-3
    rows = speech == 8
    assert np.unique(plan.snr[rows], axis=1).shape[1] == 8
    assert plan.snr[rows].min() >= 13 and plan.snr[rows].max() <= 20


def test_ssrl_mixes_four_sums_with_one_snr_each():
    plan = plans(AUGMENTS["ssrl"]())
    noisy = plan.noise[(plan.noise >= 0).any(1)]
    kinds = [np.isin(noisy, KINDS[kind]).sum(1) for kind in ("noise", "music", "speech")]
    seen = [
        ((kinds[0] == 1) & (kinds[1] + kinds[2] == 0)).sum(),
        ((kinds[1] == 1) & (kinds[0] + kinds[2] == 0)).sum(),
        ((kinds[1] == 1) & (kinds[2] == 1)).sum(),
        ((kinds[2] >= 3) & (kinds[0] + kinds[1] == 0)).sum(),
    ]
    assert sum(seen) == len(noisy)
    assert chisquare(seen).pvalue > 1e-3
    assert (plan.snr == plan.snr[:, :1]).all() and plan.snr.min() >= 0 and plan.snr.max() <= 20


@pytest.mark.parametrize(("name", "most"), [("noise", 1), ("music", 1), ("babble", 8)])
def test_augmentations_of_one_kind_draw_no_other(name, most):
    kind = {"babble": "speech"}.get(name, name)
    noise = plans(AUGMENTS[name]()).noise
    assert np.isin(noise[noise >= 0], KINDS[kind]).all() and (noise >= 0).sum(1).max() == most


def test_babble_and_music_of_tv_have_their_own_ranges():
    plan = plans(AUGMENTS["aamsupcon"]())
    music = np.isin(plan.noise, KINDS["music"])
    speech = np.isin(plan.noise, KINDS["speech"])
    tv = music.any(1) & speech.any(1)
    assert abs(tv.mean() - 1 / 5) < 0.02
    assert speech[tv].sum(1).min() == 3 and speech[tv].sum(1).max() == 8 and (music[tv].sum(1) == 1).all()
    assert plan.snr[tv][music[tv]].max() <= 15 and plan.snr[tv][speech[tv]].min() >= 13


def test_masks_have_the_published_widths_and_probability():
    plan = plans(AUGMENTS["sdpn"]())
    time, mel = plan.time_mask[:, 0, 0], plan.mel_mask[:, 0, 0]
    assert chisquare(np.bincount(time[time > 0].astype(int))[1:]).pvalue > 1e-3
    assert time.max() == 9 and mel.max() == 5
    assert abs((time > 0).mean() - 0.2 * 9 / 10) < 0.01 and abs((mel > 0).mean() - 0.2 * 5 / 6) < 0.01


def test_curves_are_drawn_with_the_probability_and_spread_asked_for():
    plan = plans(AugmentConfig(eq=0.3, eq_sd=4.0, noise_eq_sd=2.0))
    has = plan.eq.any(1)
    assert abs(has.mean() - 0.3) < 0.015
    assert abs(plan.eq[has].std() - 4) < 0.1 and abs(plan.noise_eq.std() - 2) < 0.05


def test_plan_is_the_same_for_the_same_name_and_other_for_another():
    config = AUGMENTS["lgl"]()

    def drawn(*tags):
        return draw_plan(config, rng.numpy(3, "aug", *tags), KINDS, 50)

    for field in fields(Plan):
        np.testing.assert_array_equal(getattr(drawn(0, 7, "v"), field.name), getattr(drawn(0, 7, "v"), field.name))
    others = [drawn(*tags) for tags in ((0, 7, "v"), (1, 7, "v"), (0, 8, "v"), (0, 7, "w"))]
    assert len({plan.start.tobytes() for plan in others}) == 4


def test_first_profiles_do_not_depend_on_how_many_there_are():
    planner = Planner(AUGMENTS["lgl"](), KINDS, 50)
    few, many = (planner.plan(planner.uniforms(rng.numpy(0, "x"), n)) for n in (2, 6))
    for field in fields(Plan):
        np.testing.assert_array_equal(getattr(few, field.name), getattr(many, field.name)[:2])


def test_shared_profile_keeps_files_and_snr_but_moves_the_start_on_another_crop():
    plan = plans(AUGMENTS["lgl_pretrain"](), 50)
    row = np.repeat(np.arange(50), 2)
    pair = plan.rows(row, np.tile([0, 1], 50))
    np.testing.assert_array_equal(pair.noise[::2], pair.noise[1::2])
    np.testing.assert_array_equal(pair.snr[::2], pair.snr[1::2])
    np.testing.assert_array_equal(pair.rir[::2], pair.rir[1::2])
    np.testing.assert_array_equal(pair.start[::2], plan.start)
    assert (np.abs(pair.start[::2] - pair.start[1::2]) > 0.3).all()


def test_missing_files_are_the_users_error():
    with pytest.raises(InputError, match=r"augment sdpn: asks for noises of kind music, speech \(there are: noise\)"):
        Planner(AUGMENTS["sdpn"](), {"noise": np.arange(3)}, 50)
    with pytest.raises(InputError, match="there are no RIRs"):
        Planner(AUGMENTS["sdpn"](), KINDS, 0)
    Planner(AugmentConfig(none=1, reverb=0, noise=0, both=0), {}, 0)


@pytest.mark.parametrize("name", sorted(AUGMENTS))
def test_recipes_go_through_yaml_and_carry_their_name(name):
    config = AUGMENTS[name]()
    assert config.name == name
    assert build(AUGMENTS[name], to_dict(config)) == config


@pytest.mark.parametrize(
    "wrong",
    [{"none": -1}, {"none": 0, "reverb": 0, "noise": 0, "both": 0}, {"eq": 1.5}, {"mixes": ()}, {"time_width": (5, 2)}],
)
def test_senseless_values_are_refused(wrong):
    with pytest.raises(ValueError):
        AugmentConfig(**wrong)


def test_senseless_sources_are_refused():
    for wrong in ({"files": (0, 1)}, {"files": (3, 2)}, {"snr": (5.0, 1.0)}):
        with pytest.raises(ValueError):
            Source(**wrong)
    with pytest.raises(ValueError):
        Mix(())
