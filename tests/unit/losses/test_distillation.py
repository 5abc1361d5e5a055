import math

import pytest
import torch

from tangka_match.errors import ConfigError
from tangka_match.losses import RankDistillationLoss, ScoreDistillationLoss


def random_scores(seed, size=5):
    return torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_score_distillation_equals_explicit_sums():
    student, teacher = random_scores(0), random_scores(1)
    expected = 0.0
    for b in range(5):
        for student_row, teacher_row in ((student[b], teacher[b]), (student[:, b], teacher[:, b])):
            p, q = torch.softmax(teacher_row / 0.5, dim=0), torch.softmax(student_row / 0.1, dim=0)
            expected += (p * (p / q).log()).sum().item() / 10
    loss = ScoreDistillationLoss(temperature=0.5, student_temperature=0.1)(student, teacher)
    assert loss.item() == pytest.approx(expected)


def test_score_distillation_is_zero_for_equal_distributions():
    teacher = random_scores(0)
    student = (0.2 * teacher + 3).requires_grad_()  # a softmax does not see the constant
    loss = ScoreDistillationLoss(temperature=0.5, student_temperature=0.1)(student, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert student.grad.abs().max() < 1e-12


def test_rank_distillation_worked_by_hand():
    """The teacher orders row 0 as 1, 0; the student's scores 0 and log 3 give the first place a share of 3/4."""
    student = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    teacher = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    rows = (-math.log(3 / 4) + math.log(2)) / 2
    columns = (math.log(2) - math.log(3 / 4)) / 2
    loss = RankDistillationLoss(places=1, student_temperature=1.0)(student, teacher)
    assert loss.item() == pytest.approx((rows + columns) / 2)


def test_rank_distillation_depends_on_the_order_of_the_first_places_only():
    student, teacher = random_scores(0), random_scores(1)
    loss = RankDistillationLoss(places=2, student_temperature=0.1)
    torch.testing.assert_close(loss(student, teacher), loss(student, teacher.exp()))
    assert loss(student, teacher) != RankDistillationLoss(places=3, student_temperature=0.1)(student, teacher)


@pytest.mark.parametrize(
    "loss",
    [ScoreDistillationLoss(temperature=0.5, student_temperature=0.1), RankDistillationLoss(3, 0.1)],
)
def test_gradient_steps_learn_the_teachers_order(loss):
    teacher, student = random_scores(1), torch.zeros(5, 5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([student], lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        loss(student, teacher).backward()
        optimizer.step()
    assert (student.argmax(dim=1) == teacher.argmax(dim=1)).all()
    assert (student.argmax(dim=0) == teacher.argmax(dim=0)).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ScoreDistillationLoss(0, 0.1), "temperature=0 is outside"),
        (lambda: ScoreDistillationLoss(1.0, -0.1), "student_temperature=-0.1 is outside"),
        (lambda: RankDistillationLoss(0, 0.1), "places=0 is outside"),
        (lambda: RankDistillationLoss(10, float("nan")), "student_temperature=nan is outside"),
    ],
)
def test_settings_out_of_range_are_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
