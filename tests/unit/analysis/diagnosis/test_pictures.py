import re

import numpy as np
import pytest

from helpers.planted import codes, planted_split
from tangka_match.analysis.diagnosis.pictures import diagnose_pictures
from tangka_match.data.feature_scan import scan_features


def diagnose(root, train=lambda features: None, val=lambda features: None):
    splits = {
        "train": planted_split(root, "train", images=120, change=train),
        "val": planted_split(root, "val", change=val),
    }
    return diagnose_pictures(splits, {name: scan_features(split) for name, split in splits.items()})


def add_nan_and_inf(features):
    features[3, 1, 5], features[3, 2, 0], features[7, 0, 0] = np.nan, np.inf, -np.inf


def double(features):
    features *= 2


def shift(features):
    features += 0.3


def clear_image(features):
    features[4] = 0


def clear_region(features):
    features[4, 2] = 0


def amplify_image(features):
    features[9] *= 20


def fix_dimension(features):
    features[:, :, 11] = 1.5


FAULTS = [
    (
        add_nan_and_inf,
        "not_finite",
        "fault",
        ("dev-0003", "dev-0007"),
        r"2 images of val with NaN or Inf, in 3 regions altogether: dev-0003, dev-0007",
    ),
    (clear_image, "empty_images", "fault", ("dev-0004",), r"1 image of val with zero features only: dev-0004"),
    (
        clear_region,
        "zero_regions",
        "warning",
        ("dev-0004",),
        r"1 image of val with zero regions between real ones: dev-0004",
    ),
    (
        amplify_image,
        "odd_norms",
        "warning",
        ("dev-0009",),
        r"1 image of val with outlying region norms: .*median of the split 9\.\d",
    ),
    (fix_dimension, "constant_dimensions", "warning", (), r"1 of 48 feature dimensions are constant in val: 11"),
    (double, "scale_drift", "fault", (), r"median region norm is 19\.\d in val and 9\.\d+ in train"),
    (shift, "feature_drift", "warning", (), r"val and train differ: .* \d+\.\d times"),
]


def test_clean_set_has_no_findings(tmp_path):
    section = diagnose(tmp_path)
    assert section.findings == []
    assert section.values["images"] == {"train": 120, "val": 60}
    assert len(section.charts) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fault", FAULTS, ids=[fault[1] for fault in FAULTS])
def test_planted_fault_is_the_only_finding(tmp_path, fault):
    plant, code, severity, ids, seen = fault
    (finding,) = diagnose(tmp_path, val=plant).findings
    assert (finding.code, finding.severity, finding.ids) == (code, severity, ids)
    assert re.search(seen, finding.seen), finding.seen


def test_padding_at_the_end_is_info(tmp_path):
    def pad(features):
        features[::2, 4:] = 0

    (finding,) = diagnose(tmp_path, val=pad).findings
    assert (finding.code, finding.severity) == ("padding", "info")
    assert "30 images of val" in finding.seen
    assert "16.7 % of all regions" in finding.seen


def test_all_faults_of_a_split_are_reported_together(tmp_path):
    def damage(features):
        add_nan_and_inf(features)
        clear_image(features)
        amplify_image(features)

    assert codes(diagnose(tmp_path, train=damage).findings) == ["not_finite", "empty_images", "odd_norms"]


def test_split_of_zeros_is_reported(tmp_path):
    found = codes(diagnose(tmp_path, val=lambda features: features.fill(0)).findings)
    assert found[0] == "empty_images"


def test_scan_excludes_invalid_regions(tmp_path):
    def damage(features):
        features[:] = 1
        features[0, 0], features[1, :5], features[2] = np.nan, 0, 0

    scan = scan_features(planted_split(tmp_path, "val", images=3, change=damage))
    assert scan.valid.sum(axis=1).tolist() == [5, 1, 0]
    assert scan.means[:2] == pytest.approx(48**-0.5)
    assert (scan.means[2] == 0).all()
    assert scan.norms.max() == pytest.approx(48**0.5)
