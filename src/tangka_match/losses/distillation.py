"""What a student's scores of a batch should learn from its teachers': their distributions, or their order."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from tangka_match.losses.base import check_range, working_precision


@runtime_checkable
class DistillationLoss(Protocol):
    """A loss between two score matrices of one batch; training knows no more of it than this."""

    def __call__(self, student: Float[Tensor, "B B"], teacher: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
        """Measure how far the student is from the teacher.

        Args:
            student: Scores, (B, B): rows images, columns captions, higher = closer.
            teacher: Of the same pairs, standardised: their mean is 0, their deviation 1.
        """
        ...


class ScoreDistillationLoss(nn.Module):
    r"""Divergence of the student's shares from the teacher's: of captions for an image, of images for a caption.

    .. math:: L = \frac{1}{2B} \sum_b \left[ \mathrm{KL}(p^T_b \| p^S_b) + \mathrm{KL}(q^T_b \| q^S_b) \right]

    with the softmax :math:`p_b` of row b and :math:`q_b` of column b, of scores divided by a temperature. Hinton,
    Vinyals, Dean: "Distilling the Knowledge in a Neural Network", arXiv 1503.02531, with the candidates of a batch as
    classes.

    Args:
        temperature: Divides the teacher's scores, in standard deviations of a batch's scores; lower = only the best
            candidates count. Above 0.
        student_temperature: Divides the student's scores, as ``temperature`` of InfoNCE does. Above 0.

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
        """Mean divergence in nats, at least 0."""
        asked, wanted = working_precision(student) / self.student_temperature, teacher / self.temperature
        rows, columns = (
            nn.functional.kl_div(asked.log_softmax(dim), wanted.log_softmax(dim), reduction="sum", log_target=True)
            for dim in (1, 0)
        )
        return (rows + columns) / (2 * len(student))


class RankDistillationLoss(nn.Module):
    r"""Likelihood of the teacher's order of the first places under the student's scores.

    With the candidates :math:`\pi_1, \pi_2, \ldots` of a query in the teacher's order, the mean over the first k places
    of :math:`-\log \frac{e^{s(\pi_j)}}{\sum_{l \ge j} e^{s(\pi_l)}}`, over images and captions. Xia et al., "Listwise
    Approach to Learning to Rank" (ListMLE), ICML 2008, cut at k as in Reddi et al., "RankDistil", AISTATS 2021. The
    teacher's scores count by their order alone.

    Args:
        places: The first k places; 1 and more. A batch that is smaller has as many as it has candidates.
        student_temperature: Divides the student's scores. Above 0.

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
        check_range("places", places, 1.0, float(2**31), "give the number of first places to learn; 10 is usual")
        check_range("student_temperature", student_temperature, 1e-3, 1e3, "it divides the student's scores")
        self.places, self.student_temperature = places, float(student_temperature)

    def forward(self, student: Float[Tensor, "B B"], teacher: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
        """Mean negative log-likelihood in nats, at least 0."""
        scores = working_precision(student) / self.student_temperature
        rows, columns = (self._rows(*pair) for pair in ((scores, teacher), (scores.T, teacher.T)))
        return (rows + columns) / 2

    def _rows(self, scores: Float[Tensor, "B B"], teacher: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
        ordered = scores.gather(1, teacher.argsort(dim=1, descending=True, stable=True))
        remaining = ordered.flip(1).logcumsumexp(dim=1).flip(1)
        return (remaining - ordered)[:, : self.places].mean()
