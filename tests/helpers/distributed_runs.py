"""Runs of a tiny matcher in two processes of Lightning's DDP; see ``test_two_processes``."""

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from helpers.small_runs import Stop, StoppedError, quiet_trainer, small_module
from helpers.stub_matchers import PooledMatcher, ThawingMatcher
from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.losses import MomentumQueueLoss, TripletMarginLoss
from tangka_match.metrics import retrieval_ranks, summarise
from tangka_match.training import stopping
from tangka_match.training.callbacks import AgreedStop, ExactResume, HardBatches, LastCheckpoint
from tangka_match.training.encoding import validation_similarity
from tangka_match.training.process_launcher import connect
from tangka_match.training.stopping import StopRequest
from tangka_match.training.trainer import strategy_for
from tangka_match.types import Encoded

EPOCHS, STEPS_PER_EPOCH = 3, 3
PAIRS = 24


class NormedMatcher(PooledMatcher):
    """Matcher with batch norm, whose statistics differ between processes, and a scale of the scores."""

    def __init__(self) -> None:
        super().__init__(8, 4, 60)
        self.norm = nn.BatchNorm1d(4, momentum=0.9)
        self.scale = nn.Parameter(torch.ones(()))

    def encode_images(self, regions: Tensor, region_mask: Tensor) -> Encoded:
        return Encoded(pooled=self.norm(super().encode_images(regions, region_mask).pooled))

    def similarity(self, images: Encoded, texts: Encoded) -> Tensor:
        return self.scale * super().similarity(images, texts)


class Watch(pl.Callback):
    """Callback that records the captions of every step, and the word vectors before it."""

    def __init__(self) -> None:
        self.captions: list[Tensor] = []
        self.words: list[Tensor] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.captions.append(batch.caption_index)
        self.words.append(pl_module.matcher.words.detach().clone())


class Validated(pl.Callback):
    """Callback that records the logged metrics, and the metrics of a single process on the whole validation set."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        logged = trainer.callback_metrics.items()
        self.logged = {name: float(value) for name, value in logged if name.startswith("val/") and name != "val/loss"}
        data = trainer.datamodule  # type: ignore[attr-defined]
        similarity = validation_similarity(pl_module, data, pl_module.device)
        ranks = retrieval_ranks(similarity, torch.as_tensor(data.val.caption_to_image))
        self.alone = {f"val/{name}": float(torch.tensor(value)) for name, value in summarise(ranks).items()}


class Signal(pl.Callback):
    """Callback that sends SIGTERM to this process twice, in a training step or in the validation."""

    def __init__(self, step: int | None) -> None:
        self._step = step

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == self._step:
            self._send()

    def on_validation_batch_start(self, *_: object) -> None:
        if self._step is None:
            self._send()

    def _send(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)


class CountedSearches(HardBatches):
    """Callback that counts the searches for neighbours in this process."""

    count = 0

    def _find(self, matcher: Any) -> Any:
        self.count += 1
        return super()._find(matcher)


def fit(
    root: Path,
    matcher: nn.Module,
    *callbacks: pl.Callback,
    loss: nn.Module | None = None,
    thaw_at: float = 0.0,
    hard: float = 0.0,
    every: int = 1,
    resume: Path | None = None,
) -> dict[str, Tensor]:
    """Train three epochs of three steps with dropout; return the final weights of this process."""
    data = RegionTextDataModule(str(root / "data"), batch_size=4, hard_batches=hard)
    data.setup("fit")
    loss = TripletMarginLoss(0.2, 0.0) if loss is None else loss
    module = small_module(matcher, loss, optimizer=partial(torch.optim.AdamW, lr=0.1, weight_decay=0.1))
    keep = [ExactResume(data.batch_sampler), LastCheckpoint(root / "last.ckpt", every, lambda step: None)]
    searches, stop = CountedSearches(data), StopRequest()
    trainer = quiet_trainer(
        devices=2,
        strategy=strategy_for("ddp", loss, thaw_at),
        max_epochs=EPOCHS,
        check_val_every_n_epoch=EPOCHS,
        callbacks=[*keep, AgreedStop(stop), *([searches] if hard else []), *callbacks],
    )
    connect(trainer, stop)
    with stop.listening(), stop.training():
        trainer.fit(module, datamodule=data, ckpt_path=resume)
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    return weights | ({"searches": torch.tensor(searches.count)} if hard else {})


def one_of_two(rank: int, root: Path) -> dict[str, Any]:
    """Train one run of each kind; return the records and the final weights of this process."""
    # A launcher would set these variables; the processes are already connected.
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT="1")
    stopping.MAX_BATCHES = 1  # the processes agree after every step
    frozen, hard, validated = Watch(), Watch(), Validated()
    queue = MomentumQueueLoss(embed_dim=4, queue_size=10)
    queued = fit(root, NormedMatcher(), hard, validated, loss=queue, hard=0.7)
    return {
        "searches": queued.pop("searches"),
        "queued": queued,
        "thawed": fit(root, ThawingMatcher(8, 4, 60), frozen, thaw_at=0.5),
        "words": frozen.words,
        "logged": validated.logged,
        "alone": validated.alone,
        "captions": hard.captions,
        **_stopped(rank, root),
        **_terminated(rank, root),
    }


def _stopped(rank: int, root: Path) -> dict[str, Any]:
    """Train an uninterrupted and a resumed run; seeds differ between processes, as they would with random dropout."""
    torch.manual_seed(rank)
    whole = fit(root, PooledMatcher(8, 4, 60))
    torch.manual_seed(rank)
    try:
        fit(root, PooledMatcher(8, 4, 60), Stop(5))
    except StoppedError:
        return {"whole": whole, "resumed": fit(root, PooledMatcher(8, 4, 60), resume=root / "last.ckpt")}
    raise AssertionError("the run did not stop")


def _terminated(rank: int, root: Path) -> dict[str, Any]:
    """End runs by SIGTERM to one of the two processes, and resume one of them."""
    found: dict[str, Any] = {}
    stopping.VALIDATION_SECONDS = 0.0
    for name, receiver, step in (("in_validation", 0, None), ("in_step", 1, 4)):
        torch.manual_seed(rank)
        (root / "last.ckpt").unlink(missing_ok=True)
        watch = Watch()
        try:
            fit(root, PooledMatcher(8, 4, 60), *([Signal(step)] if rank == receiver else []), watch, every=4)
        except SIGTERMException:
            found[name] = len(watch.words)
    return found | {"terminated": fit(root, PooledMatcher(8, 4, 60), resume=root / "last.ckpt")}
