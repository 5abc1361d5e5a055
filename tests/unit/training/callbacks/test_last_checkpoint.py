from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException

from helpers.small_runs import quiet_trainer, small_data, small_module
from tangka_match.retrieval.passport import PASSPORT_KEY, read_checkpoint
from tangka_match.training.callbacks import LastCheckpoint


class Events(pl.Callback):
    def __init__(self):
        self.seen = []

    def on_validation_end(self, trainer, pl_module):
        self.seen.append(("validated", trainer.global_step))

    def written(self, step):
        self.seen.append(("written", step))


def events_of(root, every_n_steps, **settings):
    events = Events()
    trainer = quiet_trainer(
        callbacks=[events, LastCheckpoint(root / "last.ckpt", every_n_steps, events.written)], **settings
    )
    trainer.fit(small_module(), datamodule=small_data(root))
    return events.seen


def test_it_is_written_within_an_epoch_and_after_the_validation_at_its_end(tmp_path):
    assert events_of(tmp_path, 2, max_epochs=2) == [
        ("written", 2),
        ("validated", 3),
        ("written", 3),
        ("written", 4),
        ("validated", 6),
        ("written", 6),
    ]


def test_an_interval_longer_than_an_epoch_leaves_the_ends_of_epochs(tmp_path):
    seen = events_of(tmp_path, 100, max_epochs=2)
    assert [step for event, step in seen if event == "written"] == [3, 6]


def test_the_file_is_a_checkpoint_of_this_project(tmp_path):
    events_of(tmp_path, 100, max_epochs=1)
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    assert checkpoint["global_step"] == 3
    assert checkpoint[PASSPORT_KEY] == {"format": 1}


@pytest.mark.parametrize(
    ("error", "validating", "written"),
    [
        (SIGTERMException(), False, True),
        (SIGTERMException(), True, False),  # the weights may be averaged ones for the moment
        (KeyboardInterrupt(), False, False),  # may fall in the middle of an optimizer step
        (ValueError(), False, False),
    ],
)
def test_only_a_sigterm_between_batches_is_a_point_to_go_on_from(tmp_path, error, validating, written):
    saved = []
    trainer = SimpleNamespace(validating=validating, save_checkpoint=saved.append, global_step=7)
    LastCheckpoint(tmp_path / "last.ckpt", 1, saved.append).on_exception(trainer, None, error)
    assert saved == ([tmp_path / "last.ckpt", 7] if written else [])
