from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.planted import codes
from tangka_match.analysis.diagnosis.ceiling import DuplicateGroups, ceiling, diagnose_ceiling
from tangka_match.analysis.diagnosis.power import diagnose_power, format_interval, recall_interval
from tangka_match.analysis.diagnosis.profile import read_profile, recall_profile
from tangka_match.demo import DEFAULT_COMPLETENESS, make_captions, make_scenes, oracle_recalls
from tangka_match.errors import ConfigError

USERS = (33.88, 79.61, 91.18)


def of_demo(seed, share):
    """Return groups of the demo scenes, and the oracle for exact copies and for the copies of the demo."""
    scenes = make_scenes(seed, "val", 363, share)
    group = np.array([scene.group for scene in scenes])
    exact = [replace(scene, elements=scenes[scene.group].elements) for scene in scenes]
    oracles = [
        oracle_recalls(of, make_captions(of, seed, DEFAULT_COMPLETENESS), DEFAULT_COMPLETENESS)["mean_r1"]
        for of in (exact, scenes)
    ]
    return group, *oracles


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4])
@pytest.mark.parametrize("seed", [0, 1])
def test_ceiling_agrees_with_the_demo_oracle(seed, share):
    group, exact, near = of_demo(seed, share)
    estimate = ceiling(group, np.arange(363), np.arange(363))["mean_r1"]
    assert estimate == pytest.approx(exact, abs=0.3)
    assert near >= estimate - 0.3, "the oracle uses captions that distinguish near-duplicates"


def test_ceiling_without_duplicates_is_100():
    assert set(ceiling(np.arange(9), np.arange(9), np.arange(9)).values()) == {100.0}


def test_pair_of_near_duplicates():
    found = ceiling(np.array([0, 0, 2]), np.arange(3), np.arange(3))
    assert found["t2i_r1"] == found["i2t_r1"] == pytest.approx(100 * (0.5 + 0.5 + 1) / 3)
    assert found["t2i_r5"] == 100.0


def test_caption_shared_by_three_images():
    found = ceiling(np.arange(4), np.array([0, 0, 0, 3]), np.arange(4))
    assert found["t2i_r1"] == found["i2t_r1"] == pytest.approx(100 * (1 / 3 + 1 / 3 + 1 / 3 + 1) / 4)


def test_image_is_found_by_its_unique_caption():
    # Images 0 and 1 share a text; image 0 has a second caption.
    found = ceiling(np.arange(2), np.array([0, 1, 0]), np.array([0, 0, 1]))
    assert found["i2t_r1"] == pytest.approx(75.0)
    assert found["t2i_r1"] == pytest.approx(100 * (0.5 + 1 + 0.5) / 3)


def test_two_duplicates_with_five_captions_each():
    found = ceiling(np.zeros(2, int), np.arange(10), np.repeat([0, 1], 5))
    assert found["i2t_r1"] == pytest.approx(50.0)
    assert found["i2t_r5"] == pytest.approx(100 * (1 - 1 / 252))
    assert found["i2t_r10"] == 100.0


def test_distinguishing_caption_raises_the_ceiling():
    """Caption 0 mentions what image 1 lacks; caption 1 fits both images."""
    both = np.array([0, 0])
    found = ceiling(both, np.arange(2), np.arange(2), {(0, 1)})
    assert found["t2i_r1"] == pytest.approx(100 * (1 + 1 / 2) / 2), "caption 0 fits image 0 only"
    assert found["i2t_r1"] == pytest.approx(100 * (1 / 2 + 1) / 2), "only caption 1 fits image 1"
    assert set(ceiling(both, np.arange(2), np.arange(2), {(0, 1), (1, 0)}).values()) == {100.0}


def test_some_distinguishing_captions():
    """Image 0 has captions 0 to 2, image 1 has 3 to 5; captions 0 and 1 do not fit image 1, which has 3 of 4 left."""
    found = ceiling(np.zeros(2, int), np.arange(6), np.repeat([0, 1], 3), {(0, 1), (1, 1)})
    assert found["i2t_r1"] == pytest.approx(100 * (3 / 6 + 3 / 4) / 2)
    assert found["t2i_r1"] == pytest.approx(100 * (1 + 1 + 4 * 0.5) / 6)


def test_text_of_another_image_fits_an_image_of_a_group():
    """Images 0 and 1 are near-duplicates with mismatches; caption 0 has the text of image 2."""
    texts, owners = np.array([0, 1, 0]), np.arange(3)
    found = ceiling(np.array([0, 0, 2]), texts, owners, {(0, 1), (1, 0)})
    assert found["i2t_r1"] == found["t2i_r1"] == pytest.approx(100 * (1 / 2 + 1 + 1 / 2) / 3)
    alone = ceiling(owners, texts, owners)
    assert found == alone, "all captions distinguish the images, so the group has no effect"


