import numpy as np
import torch

from helpers.planted import planted_split
from tangka_match.analysis.diagnosis.model.scored import score_split, undamaged_bank
from tangka_match.data.feature_scan import scan_features
from tangka_match.retrieval.corrections import Bank


def test_bank_excludes_damaged_images_and_their_captions(tmp_path):
    def damage(features):
        features[3, 2, 1], features[5] = np.nan, 0.0

    train = planted_split(tmp_path, "train", images=20, change=damage)
    bank = undamaged_bank(train, scan_features(train))
    assert sorted(set(range(20)) - set(bank.images.tolist())) == [3, 5]
    assert sorted(set(range(20)) - set(bank.captions.tolist())) == [3, 5]
    assert len(undamaged_bank(train, scan_features(train), size=4).images) == 4


def test_no_bank_if_all_images_are_damaged(tmp_path):
    train = planted_split(tmp_path, "train", images=20, change=lambda features: features.fill(np.nan))
    assert undamaged_bank(train, scan_features(train)) is None


def test_corrections_need_a_bank(small_matchers, small_set):
    matcher = small_matchers["vse"]
    rows = np.arange(6)
    plain, corrected = (
        score_split(matcher, small_set, None),
        score_split(matcher, small_set, Bank(small_set, rows, rows)),
    )
    assert plain.corrected == {}
    assert set(corrected.corrected) == {"qb_norm", "nnn"}
    assert torch.equal(plain.similarity, corrected.similarity)
    assert plain.words[0] == matcher.tokenizer(small_set.captions[0])
