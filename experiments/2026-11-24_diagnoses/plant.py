"""Write a clean demo set of 400 / 100 / 60 pairs, and a copy with every fault planted: ``python plant.py FOLDER``."""

import shutil
import sys
from pathlib import Path

import numpy as np

from tangka_match.demo import write_demo_set

folder = Path(sys.argv[1])
clean, planted = folder / "clean", folder / "planted"
write_demo_set(clean, train=400, val=100, test=60, duplicate_share=0.0)
shutil.copytree(clean, planted)
train, val = np.load(planted / "train_ims.npy"), np.load(planted / "dev_ims.npy")
val[5:7] = train[100:102]  # two pictures of val are pictures of train
train[7, 3:6], train[8], train[9, 0, 0] = 0, 0, np.nan  # zero regions, an empty picture, a NaN
np.save(planted / "train_ims.npy", train)
np.save(planted / "dev_ims.npy", val)
captions = {stem: (planted / f"{stem}_caps.txt").read_text("utf-8").splitlines() for stem in ("train", "dev")}
captions["dev"][50] = captions["train"][200]  # a caption of val is one of train
(planted / "dev_caps.txt").write_text("\n".join(captions["dev"]) + "\n", "utf-8")