def test_ceiling_is_within_bounds_for_exact_duplicates():
    group = np.array([0, 0, *range(2, 20)])
    section = diagnose_ceiling(
        "val", DuplicateGroups(group, group, np.arange(20), frozenset({(0, 1)})), np.arange(20), None
    )
    low, high = section.values["mean_r1_bounds"]
    assert low < section.values["mean_r1"] <= high


def test_section_reports_bounds():
    near, own = np.array([0, 0, *range(2, 20)]), np.arange(20)
    section = diagnose_ceiling("val", DuplicateGroups(near, own, own, frozenset({(0, 1)})), own, None)
    low, high = section.values["mean_r1_bounds"]
    assert (low, high) == pytest.approx((95.0, 100.0))
    assert section.values["mean_r1"] == pytest.approx(97.5)
    assert "95.0 % if no near-duplicates can be distinguished, 100.0 % if all can" in section.findings[0].why
    assert "1 caption found that mention" in dict(section.facts)["best possible mean R@1 on val"]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_recall_profile_agrees_with_simulation(size):
    generator = torch.Generator().manual_seed(0)
    queries, gallery, separation = 20_000, 363, 2.5
    own = torch.randn(queries, 1, generator=generator) + separation
    above = (torch.randn(queries, gallery - size, generator=generator) > own).sum(dim=1)
    ranks = 1 + above + torch.randint(size, (queries,), generator=generator)
    simulated = [100 * (ranks <= k).float().mean().item() for k in (1, 5, 10)]
    assert recall_profile(separation, gallery, [size]) == pytest.approx(simulated, abs=1.2)


@pytest.mark.parametrize("gallery", [1, 5, 5_000])
def test_recall_profile_for_any_gallery_size(gallery):
    r1, r5, r10 = recall_profile(3.0, gallery, [1])
    assert 0 < r1 <= r5 <= r10 <= 100.0001


PROFILES = [
    (recall_profile(2.5, 363, [1]), [1] * 363, 100.0, "weak_model"),
    ((58.5, 83.0, 88.8), [1] * 1000, 100.0, "weak_model"),
    (tuple(0.9 * r for r in recall_profile(3.3, 363, [3])), [3] * 363, 33.4, "duplicates"),
    (USERS, [1] * 363, 100.0, "look_alikes"),
    ((60.0, 90.0, 95.0), [3] * 363, 33.4, "above"),
    ((100.0, 100.0, 100.0), [1] * 60, 100.0, "at_ceiling"),
    ((34.0, 95.0, 99.0), [3] * 363, 33.4, "at_ceiling"),
]


@pytest.mark.parametrize(("profile", "sizes", "best", "looks_like"), PROFILES, ids=[row[3] for row in PROFILES])
def test_read_profile(profile, sizes, best, looks_like):
    assert read_profile(profile, len(sizes), sizes, best).looks_like == looks_like


@pytest.mark.parametrize("profile", [(33.88, 79.61), (50.0, 40.0, 60.0), (-1.0, 4.0, 5.0), (1.0, 4.0, 500.0)])
def test_exception_invalid_profile(profile):
    with pytest.raises(ConfigError, match=rf"profile=\[{profile[0]}.*three rising percentages"):
        read_profile(profile, 363, [1] * 363, 100.0)


def test_clean_split_has_no_findings():
    section = diagnose_ceiling("val", DuplicateGroups(*[np.arange(50)] * 3), np.arange(50), None)
    assert section.findings == []
    assert section.values["t2i_r1"] == 100.0


def test_section_reports_ceiling_and_profile():
    group = np.arange(363) // 2
    section = diagnose_ceiling("val", DuplicateGroups(group, group, np.arange(363)), np.arange(363), USERS)
    assert codes(section.findings) == ["ceiling", "profile_duplicates"], "every image twice explains this profile"
    lost, profile = section.findings
    assert lost.points == pytest.approx(100 - 50 - 50 / 363, abs=0.01)
    assert "33.88 / 79.61 / 91.18" in profile.seen
    assert "44 to 63 without duplicates" in profile.seen
    assert profile.points == pytest.approx(10.6, abs=0.3)


def test_model_above_the_ceiling_withdraws_it():
    group, own = np.arange(60) // 2, np.arange(60)
    section = diagnose_ceiling("val", DuplicateGroups(group, own, own), own, (96.67, 100.0, 100.0))
    (finding,) = section.findings
    assert (finding.code, finding.severity) == ("profile_above", "info")
    assert "clean" not in finding.do
    assert "so the ceiling does not hold" in finding.why


def test_profile_and_power_state_the_same_interval():
    own = np.arange(60)
    (profile,) = diagnose_ceiling("val", DuplicateGroups(own, own, own), own, (90.0, 96.67, 100.0)).findings
    (power,) = diagnose_power("val", 60, 90.0).findings
    interval = format_interval(recall_interval(90.0, 60))
    assert interval in profile.seen
    assert interval in power.seen
