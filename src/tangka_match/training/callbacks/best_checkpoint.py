"""``best.ckpt``: the weights with the highest ``val/mean_r1`` so far."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

MONITORED = "val/mean_r1"


class BestCheckpoint(pl.callbacks.ModelCheckpoint):
    """Writes ``best.ckpt`` after each validation that beats all before, wherever in an epoch it falls.

    Lightning's own callback forgets the best score when its folder has moved, and a worse epoch of the resumed run
    would then replace the best weights; this one goes by the folder where the run is now.

    Args:
        folder: Of ``best.ckpt``.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            "best",
            monitor=MONITORED,
            mode="max",
            enable_version_counter=False,
            save_on_train_epoch_end=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned, in the present folder."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        moved = {key: here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        kept = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": kept, "dirpath": self.dirpath})
