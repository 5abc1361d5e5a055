import errno
import json

import numpy as np
import pytest
import torch

import tangka_match
from helpers.precomp import write_precomp
from helpers.small_checkpoints import SGR, write_checkpoint
from tangka_match.data.split import load_split
from tangka_match.errors import CheckpointError, ConfigError, DataFormatError, TrainingError
from tangka_match.metrics import retrieval_ranks
from tangka_match.retrieval.corrections import CORRECTIONS, TRANSDUCTIVE, Bank, CorrectionSettings
from tangka_match.retrieval.evaluation import Extras, choose_weights, evaluate_split
from tangka_match.retrieval.evaluation_files import FILES, check_out, write_evaluation
from tangka_match.retrieval.fusion import rank_scores, select_weights
from tangka_match.retrieval.protocols import EvaluationProtocol
from tangka_match.retrieval.tables import variants_table


@pytest.fixture
def data(tmp_path):
    """Write a train, a val and a test split, and return the folder."""
    for seed, name in enumerate(("train", "val", "test")):
        write_precomp(tmp_path / "set", name, images=6 + seed, captions_per_image=2, seed=seed)
    return tmp_path / "set"


@pytest.fixture
def split(data):
    return load_split(data, "test")


def matcher(tmp_path, split, *, dtype=torch.float32, **settings):
    return tangka_match.load(write_checkpoint(tmp_path / "m.ckpt", list(split.captions), **settings), dtype=dtype)


def test_ensemble_averages_scores(tmp_path, split):
    one, two = matcher(tmp_path, split), matcher(tmp_path, split, model=SGR, seed=1)
    alone = [evaluate_split([m], split, EvaluationProtocol()).similarity for m in (one, two)]
    both = evaluate_split([one, two], split, EvaluationProtocol())
    torch.testing.assert_close(both.similarity, (alone[0] + alone[1]) / 2)
    fused = evaluate_split([one, two], split, EvaluationProtocol(), fusion="rank")
    torch.testing.assert_close(fused.similarity, (rank_scores(alone[0]) + rank_scores(alone[1])) / 2)
    fused = evaluate_split([one, two], split, EvaluationProtocol(), fusion="standardised")
    torch.testing.assert_close(fused.similarity, (alone[0] / alone[0].std() + alone[1] / alone[1].std()) / 2)
    fused = evaluate_split([one, two], split, EvaluationProtocol(), weights=[3, 1])
    torch.testing.assert_close(fused.similarity, (3 * alone[0] + alone[1]) / 4)
    with pytest.raises(ConfigError, match="fusion='median': allowed are mean, standardised, rank"):
        evaluate_split([one], split, EvaluationProtocol(), fusion="median")


def test_bank_is_weighted_like_the_scores(tmp_path, data, split):
    one, two = matcher(tmp_path, split), matcher(tmp_path, split, model=SGR, seed=1)
    extras = Extras(corrections=("nnn",), bank=Bank.draw(load_split(data, "train"), 5, 0, split))
    settings = {"fusion": "standardised", "extras": extras}
    alone = evaluate_split([one], split, EvaluationProtocol(), **settings)
    both = evaluate_split([one, two], split, EvaluationProtocol(), weights=[2, 0], **settings)
    assert both.corrected["nnn"] == alone.corrected["nnn"]


def test_collapsed_member_of_an_ensemble_is_named(tmp_path, split):
    one, two = matcher(tmp_path, split), matcher(tmp_path, split, weight=0.0)
    found = evaluate_split([one, two], split, EvaluationProtocol()).warnings
    assert [warning for warning in found if "has collapsed: all its scores are" in warning] == found[:1]
    assert str(two.metadata["run_id"]) in found[0]


def test_weights_of_a_group_are_shared_equally(tmp_path, split):
    one, two, three = (matcher(tmp_path, split, seed=seed) for seed in range(3))
    alone = [evaluate_split([m], split, EvaluationProtocol()).similarity for m in (one, two, three)]
    alone = [scores / scores.std() for scores in alone]
    group, single = select_weights([(alone[0] + alone[1]) / 2, alone[2]], torch.as_tensor(split.caption_to_image))
    weights = choose_weights([[one, two], [three]], split, fusion="standardised")
    assert weights == pytest.approx([group / 2, group / 2, single], abs=1e-6)


