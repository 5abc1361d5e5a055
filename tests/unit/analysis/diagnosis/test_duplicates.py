import numpy as np
import pytest

from helpers.planted import codes, planted_split
from tangka_match.analysis.diagnosis.duplicates import diagnose_duplicates
from tangka_match.analysis.diagnosis.texts import Texts
from tangka_match.data.feature_scan import scan_features


def diagnose(recalls=None, **splits):
    texts = {
        name: Texts(split, split.captions, [tuple(text) for text in split.captions]) for name, split in splits.items()
    }
    return diagnose_duplicates(texts, {name: scan_features(split) for name, split in splits.items()}, recalls)


def sentences(split):
    return [f"{split}{chr(0x4E00 + n)}" for n in range(60)]


def test_set_without_duplicates_has_no_findings(tmp_path):
    train, val = (planted_split(tmp_path, name, captions=sentences(name)) for name in ("train", "val"))
    section, groups = diagnose(train=train, val=val)
    assert section.findings == []
    assert len(set(groups["val"].images)) == len(set(groups["val"].captions)) == 60


def test_caption_shared_by_two_images_lowers_the_recall(tmp_path):
    captions = sentences("val")
    captions[7] = captions[30] + "。"
    section, groups = diagnose(val=planted_split(tmp_path, "val", captions=captions))
    (finding,) = section.findings
    assert (finding.code, finding.severity, finding.ids) == (
        "same_captions",
        "warning",
        ("val caption 8", "val caption 31"),
    )
    assert finding.points == pytest.approx(100 / 60)
    assert groups["val"].captions[7] == groups["val"].captions[30]


def test_shared_caption_in_train_does_not_lower_the_recall(tmp_path):
    captions = sentences("train")
    captions[7] = captions[30]
    (finding,) = diagnose(train=planted_split(tmp_path, "train", captions=captions))[0].findings
    assert (finding.code, finding.points) == ("same_captions", None)


def test_captions_with_the_same_words_in_a_different_order_are_reported(tmp_path):
    captions = sentences("val")
    captions[1], captions[2] = "狗追猫", "猫追狗"
    (finding,) = diagnose(val=planted_split(tmp_path, "val", captions=captions))[0].findings
    assert (finding.code, finding.ids) == ("reordered_captions", ("val caption 2", "val caption 3"))


def test_near_duplicates_within_a_split_are_reported(tmp_path):
    def change(features):
        features[9] = features[3] + 0.01

    split = planted_split(tmp_path, "val", captions=sentences("val"), change=change)
    (finding,) = diagnose(val=split)[0].findings
    assert (finding.code, finding.ids) == ("near_images", ("dev-0003", "dev-0009"))
    assert finding.points == pytest.approx(100 / 60)
    assert "2 of 60 images of val" in finding.seen
    assert "dev-0003 = dev-0009" in finding.seen


def test_criterion_of_near_duplicates_is_stated(tmp_path):
    def change(features):
        features[9] = features[3] + 0.4 * np.random.default_rng(0).normal(size=features[3].shape)

    section, _ = diagnose(val=planted_split(tmp_path, "val", captions=sentences("val"), change=change))
    limit = section.values["val"]["max_distance"]
    assert 0.1 < limit < 0.6
    assert f"threshold {limit:.2g})" in section.findings[0].seen
    assert f"at most {limit:.2g}, 5 standard deviations" in dict(section.facts)["val: criterion of near-duplicates"]


@pytest.mark.parametrize(("noise", "severity"), [(0.4, "info"), (0.0, "warning")])
def test_model_above_the_ceiling_refutes_near_but_not_exact_duplicates(tmp_path, noise, severity):
    def change(features):
        features[30:] = features[:30] + noise * np.random.default_rng(0).normal(size=features[:30].shape)

    split = planted_split(tmp_path, "val", captions=sentences("val"), change=change)
    (finding,) = diagnose({"val": 98.3}, val=split)[0].findings
    assert (finding.code, finding.severity, len(finding.ids)) == ("near_images", severity, 60)
    assert ("have a very similar image" in finding.seen) == (severity == "info")
    (unrefuted,) = diagnose({"val": 40.0}, val=split)[0].findings
    assert unrefuted.severity == "warning"


def test_listed_groups_match_their_count(tmp_path):
    def change(features):
        features[9], features[12], features[40] = features[3], features[3], features[20]

    (finding,) = diagnose(val=planted_split(tmp_path, "val", captions=sentences("val"), change=change))[0].findings
    assert "2 groups: dev-0003 = dev-0009 = dev-0012; dev-0020 = dev-0040" in finding.seen


def test_large_group_is_truncated(tmp_path):
    def change(features):
        features[1:9] = features[0]

    (finding,) = diagnose(val=planted_split(tmp_path, "val", captions=sentences("val"), change=change))[0].findings
    assert "1 group: dev-0000 = dev-0001 = dev-0002 = dev-0003 = dev-0004 = 4 more" in finding.seen
    assert len(finding.ids) == 9


def test_leaks_are_listed_by_id(tmp_path):
    train = planted_split(tmp_path, "train", captions=sentences("train"))
    taken = train.features.read(np.array([10, 20]))

    def change(features):
        features[5] = taken[0]
        features[6] = taken[1] + np.random.default_rng(0).normal(size=taken[1].shape) * 0.4

    captions = sentences("val")
    captions[50] = train.captions[2]
    val = planted_split(tmp_path, "val", captions=captions, change=change)
    exact, near, text = diagnose(train=train, val=val)[0].findings
    assert codes([exact, near, text]) == ["image_leak", "near_image_leak", "caption_leak"]
    assert (exact.severity, exact.ids) == ("fault", ("dev-0005 = train train-0010",))
    assert (near.severity, near.ids) == ("warning", ("dev-0006 = train train-0020",))
    assert (text.severity, text.ids) == ("warning", ("val caption 51",))
    assert exact.points == near.points == text.points == 100 / 60
