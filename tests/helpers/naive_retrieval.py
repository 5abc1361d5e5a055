"""Ranking by sorting, one query at a time: slow, and short enough to be seen to be right."""


def naive_rank(scores: list[float], right: list[int]) -> int:
    """Place, from 1, of the first right answer when answers are sorted by score, equal ones by index, higher first."""
    order = sorted(range(len(scores)), key=lambda index: (scores[index], index), reverse=True)
    return min(order.index(index) for index in right) + 1


def naive_ranks(similarity: list[list[float]], caption_to_image: list[int]) -> tuple[list[int], list[int]]:
    """Ranks of all images and all captions."""
    i2t = [
        naive_rank(row, [caption for caption, owner in enumerate(caption_to_image) if owner == image])
        for image, row in enumerate(similarity)
    ]
    t2i = [naive_rank([row[caption] for row in similarity], [owner]) for caption, owner in enumerate(caption_to_image)]
    return i2t, t2i


def naive_recall(ranks: list[int], k: int) -> float:
    """Percent of ranks up to k."""
    return 100 * len([rank for rank in ranks if rank <= k]) / len(ranks)