def test_standardised_fusion_scales_the_bank_like_the_split(tmp_path, data, split):
    """One model: its corrected ranks do not depend on the scale of its scores, if the bank has the same scale."""
    model = matcher(tmp_path, split)
    extras = Extras(corrections=("nnn",), bank=Bank.draw(load_split(data, "train"), 5, 0, split))
    mean, scaled = (
        evaluate_split([model], split, EvaluationProtocol(), fusion=fusion, extras=extras)
        for fusion in ("mean", "standardised")
    )
    assert scaled.corrected["nnn"].metrics == mean.corrected["nnn"].metrics


def test_bfloat16_scores_are_close_to_float32(tmp_path, split):
    full = evaluate_split([matcher(tmp_path, split)], split, EvaluationProtocol()).similarity
    half = evaluate_split([matcher(tmp_path, split, dtype=torch.bfloat16)], split, EvaluationProtocol()).similarity
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    torch.testing.assert_close(half, full, atol=0.02, rtol=0)


def test_corrections_are_reported_beside_unchanged_raw_metrics(tmp_path, data, split):
    model = matcher(tmp_path, split)
    plain = evaluate_split([model], split, EvaluationProtocol())
    bank = Bank.draw(load_split(data, "train"), 5, 0, split)
    extras = Extras(CORRECTIONS, CorrectionSettings(nnn_k=3), bank, near_duplicates=0.0)
    found = evaluate_split([model], split, EvaluationProtocol(), extras=extras)
    assert found.raw == plain.raw
    report = found.report()
    assert {name for name in report["corrected"] if report["corrected"][name]["transductive"]} == set(TRANSDUCTIVE)
    assert set(report["corrected"]) == set(CORRECTIONS)
    assert all(len(report["corrected"][name]["i2t_r1_ci95"]) == 2 for name in CORRECTIONS)
    assert {"corrected", "near_duplicates"}.isdisjoint(plain.report())
    labels = list(variants_table(found).columns[0].cells)
    assert labels[0] == "raw"
    assert [label for label in labels if "(transductive)" in label] == [
        f"{name} (transductive)" for name in TRANSDUCTIVE
    ]
    assert "transductive" in variants_table(found).caption


@pytest.mark.parametrize(("threshold", "warns"), [(0.0, False), (2.0, True)])
def test_threshold_that_makes_most_pairs_correct_is_reported(tmp_path, split, threshold, warns):
    found = evaluate_split(
        [matcher(tmp_path, split)], split, EvaluationProtocol(), extras=Extras(near_duplicates=threshold)
    )
    said = [
        warning for warning in found.warnings if warning.startswith(f"near_duplicates.threshold={threshold:g} makes")
    ]
    assert len(said) == warns


def test_clipped_settings_are_reported(tmp_path, data, split):
    model, bank = matcher(tmp_path, split), Bank.draw(load_split(data, "train"), 5, 0, split)

    def evaluated(**settings):
        extras = Extras(("qb_norm", "nnn", "k_reciprocal"), CorrectionSettings(**settings), bank)
        return evaluate_split([model], split, EvaluationProtocol(folds=2), extras=extras)

    clipped, exact = evaluated(nnn_k=6, top_k=9, candidates=99), evaluated(nnn_k=5, top_k=4, candidates=4)
    assert clipped.warnings[-3:] == [
        "correction.top_k=9 is larger than the gallery of 4 items and was clipped to 4",
        "correction.candidates=99 is larger than the gallery of 4 items and was clipped to 4",
        "correction.nnn_k=6 is larger than the bank of 5 queries and was clipped to 5",
    ]
    assert not any("clipped" in warning for warning in exact.warnings)
    assert clipped.corrected["nnn"] == exact.corrected["nnn"]


def test_bank_is_drawn_from_another_split(data, split):
    train = load_split(data, "train")
    bank = Bank.draw(train, 4, 0, split)
    assert (len(bank.images), len(bank.captions)) == (4, 4)
    assert (np.diff(bank.images) > 0).all()
    assert len(Bank.draw(train, 1000, 0, split).captions) == 12
    with pytest.raises(ConfigError, match=r"bank.split=test holds the data under evaluation"):
        Bank.draw(load_split(data, "test"), 4, 0, split)
    with pytest.raises(ConfigError, match=r"qb_norm and nnn need a bank"):
        Extras(["nnn"])
    with pytest.raises(ConfigError, match=r"hubness=\['qbnorm'\]: unknown correction; allowed are qb_norm"):
        Extras(["qbnorm"])


def test_collapsed_model_is_at_chance_with_a_warning(tmp_path, split):
    found = evaluate_split([matcher(tmp_path, split, weight=0.0)], split, EvaluationProtocol())
    assert found.similarity.unique().numel() == 1
    assert found.raw.metrics["i2t_r1"] == found.raw.metrics["t2i_r1"] == 100 / 8
    assert "the model has collapsed" in found.warnings[0]


