"""Data module with extra sets in the training batches."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from helpers.precomp import write_dataset, write_precomp
from helpers.small_runs import quiet_trainer, small_module
from helpers.stub_matchers import PooledMatcher
from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.losses import InfoNCELoss
from tangka_match.training.callbacks import ExactResume, LastCheckpoint
from tangka_match.training.noisy_pairs import NoisyPairWeights

TEXTS = ["白狗", "黑猫", "白马", "红鸟", "绿树"]


@pytest.fixture
def main(tmp_path):
    return write_dataset(tmp_path / "main", train=12, val=5, captions_per_image=2)


@pytest.fixture
def flickr(tmp_path):
    return write_precomp(tmp_path / "flickr", images=10, captions=TEXTS * 2, seed=7).root


def set_up(root, *mixed, **settings):
    mix = [{"root": str(other), "share": share} for other, share in mixed]
    data = RegionTextDataModule(str(root), **({"batch_size": 8, "mix": mix} | settings))
    data.setup("fit")
    return data


def test_batches_come_from_both_sets_and_validation_from_the_main_set(main, flickr):
    data = set_up(main, (flickr, 0.25))
    assert (data.train.num_images, data.train.num_captions, data.val.num_images) == (22, 34, 5)
    assert data.steps_per_epoch == 4  # 24 main pairs are three quarters of 32
    for batch in data.train_dataloader():
        extra = batch.caption_index >= 24
        assert extra.sum() == 2
        assert torch.equal(batch.image_index[extra], batch.caption_index[extra] - 12)
        assert torch.equal(batch.image_index[~extra], batch.caption_index[~extra] // 2)
        np.testing.assert_array_equal(batch.regions, data.train.features.read(batch.image_index.numpy()))
        for row, index in enumerate(batch.caption_index.tolist()):
            ids = batch.token_ids[row][batch.token_mask[row]].tolist()
            assert ids == data.vocabulary.encode(data.tokenizer(data.train.captions[index]))
    assert sum(len(batch.image_index) for batch in data.val_dataloader()[0]) == 5


def test_vocabulary_has_the_words_of_all_training_captions(main, flickr):
    alone, mixed = set_up(main), set_up(main, (flickr, 0.25))
    assert "狗" not in "".join(alone.vocabulary.words)
    assert mixed.vocabulary.words[: len(alone.vocabulary)] == alone.vocabulary.words
    assert all(word in mixed.vocabulary for text in TEXTS for word in mixed.tokenizer(text))


def test_fingerprint_depends_on_sets_and_shares(main, flickr, tmp_path):
    other = write_precomp(tmp_path / "other", images=10, seed=9).root
    prints = [
        set_up(main, *mixed).fingerprint
        for mixed in ([], [(flickr, 0.25)], [(flickr, 0.5)], [(other, 0.25)], [(flickr, 0.25), (other, 0.25)])
    ]
    assert len(set(prints)) == 5
    assert set_up(main, (flickr, 0.5)).fingerprint == prints[2]


def test_train_share_does_not_reduce_extra_sets(main, flickr):
    data = set_up(main, (flickr, 0.5), train_share=0.5)
    assert [part.num_captions for part in data.train_sets] == [12, 10]
    assert data.steps_per_epoch == 3


def test_batches_and_captions_of_all_training_sets(main, flickr):
    data = set_up(main, (flickr, 0.25))
    assert sum(len(batch.image_index) for batch in data.image_batches()) == 22
    assert sum(len(batch.caption_index) for batch in data.caption_batches()) == 34
    captions = data.training_captions()
    assert captions.caption_to_image.tolist() == [*np.repeat(np.arange(12), 2), *range(12, 22)]
    # A quarter of the drawn pairs comes from 10 of 34 pairs.
    assert captions.weights[24:].tolist() == pytest.approx([0.25 * 34 / 10] * 10)
    assert captions.weights.mean() == pytest.approx(1)
    assert set_up(main).training_captions().weights is None


def test_curriculum_with_extra_sets(main, flickr):
    data = set_up(main, (flickr, 0.25), initial_competence=0.5)
    data.set_total_epochs(4)
    assert len(list(data.train_dataloader())) == 4


class StoppedError(Exception):
    pass


class Stop(pl.Callback):
    def __init__(self, after):
        self.after = after

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.after:
            raise StoppedError


def fit(main, flickr, folder, *callbacks, resume=None):
    """Train three epochs of four steps with pair weights, and return the model weights."""
    data = set_up(main, (flickr, 0.25))
    module = small_module(
        PooledMatcher(8, 4, len(data.vocabulary)),
        InfoNCELoss(0.1),
        val_caption_to_image=torch.as_tensor(data.val.caption_to_image),
        hooks=[NoisyPairWeights([part.num_captions for part in data.train_sets], 0.3)],
    )
    keep = [ExactResume(data.batch_sampler), LastCheckpoint(folder / "last.ckpt", 1, lambda step: None)]
    quiet_trainer(max_epochs=3, callbacks=[*keep, *callbacks]).fit(module, datamodule=data, ckpt_path=resume)
    return module.state_dict()


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
@pytest.mark.parametrize("steps", [3, 4, 6, 11])
def test_resumed_training_equals_uninterrupted_training(main, flickr, tmp_path, steps):
    torch.manual_seed(0)
    whole = fit(main, flickr, tmp_path)
    torch.manual_seed(0)
    with pytest.raises(StoppedError):
        fit(main, flickr, tmp_path, Stop(steps))
    resumed = fit(main, flickr, tmp_path, resume=tmp_path / "last.ckpt")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_summary(main, flickr):
    assert set_up(main).summary == "train 24 captions of 12 images, val 10 of 5; 3 steps per epoch"
    assert set_up(main, (flickr, 0.25)).summary == (
        f"train 24 captions of 12 images and 25 % of each batch from 10 captions of 10 images in {flickr}, "
        "val 10 of 5; 4 steps per epoch"
    )


def test_caption_without_words_is_reported_with_its_file(main, tmp_path):
    write_precomp(tmp_path / "b", images=3, captions=["白狗", "……", "黑猫"], seed=4)
    with pytest.raises(DataFormatError, match=r"/b/train_caps\.txt: 1 caption of 3 without a word.*line 2"):
        set_up(main, (tmp_path / "b", 0.25))


def test_settings_are_checked_before_data_is_opened():
    half = [{"root": "/no", "share": 0.5}]
    with pytest.raises(ConfigError, match=r"data\.mix\[0\]\.share=1\.5 must be in \(0, 1\)"):
        RegionTextDataModule("/nowhere", mix=[{"root": "/no", "share": 1.5}])
    with pytest.raises(ConfigError, match=r"data\.hard_batches=0\.5 and data\.mix with 1 set\(s\)"):
        RegionTextDataModule("/nowhere", mix=half, hard_batches=0.5)


def test_extra_set_too_small_for_its_share(main, flickr):
    with pytest.raises(
        ConfigError, match=r"data\.mix\[0\] has 10 pairs, but its share of a batch of 24 is 1[23] pairs"
    ):
        set_up(main, (flickr, 0.5), batch_size=24)
