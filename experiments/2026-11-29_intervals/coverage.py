"""Simulate how often the 95 % intervals of `confidence_intervals` cover the truth, beside a percentile bootstrap.

Usage: ``PYTHONPATH=src python experiments/2026-11-29_intervals/coverage.py [sets]``; writes ``coverage.json`` beside
this file and prints the tables of the README. The number of simulated evaluation sets per row is 2,000 by default.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from rich.progress import track

from tangka_match.metrics import Ranks, confidence_intervals, summarise
from tangka_match.metrics.intervals import draw_images
from tangka_match.retrieval.protocols import EvaluationProtocol, rank_galleries

METRICS = ("i2t_r1", "mean_r1", "rsum", "i2t_mean_rank")
RESAMPLES = 1_000
GALLERY = 363


class Population(NamedTuple):
    """Log-normal ranks, cut at the size of the gallery; the directions and captions of an image correlate by 0.36."""

    images: int
    captions: int
    mean: float
    deviation: float

    def draw(self, generator: torch.Generator, images: int | None = None) -> tuple[Ranks, torch.Tensor]:
        """Draw an evaluation set."""
        count = images or self.images
        easy = 0.6 * torch.randn(count, generator=generator)
        owners = torch.arange(count).repeat_interleave(1 if images else self.captions)

        def ranks(of: torch.Tensor) -> torch.Tensor:
            latent = easy[of] + 0.8 * torch.randn(len(of), generator=generator)
            return (self.mean + self.deviation * latent).exp().floor().clamp(1, GALLERY).long()

        return Ranks(ranks(torch.arange(count)), ranks(owners)), owners


POPULATIONS = (
    Population(363, 1, 1.5, 1.5),
    Population(363, 5, 1.5, 1.5),
    Population(363, 1, 4.5, 1.0),
    Population(363, 1, -1.5, 1.5),
    Population(100, 1, 3.5, 1.0),
    Population(40, 1, 4.0, 1.2),
    Population(40, 5, 1.5, 1.5),
)


def percentile_bootstrap(
    ranks: Ranks, owners: torch.Tensor, queries: torch.Tensor, seed: int
) -> dict[str, tuple[float, float]]:
    """Compute the intervals that version 0.1 reported."""
    drawn = draw_images(int(queries.max()) + 1, RESAMPLES, torch.Generator().manual_seed(seed))
    i2t, t2i = drawn[:, queries], drawn[:, owners]

    def recall(found: torch.Tensor, weights: torch.Tensor, k: int) -> torch.Tensor:
        return 100 * (weights @ (found <= k).double()) / weights.sum(dim=1)

    sides = ((ranks.i2t, i2t), (ranks.t2i, t2i))
    recalls = {k: [recall(*side, k) for side in sides] for k in (1, 5, 10)}
    values = {
        "i2t_r1": recalls[1][0],
        "mean_r1": (recalls[1][0] + recalls[1][1]) / 2,
        "rsum": sum(sum(pair) for pair in recalls.values()),
        "i2t_mean_rank": i2t @ ranks.i2t.double() / i2t.sum(dim=1),
    }
    tails = torch.tensor([0.025, 0.975], dtype=torch.float64)
    return {name: tuple(value.quantile(tails).tolist()) for name, value in values.items()}


class Evaluated(NamedTuple):
    """One simulated evaluation: its metrics, and its intervals by both methods."""

    metrics: dict[str, float]
    before: dict[str, tuple[float, float]]
    now: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, ranks: Ranks, owners: torch.Tensor, queries: torch.Tensor, seed: int) -> "Evaluated":
        """Evaluate ranks."""
        now = confidence_intervals(ranks, owners, resamples=RESAMPLES, seed=seed, query_to_image=queries)
        return cls(summarise(ranks), percentile_bootstrap(ranks, owners, queries, seed), now)


def coverage(evaluated: list[Evaluated], truth: dict[str, float]) -> dict[str, dict[str, float]]:
    """Compute the share of intervals that contain the truth, in percent."""
    shares: dict[str, dict[str, float]] = defaultdict(dict)
    for name in METRICS:
        for method in ("before", "now"):
            ends = [getattr(one, method)[name] for one in evaluated]
            shares[name][method] = 100 * sum(low <= truth[name] <= high for low, high in ends) / len(ends)
    return shares


def drawn_sets(sets: int, protocol: EvaluationProtocol, images: int, captions: int) -> Iterator[Evaluated]:
    """Evaluate sets of images and captions with noisy embeddings; the gallery is drawn anew as well."""
    for seed in track(range(sets), f"{images} images, {protocol.describe()}"):
        generator = torch.Generator().manual_seed(seed)
        meaning = torch.randn(images, 32, generator=generator)
        owners = torch.arange(images).repeat_interleave(captions)
        seen, read = (part + 1.6 * torch.randn(part.shape, generator=generator) for part in (meaning, meaning[owners]))
        similarity = torch.nn.functional.normalize(seen) @ torch.nn.functional.normalize(read).T
        pooled = rank_galleries(similarity, owners, protocol)
        yield Evaluated.of(pooled.ranks, pooled.t2i_image, pooled.i2t_image, seed)


def main(sets: int) -> None:
    """Run all simulations."""
    torch.set_num_threads(1)
    rows = []
    for population in POPULATIONS:
        truth = summarise(population.draw(torch.Generator().manual_seed(0), 400_000)[0])
        generator = torch.Generator().manual_seed(1)
        evaluated = []
        for seed in track(range(sets), f"{population}"):
            ranks, owners = population.draw(generator)
            evaluated.append(Evaluated.of(ranks, owners, torch.arange(population.images), seed))
        kind = f"{population.images} images x {population.captions}, other queries"
        rows.append((kind, truth, coverage(evaluated, truth)))
    drawn = EvaluationProtocol(gallery_size=363, draws=20)
    for images, captions, protocol in ((363, 1, EvaluationProtocol()), (637, 1, drawn), (637, 5, drawn)):
        evaluated = list(drawn_sets(sets // 4, protocol, images, captions))
        truth = {name: sum(one.metrics[name] for one in evaluated) / len(evaluated) for name in METRICS}
        rows.append(
            (f"{images} images x {captions}, {protocol.describe()}, other gallery", truth, coverage(evaluated, truth))
        )
    for kind, truth, found in rows:
        cells = (f"{truth[m]:.1f}: {found[m]['before']:.1f} → {found[m]['now']:.1f}" for m in METRICS)
        print(f"| {kind} | {' | '.join(cells)} |")
    saved = [{"kind": k, "truth": {m: t[m] for m in METRICS}, "coverage": f} for k, t, f in rows]
    Path(__file__).with_name("coverage.json").write_text(json.dumps({"sets": sets, "rows": saved}, indent=1) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)
