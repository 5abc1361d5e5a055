import re

import numpy as np
import pytest

from helpers.planted import codes, planted_split
from tangka_match.analysis.diagnosis.feature_scan import scan_features
from tangka_match.analysis.diagnosis.pictures import diagnose_pictures


def diagnosed(root, train=lambda features: None, val=lambda features: None):
    splits = {
        "train": planted_split(root, "train", images=120, change=train),
        "val": planted_split(root, "val", change=val),
    }
    return diagnose_pictures(splits, {name: scan_features(split) for name, split in splits.items()})


def poison(features):
    features[3, 1, 5], features[3, 2, 0], features[7, 0, 0] = np.nan, np.inf, -np.inf


def scaled(features):
    features *= 2


def shifted(features):
    features += 0.3


def empty(features):
    features[4] = 0


def holes(features):
    features[4, 2] = 0


def loud(features):
    features[9] *= 20


def dead(features):
    features[:, :, 11] = 1.5


FAULTS = [
    (poison, "not_finite", "fault", ("dev-0003", "dev-0007"), r"2 images of val, 3 regions in all: dev-0003, dev-0007"),
    (empty, "empty_images", "fault", ("dev-0004",), r"1 image of val: dev-0004"),
    (holes, "zero_regions", "warning", ("dev-0004",), r"before real ones in 1 image of val: dev-0004"),
    (loud, "odd_norms", "warning", ("dev-0009",), r"in 1 image of val, where the median is 9\.\d"),
    (dead, "constant_dimensions", "warning", (), r"all over val in 1 of 48 dimensions: 11"),
    (scaled, "scale_drift", "fault", (), r"regions of val have a median norm of 19\.\d, of train 9\.\d"),
    (shifted, "feature_drift", "warning", (), r"val and train are \d+\.\d times as far apart"),
]


def test_a_set_without_fault_gets_a_clean_bill(tmp_path):
    section = diagnosed(tmp_path)
    assert section.findings == []
    assert section.values["images"] == {"train": 120, "val": 60}
    assert len(section.charts) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fault", FAULTS, ids=[fault[1] for fault in FAULTS])
def test_a_planted_fault_is_found_and_no_other(tmp_path, fault):
    plant, code, severity, ids, seen = fault
    (finding,) = diagnosed(tmp_path, val=plant).findings
    assert (finding.code, finding.severity, finding.ids) == (code, severity, ids)
    assert re.search(seen, finding.seen), finding.seen


def test_padding_at_the_end_is_no_fault(tmp_path):
    def pad(features):
        features[::2, 4:] = 0

    (finding,) = diagnosed(tmp_path, val=pad).findings
    assert (finding.code, finding.severity) == ("padding", "info")
    assert "30 images of val" in finding.seen
    assert "16.7 % of all regions" in finding.seen


def test_all_faults_of_a_split_are_named_at_once(tmp_path):
    def ruin(features):
        poison(features)
        empty(features)
        loud(features)

    assert codes(diagnosed(tmp_path, train=ruin).findings) == ["not_finite", "empty_images", "odd_norms"]


def test_a_split_of_zeros_alone_is_survived(tmp_path):
    found = codes(diagnosed(tmp_path, val=lambda features: features.fill(0)).findings)
    assert found[0] == "empty_images"


def test_the_scan_leaves_bad_regions_out(tmp_path):
    def ruin(features):
        features[:] = 1
        features[0, 0], features[1, :5], features[2] = np.nan, 0, 0

    scan = scan_features(planted_split(tmp_path, "val", images=3, change=ruin))
    assert scan.good.sum(axis=1).tolist() == [5, 1, 0]
    assert scan.means[:2] == pytest.approx(48**-0.5)
    assert (scan.means[2] == 0).all()
    assert scan.norms.max() == pytest.approx(48**0.5)
