"""Names of the retrieval metrics, without torch: what a run logs, and what reports, sweeps and W&B read."""

DIRECTION_LABELS = {"i2t": "image→text", "t2i": "text→image"}
DIRECTIONS = tuple(DIRECTION_LABELS)
"""``i2t``: image queries rank captions; ``t2i``: caption queries rank images."""

CUTOFFS = (1, 5, 10)
"""Values of K of the reported recall@K."""

PRIMARY_METRIC = "mean_r1"
"""Metric that selects checkpoints and decides comparisons: the mean of the two R@1, in percent."""

RECALLS = tuple(f"{direction}_r{k}" for direction in DIRECTIONS for k in CUTOFFS)
RANK_STATISTICS = tuple(f"{direction}_{kind}_rank" for direction in DIRECTIONS for kind in ("median", "mean"))

HIGHER_IS_BETTER = (PRIMARY_METRIC, "rsum", *RECALLS)
METRICS = (*HIGHER_IS_BETTER, *RANK_STATISTICS)
"""All metrics that ``metrics.summarise`` returns; of ``RANK_STATISTICS``, lower is better."""

VAL_PREFIX = "val/"
"""Prefix of validation metrics in logs, ledger and W&B."""

DEFAULT_MONITOR = VAL_PREFIX + PRIMARY_METRIC
