"""Reference ranking by sorting, one query at a time."""


def naive_rank(scores: list[float], correct: list[int]) -> int:
    """Return the rank, from 1, of the best correct answer; ties rank by index, higher first."""
    order = sorted(range(len(scores)), key=lambda index: (scores[index], index), reverse=True)
    return min(order.index(index) for index in correct) + 1


def naive_ranks(similarity: list[list[float]], caption_to_image: list[int]) -> tuple[list[int], list[int]]:
    """Return the ranks of all image queries and of all caption queries."""
    i2t = [
        naive_rank(row, [caption for caption, owner in enumerate(caption_to_image) if owner == image])
        for image, row in enumerate(similarity)
    ]
    t2i = [naive_rank([row[caption] for row in similarity], [owner]) for caption, owner in enumerate(caption_to_image)]
    return i2t, t2i


def naive_recall(ranks: list[int], k: int) -> float:
    """Return recall@K in percent."""
    return 100 * len([rank for rank in ranks if rank <= k]) / len(ranks)