def test_nan_scores_are_an_error(tmp_path, split):
    with pytest.raises(TrainingError, match="similarity is NaN at row 0, column 0"):
        evaluate_split([matcher(tmp_path, split, weight=float("nan"))], split, EvaluationProtocol())
    with pytest.raises(TrainingError, match="similarity is NaN at row 0, column 0"):
        evaluate_split([matcher(tmp_path, split, weight=float("nan"))], split, EvaluationProtocol(), fusion="rank")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 9}, r"test_ims.npy has features of 8 dimensions, .* was trained on 9"),
        ({"regions": 3}, r"test_ims.npy has 4 regions per image, .* was trained on 3"),
    ],
)
def test_mismatched_features_are_an_error(tmp_path, split, settings, message):
    with pytest.raises(CheckpointError, match=message):
        evaluate_split([matcher(tmp_path, split, **settings)], split, EvaluationProtocol())


def test_fewer_regions_than_trained_on_are_padded(tmp_path, split):
    model = matcher(tmp_path, split, regions=6)
    padded = np.pad(split.features.read(np.arange(split.num_images)), ((0, 0), (0, 2), (0, 0)))
    expected = model.similarity(padded, split.captions)
    torch.testing.assert_close(evaluate_split([model], split, EvaluationProtocol()).similarity, expected)


def test_captions_with_unknown_words_only_are_an_error(tmp_path, split):
    model = tangka_match.load(write_checkpoint(tmp_path / "m.ckpt", ["a man on a horse", "two dogs"]))
    with pytest.raises(CheckpointError, match=r"test_caps.txt: none of the words of its 16 captions is in"):
        evaluate_split([model], split, EvaluationProtocol())
    few = tangka_match.load(write_checkpoint(tmp_path / "m.ckpt", ["手持"]))
    assert "% of the words of" in evaluate_split([few], split, EvaluationProtocol()).warnings[0]


def test_single_query_is_an_error(tmp_path):
    write_precomp(tmp_path / "set", "test", images=1)
    split = load_split(tmp_path / "set", "test")
    with pytest.raises(DataFormatError, match=r"1 image\(s\) and 1 caption\(s\); recall needs at least 2 of each"):
        evaluate_split([matcher(tmp_path, split)], split, EvaluationProtocol())


def test_written_folder_holds_scores_ranks_and_metrics(tmp_path, split):
    found = evaluate_split([matcher(tmp_path, split)], split, EvaluationProtocol())
    out = tmp_path / "out"
    assert check_out(out) is False
    write_evaluation(out, found, split, {"split": "test"})
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    scores = torch.from_numpy(np.load(out / "similarity.npy"))
    assert torch.equal(scores, found.similarity)
    metrics = json.loads((out / "metrics.json").read_text("utf-8"))
    ranks = retrieval_ranks(scores, torch.as_tensor(split.caption_to_image))
    assert metrics["t2i_mean_rank"] == ranks.t2i.double().mean().item()
    (out / ".partial-metrics.json").write_text("of an interrupted evaluation")
    assert check_out(out) is True
    write_evaluation(out, found, split, {"split": "test"})
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"out holds notes.txt, and nothing is overwritten"):
        check_out(out)


def test_interrupted_write_removes_earlier_metrics(tmp_path, split, monkeypatch):
    found = evaluate_split([matcher(tmp_path, split)], split, EvaluationProtocol())
    write_evaluation(tmp_path / "out", found, split, {})
    rename = type(tmp_path).replace

    def fail(self, target):
        if target.name == "ranks.csv":
            raise OSError(errno.ENOSPC, "no space")
        return rename(self, target)

    monkeypatch.setattr(type(tmp_path), "replace", fail)
    with pytest.raises(OSError, match=r"No space left on device: .*ranks\.csv"):
        write_evaluation(tmp_path / "out", found, split, {})
    assert not (tmp_path / "out/metrics.json").exists()


@pytest.mark.parametrize(
    ("setting", "message"), [({"dtype": torch.float16}, "float16"), ({"batch_size": 0}, "batch_size=0 must be >= 1")]
)
def test_load_refuses_invalid_settings(tmp_path, split, setting, message):
    path = write_checkpoint(tmp_path / "m.ckpt", list(split.captions))
    with pytest.raises(ConfigError, match=message):
        tangka_match.load(path, **setting)
