from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from helpers.precomp import write_dataset, write_precomp
from tangka_match.data import dataset
from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.data.split import load_split
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.types import CaptionBatch, ImageBatch, RegionTextBatch


@pytest.fixture
def root(tmp_path):
    return str(write_dataset(tmp_path, train=12, val=5, captions_per_image=2))


def set_up(root, **settings):
    data = RegionTextDataModule(root, **({"batch_size": 4} | settings))
    data.setup("fit")
    return data


def captions_seen(loader):
    return [batch.caption_index.tolist() for batch in loader]


class Recorder(pl.LightningModule):
    """Records the captions of each training step, and interrupts the training at one of them."""

    def __init__(self, stop_at=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen, self.stop_at = [], stop_at

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, batch_idx, batch.caption_index.tolist()))
        return self.weight.sum()

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if (self.current_epoch, batch_idx) == self.stop_at:
            raise KeyboardInterrupt

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Resume(pl.Callback):
    """Minimal resume callback."""

    def on_load_checkpoint(self, trainer, pl_module, checkpoint):
        trainer.datamodule.batch_sampler.start_at(*checkpoint["position"])

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        checkpoint["position"] = (trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_progress.current.processed)


def make_trainer(**settings):
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
        **settings,
    )


def test_attributes_after_setup(root):
    data = set_up(root, expected_counts={"train": [12, 24], "val": [5, 10]})
    assert (data.num_regions, data.feature_dim, data.steps_per_epoch) == (4, 8, 6)
    assert (data.train.name, data.train.num_captions) == ("train", 24)
    assert (data.val.name, data.val.num_images) == ("val", 5)
    assert len(data.fingerprint) == 16


def test_prepare_data_writes_a_missing_set(tmp_path):
    class Writer:
        def ensure(self, root):
            write_dataset(root)

    data = RegionTextDataModule(str(tmp_path / "written"), writer=Writer(), batch_size=4)
    data.prepare_data()
    data.setup()
    assert data.train.num_images == 12


