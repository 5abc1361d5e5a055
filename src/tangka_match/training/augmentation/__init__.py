"""Changes to training batches that are already on their device: one idea a file.

All of them draw from torch's global generator, in the main process: the state that a checkpoint saves, so a resumed run
changes the same words and regions that an unbroken one would have changed.
"""

from tangka_match.training.augmentation.build import Augmentation, build_augmentation
from tangka_match.training.augmentation.drop import RegionWordDrop

__all__ = ["Augmentation", "RegionWordDrop", "build_augmentation"]
