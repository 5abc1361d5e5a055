"""Distillation losses: a student learns the score distributions or the ranking of its teachers."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from tangka_match.losses.components import check_range
from tangka_match.ops import at_least_float32


@runtime_checkable
class DistillationLoss(Protocol):
    """A loss between two score matrices of one batch."""

    def __call__(self, student: Float[Tensor, "B B"], teacher: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
        """Compute the loss of the student's scores.

        Args:
            student: Scores, (B, B): rows images, columns captions, higher = closer.
            teacher: Scores of the same pairs, standardised to mean 0 and standard deviation 1.
        """
        ...


class ScoreDistillationLoss(nn.Module):
    r"""Kullback-Leibler divergence from the student's score distributions to the teacher's.

    .. math:: L = \frac{1}{2B} \sum_b \left[ \mathrm{KL}(p^T_b \| p^S_b) + \mathrm{KL}(q^T_b \| q^S_b) \right]

    with the softmax :math:`p_b` over row b and :math:`q_b` over column b of the scores, each divided by a temperature.

    Source: Hinton, Vinyals, Dean: "Distilling the Knowledge in a Neural Network", arXiv:1503.02531, with the candidates
    of a batch as classes.

    Args:
        temperature: Divisor of the teacher's scores, in standard deviations of a batch's scores, > 0; low values
            restrict the target to the best candidates.
        student_temperature: Divisor of the student's scores, as ``temperature`` of InfoNCE, > 0.

    Raises:
        ConfigError: If a temperature is out of range.

    Example:
        >>> import torch
        >>> scores = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        >>> loss = ScoreDistillationLoss(temperature=1.0, student_temperature=1.0)
        >>> loss(scores, scores), loss(0 * scores, scores)
        (tensor(0.), tensor(0.3278))
    """

    def __init__(self, temperature: float | int, student_temperature: float | int) -> None:
        super().__init__()
        check_range("temperature", temperature, 1e-3, 1e3, "it divides the teachers' standardised scores; 0.5 is usual")
        check_range("student_temperature", student_temperature, 1e-3, 1e3, "it divides the student's scores")
        self.temperature, self.student_temperature = float(temperature), float(student_temperature)

    def forward(self, student: Float[Tensor, "B B"], teacher: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
        """Compute the mean divergence in nats, >= 0."""
        ours, theirs = at_least_float32(student) / self.student_temperature, teacher / self.temperature
        rows, columns = (
            nn.functional.kl_div(ours.log_softmax(dim), theirs.log_softmax(dim), reduction="sum", log_target=True)
            for dim in (1, 0)
        )
        return (rows + columns) / (2 * len(student))


class RankDistillationLoss(nn.Module):
    r"""Negative log-likelihood of the teacher's top-k ranking under the student's scores (ListMLE).

    With the candidates :math:`\pi_1, \pi_2, \ldots` of a query in the teacher's order, the mean over the first k places
    of :math:`-\log \frac{e^{s(\pi_j)}}{\sum_{l \ge j} e^{s(\pi_l)}}`, over images and captions. Only the order of the
    teacher's scores matters.

    Sources: Xia et al., "Listwise Approach to Learning to Rank" (ListMLE), ICML 2008; truncation at k: Reddi et al.,
    "RankDistil", AISTATS 2021.

    Args:
        places: Number k of first places, >= 1; limited to the size of the batch.
        student_temperature: Divisor of the student's scores, > 0.

    Raises:
        ConfigError: If a setting is out of range.

    Example:
        >>> import torch
        >>> loss = RankDistillationLoss(places=2, student_temperature=1.0)
        >>> loss(torch.zeros(2, 2), torch.eye(2))  # (log 2 + log 1) / 2
        tensor(0.3466)
    """

    def __init__(self, places: int, student_temperature: float | int) -> None:
        super().__init__()
        check_range("places", places, 1.0, float(2**31), "it is a number of first places; 10 is usual")
        check_range("student_temperature", student_temperature, 1e-3, 1e3, "it divides the student's scores")
        self.places, self.student_temperature = places, float(student_temperature)

    def forward(self, student: Float[Tensor, "B B"], teacher: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
        """Compute the mean negative log-likelihood in nats, >= 0."""
        scores = at_least_float32(student) / self.student_temperature
        rows, columns = (self._rows(*pair) for pair in ((scores, teacher), (scores.T, teacher.T)))
        return (rows + columns) / 2

    def _rows(self, scores: Float[Tensor, "B B"], teacher: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
        ordered = scores.gather(1, teacher.argsort(dim=1, descending=True, stable=True))
        remaining = ordered.flip(1).logcumsumexp(dim=1).flip(1)
        return (remaining - ordered)[:, : self.places].mean()
