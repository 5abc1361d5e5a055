"""Metrics of a validation."""

METRICS = {f"{d}_{k}": v for d in ("i2t", "t2i") for k, v in (("r1", 37.466), ("r5", 80.0), ("r10", 91.5))} | {
    "i2t_median_rank": 2.0,
    "t2i_median_rank": 3.0,
    "i2t_mean_rank": 4.25,
    "t2i_mean_rank": 5.75,
    "mean_r1": 37.466,
    "rsum": 417.96,
}
