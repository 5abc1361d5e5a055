import pytest

from helpers.small_runs import quiet_trainer, small_data, small_module
from tangka_match.training.callbacks import LastValidation, Pruning


def fit(root, answers, **settings):
    """The epochs that were reported, the optimizer steps that the run took, and whether it was pruned."""
    reported = []

    def report(epoch, value):
        reported.append((epoch, 0 <= value <= 100))
        return answers[epoch]

    pruning = Pruning(report)
    trainer = quiet_trainer(callbacks=[LastValidation(), pruning], **settings)
    trainer.fit(small_module(), datamodule=small_data(root))
    return reported, trainer.global_step, pruning.pruned


@pytest.mark.parametrize(
    ("answers", "epochs", "pruned"),
    [([False] * 4, 4, False), ([False, True, True, True], 2, True), ([True] * 4, 1, True)],
)
def test_a_run_ends_after_the_epoch_in_which_it_is_told_to(tmp_path, answers, epochs, pruned):
    expected = [(epoch, True) for epoch in range(epochs)], 3 * epochs, pruned
    assert fit(tmp_path, answers, max_epochs=4) == expected


def test_a_run_that_is_at_its_end_anyway_is_not_pruned(tmp_path):
    assert fit(tmp_path, [False, True], max_epochs=2) == ([(0, True), (1, True)], 6, False)