def test_training_batches_have_the_pairs_of_the_sampler(root):
    data = set_up(root)
    batches = list(data.train_dataloader())
    assert captions_seen(batches) == list(data.batch_sampler)
    batch = batches[0]
    assert isinstance(batch, RegionTextBatch)
    assert (batch.regions.shape, batch.regions.dtype) == ((4, 4, 8), torch.float16)
    assert batch.image_index.tolist() == (batch.caption_index // 2).tolist()
    np.testing.assert_array_equal(batch.regions, data.train.features.read(batch.image_index.numpy()))
    for row, index in enumerate(batch.caption_index.tolist()):
        ids = batch.token_ids[row][batch.token_mask[row]].tolist()
        assert ids == data.vocabulary.encode(data.tokenizer(data.train.captions[index]))


def test_seed_determines_the_order(root):
    first, again, other = (list(set_up(root, seed=seed).batch_sampler) for seed in (1, 1, 2))
    assert first == again != other


def test_validation_loaders_return_everything_once_in_order(root):
    images, captions = (list(loader) for loader in set_up(root, eval_batch_size=3).val_dataloader())
    assert all(isinstance(batch, ImageBatch) for batch in images)
    assert all(isinstance(batch, CaptionBatch) for batch in captions)
    assert torch.cat([batch.image_index for batch in images]).tolist() == list(range(5))
    assert torch.cat([batch.caption_index for batch in captions]).tolist() == list(range(10))
    assert [len(batch.regions) for batch in images] == [3, 2]


def test_vocabulary_is_built_from_train_captions_only(tmp_path):
    write_precomp(tmp_path, "train", images=4, captions=["白狗在雪地奔跑"] * 4)
    write_precomp(tmp_path, "val", images=2, captions=["大象", "白狗"])
    data = set_up(str(tmp_path))
    assert data.vocabulary == Vocabulary.build([data.tokenizer("白狗在雪地奔跑")])
    batch = next(iter(data.val_dataloader()[1]))
    assert batch.token_ids[0][batch.token_mask[0]].tolist() == [Vocabulary.START, Vocabulary.UNK, Vocabulary.END]


def test_min_count_is_used_for_the_vocabulary(tmp_path):
    write_precomp(tmp_path, "train", images=4, captions=["狗", "狗", "狗", "猫"])
    write_precomp(tmp_path, "val", images=1, captions=["狗"])
    assert len(set_up(str(tmp_path), min_count=3).vocabulary) == 5


def test_given_vocabulary_is_used_unchanged(root, tmp_path):
    given = Vocabulary(["金刚杵", "绿度母"])
    given.save_json(tmp_path / "given.json")
    assert set_up(root, vocabulary_path=str(tmp_path / "given.json")).vocabulary == given


def test_max_tokens_truncates_both_splits(root):
    data = set_up(root, max_tokens=4)
    assert next(iter(data.train_dataloader())).token_ids.shape == (4, 4)
    assert next(iter(data.val_dataloader()[1])).token_ids.shape == (10, 4)


def test_second_setup_reads_nothing(root, monkeypatch):
    data = set_up(root)
    before = data.batch_sampler
    monkeypatch.setattr("tangka_match.data.datamodule.load_split", pytest.fail)
    data.setup("validate")
    assert data.batch_sampler is before


def test_fingerprint_depends_on_both_splits(tmp_path):
    prints = []
    for name, seeds in {"a": (0, 1), "same": (0, 1), "train": (2, 1), "val": (0, 2)}.items():
        for split, seed in zip(("train", "val"), seeds, strict=True):
            write_precomp(tmp_path / name, split, seed=seed)
        prints.append(set_up(str(tmp_path / name)).fingerprint)
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_other_split_names(tmp_path):
    for split, images in (("small", 8), ("test5", 3)):
        write_precomp(tmp_path, split, images=images)
    data = set_up(str(tmp_path), train_split="small", val_split="test5")
    assert (data.train.num_images, data.val.num_images) == (8, 3)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_do_not_depend_on_workers_or_change_the_random_state(root, num_workers):
    data = set_up(root, num_workers=num_workers)
    state = torch.get_rng_state()
    loader = data.train_dataloader()
    epochs = []
    for epoch in range(2):
        data.batch_sampler.set_epoch(epoch)
        epochs.append(captions_seen(loader))
    images, captions = data.val_dataloader()
    assert (len(list(images)), len(list(captions))) == (1, 1)
    expected = set_up(root).batch_sampler
    assert epochs[0] == list(expected)
    expected.set_epoch(1)
    assert epochs[1] == list(expected)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable", "ignore:.*have no `validation_step`")
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("stop_at", [(1, 2), (0, 0), (1, 5)])
def test_trainer_resumes_in_the_middle_of_an_epoch(root, tmp_path, num_workers, stop_at):
    whole = Recorder()
    make_trainer(max_epochs=3).fit(whole, datamodule=set_up(root, seed=4))
    assert len(whole.seen) == 18
    assert whole.seen[0][2] != whole.seen[6][2]

    stopped = Recorder(stop_at)
    trainer = make_trainer(max_epochs=3, callbacks=[Resume()])
    with pytest.raises(SystemExit):
        trainer.fit(stopped, datamodule=set_up(root, seed=4, num_workers=num_workers))
    trainer.save_checkpoint(tmp_path / "last.ckpt")

    resumed = Recorder()
    make_trainer(max_epochs=3, callbacks=[Resume()]).fit(
        resumed, datamodule=set_up(root, seed=4, num_workers=num_workers), ckpt_path=tmp_path / "last.ckpt"
    )
    assert stopped.seen + resumed.seen == whole.seen


def test_rank_and_number_of_epochs_come_from_the_trainer(root):
    class Trainer:
        global_rank, world_size, max_epochs, max_steps = 1, 2, 10, -1

    data = set_up(root, batch_size=3)
    assert data.steps_per_epoch == 8
    sampler = data.batch_sampler
    data.trainer = Trainer()
    data.setup("fit")
    assert data.batch_sampler is sampler  # callbacks keep a reference to it
    assert (sampler.rank, sampler.world_size, sampler.total_epochs, data.steps_per_epoch) == (1, 2, 10, 4)


@pytest.mark.parametrize(
    ("max_epochs", "max_steps", "expected"),
    [(10, -1, 10), (-1, 13, 3), (None, 12, 2), (10, 13, 3), (2, 13, 2), (-1, -1, None)],
)
def test_number_of_epochs_from_the_trainer(root, max_epochs, max_steps, expected):
    data = set_up(root)
    trainer = make_trainer(max_steps=max_steps, max_epochs=max_epochs)
    data.trainer = trainer
    data.setup("fit")
    assert data.batch_sampler.total_epochs == expected


def test_curriculum_starts_with_easy_pairs(tmp_path):
    """One caption is long and has unique words."""
    write_precomp(tmp_path, "train", images=8, captions=[*["白狗"] * 7, "高僧在雪山岩洞修行"])
    write_precomp(tmp_path, "val", images=2, captions=["白狗", "黑狗"])
    data = set_up(str(tmp_path), initial_competence=0.5)
    data.set_total_epochs(4)
    for epoch, includes_hard in enumerate([False, False, True]):
        data.batch_sampler.set_epoch(epoch)
        assert (7 in np.concatenate(captions_seen(data.train_dataloader()))) == includes_hard


def test_set_total_epochs_before_setup(root):
    data = RegionTextDataModule(root, batch_size=4, initial_competence=0.5)
    data.set_total_epochs(7)
    data.setup()
    data.trainer = make_trainer(max_epochs=30)
    data.setup()
    assert data.batch_sampler.total_epochs == 7


@pytest.mark.parametrize(
    ("settings", "pattern"),
    [
        ({"batch_size": 0}, r"data\.batch_size=0 must be >= 1"),
        ({"eval_batch_size": 0}, r"data\.eval_batch_size=0 must be >= 1"),
        ({"num_workers": -1}, r"data\.num_workers=-1 must be auto or >= 0"),
        ({"num_workers": "many"}, r"data\.num_workers=many must be auto or >= 0"),
        ({"pin_memory": "gpu"}, r"data\.pin_memory='gpu' must be auto, true or false"),
        ({"max_tokens": 2}, r"data\.max_tokens=2 must be >= 3"),
        ({"train_share": 0.0}, r"data\.train_share=0\.0 must be in \(0, 1\]"),
        ({"expected_counts": {"train": [5]}}, r"data\.expected_counts\.train=\[5\] must be two numbers"),
        ({"device_features": "gpu"}, r"data\.device_features='gpu' must be auto, true or false"),
    ],
)
def test_settings_are_checked_before_data_is_opened(settings, pattern):
    with pytest.raises(ConfigError, match=pattern):
        RegionTextDataModule("/nowhere", **settings)


def test_min_count_with_a_pretrained_vocabulary():
    pretrained = SimpleNamespace(vocabulary=Vocabulary(["绿", "度"]), max_tokens=None)
    assert RegionTextDataModule("/nowhere", tokenizer=pretrained).min_count == 1
    with pytest.raises(ConfigError, match=r"data\.min_count=2: data\.tokenizer has the vocabulary of a pretrained"):
        RegionTextDataModule("/nowhere", tokenizer=pretrained, min_count=2)


def test_total_epochs_out_of_range(root):
    with pytest.raises(ConfigError, match="total_epochs=0 must be >= 1"):
        set_up(root).set_total_epochs(0)


def test_set_smaller_than_a_batch_trains_with_a_smaller_batch(root, caplog):
    model, data = Recorder(), set_up(root, batch_size=128)
    make_trainer(max_epochs=2).fit(model, datamodule=data)
    assert [(epoch, batch, sorted(seen)) for epoch, batch, seen in model.seen] == [
        (0, 0, list(range(24))),
        (1, 0, list(range(24))),
    ]
    pattern = [message for message in caplog.messages if "data.batch_size=128" in message]
    assert pattern == [
        "data.batch_size=128 on 1 process(es) needs 128 pairs per batch, but an epoch has 24: "
        "training on one batch of 24 pairs per epoch"
    ]


def test_unexpected_counts(root):
    with pytest.raises(DataFormatError, match=r"dev_caps\.txt: split 'val' has 10 captions, .* expects 363"):
        set_up(root, expected_counts={"val": [5, 363]})


@pytest.mark.parametrize("other", [{"regions": 3}, {"dim": 6}])
def test_splits_of_different_shapes(tmp_path, other):
    write_precomp(tmp_path, "train", images=8)
    write_precomp(tmp_path, "val", **other)
    shape = (other.get("regions", 4), other.get("dim", 8))
    with pytest.raises(
        DataFormatError, match=rf"train_ims\.npy has .* \(4, 8\), .*dev_ims\.npy has \({shape[0]}, {shape[1]}\)"
    ):
        set_up(str(tmp_path))


def test_val_split_equals_load_split(root):
    assert set_up(root).val.fingerprint == load_split(root, "val").fingerprint


class Keeper(Recorder):
    """Records the batches of the training steps."""

    def training_step(self, batch, batch_idx):
        self.seen.append(batch)
        return self.weight.sum()


def batches_trained_on(root, **settings):
    model, data = Keeper(), set_up(root, **settings)
    make_trainer(max_epochs=2).fit(model, datamodule=data)
    return model.seen, data


class TestDeviceFeatures:
    def test_training_batches_do_not_change(self, root):
        """With images of one to four real regions, each with its own mask."""
        path = f"{root}/train_ims.npy"
        array = np.load(path)
        for image in range(len(array)):
            array[image, : image % 4] = 0
        np.save(path, array)
        kept, _ = batches_trained_on(root, device_features=True)
        read, _ = batches_trained_on(root, device_features=False)
        assert len(kept) == len(read) == 12
        for batch in kept:
            assert torch.equal(batch.region_mask, torch.arange(4) >= batch.image_index[:, None] % 4)
        for ours, theirs in zip(kept, read, strict=True):
            assert ours.lengths == theirs.lengths
            tensors = [name for name in RegionTextBatch._fields if name != "lengths"]
            for name in tensors:
                a, b = getattr(ours, name), getattr(theirs, name)
                assert torch.equal(a, b), name
                assert a.dtype == b.dtype, name

    def test_batches_are_loaded_without_regions(self, root):
        _, data = batches_trained_on(root, device_features=True)
        assert {tuple(batch.regions.shape[:2]) for batch in data.train_dataloader()} == {(4, 0)}

    def test_all_images_are_not_read_again(self, root, monkeypatch):
        _, data = batches_trained_on(root, device_features=True)
        read = list(set_up(root).image_batches())
        data.train_dataloader()  # the end of training has released the features
        monkeypatch.setattr(dataset, "read_regions", None)
        for ours, theirs in zip(data.image_batches(), read, strict=True):
            assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(ours, theirs, strict=True))

    def test_features_are_read_from_the_file_on_a_cpu(self, root):
        _, data = batches_trained_on(root)
        assert data.train_dataloader().dataset[0].images.regions.shape[1] == data.num_regions

    def test_features_are_released_at_the_end_of_training(self, root):
        """A later run in this process, with another seed, needs their memory."""
        _, data = batches_trained_on(root, device_features=True)
        assert data._on_device is None
