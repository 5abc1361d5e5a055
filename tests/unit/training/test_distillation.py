from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from helpers.small_checkpoints import SAF, SGR, write_checkpoint
from helpers.small_runs import small_data, small_plan, small_settings
from tangka_match.errors import CheckpointError
from tangka_match.losses import LossInputs, ScoreDistillationLoss, TripletMarginLoss, positive_mask
from tangka_match.retrieval.metadata import read_checkpoint
from tangka_match.retrieval.trained_matcher import TrainedMatcher
from tangka_match.training import runner
from tangka_match.training.distillation import Distillation, Teachers
from tangka_match.training.runner import train


@pytest.fixture
def split(tmp_path):
    data = small_data(tmp_path)
    data.setup()
    return data.train


def write_teacher(path, split, captions=None, **settings):
    sizes = {"regions": split.features.num_regions, "dim": split.features.feature_dim}
    return write_checkpoint(path, list(captions or split.captions), **(sizes | settings))


def test_teachers_use_their_own_vocabularies_and_are_averaged_after_standardising(tmp_path, split):
    """The second teacher knows a third of the words; captions and images are not in file order."""
    paths = [
        write_teacher(tmp_path / "a.ckpt", split, model=SAF, seed=1),
        write_teacher(tmp_path / "b.ckpt", split, split.captions[:4], model=SGR, seed=2),
    ]
    captions = torch.tensor([7, 2, 5])
    rows = torch.as_tensor(split.caption_to_image)[captions]
    expected = torch.zeros(3, 3)
    for path in paths:
        alone = TrainedMatcher.load(path)
        regions = torch.as_tensor(split.features.read(rows.numpy())).float()
        scores = alone.similarity(regions, [split.captions[c] for c in captions])
        expected += (scores - scores.mean()) / scores.std(correction=0) / 2
    found = Teachers(paths, split).score(rows, captions, torch.device("cpu"))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_teachers_do_not_draw_from_the_random_generator(tmp_path, split):
    path = write_teacher(tmp_path / "a.ckpt", split)
    before = torch.get_rng_state()
    Teachers([path], split)
    assert torch.equal(torch.get_rng_state(), before)


def test_distillation_adds_a_weighted_term(tmp_path, split):
    teachers = Teachers([write_teacher(tmp_path / "a.ckpt", split)], split)
    pairs = torch.arange(4)
    similarity = torch.randn(4, 4, requires_grad=True)
    inputs = LossInputs(similarity, positive_mask(pairs, pairs))
    plain = TripletMarginLoss(0.2, 0.0)(inputs)
    step = SimpleNamespace(image_index=pairs, caption_index=pairs)
    loss = ScoreDistillationLoss(0.5, 0.1)
    terms = Distillation(teachers, loss, 0.25).after_loss(plain, inputs, step)
    value = loss(similarity, teachers.score(pairs, pairs, similarity.device))
    torch.testing.assert_close(terms.total, plain.total + 0.25 * value)
    torch.testing.assert_close(terms.terms["distillation"], value.detach())
    torch.testing.assert_close(sum(terms.weighted.values()), terms.total)


def test_teacher_of_other_features_is_refused_before_the_run_folder_is_created(tmp_path):
    plan = small_plan(tmp_path)
    teacher = write_checkpoint(tmp_path / "a.ckpt", ["蓝色佛"], dim=5)
    with pytest.raises(CheckpointError, match=r"features of 8 dimensions, but .* was trained on 5"):
        train(with_teacher(plan, tmp_path, teacher))
    assert not (tmp_path / "runs").exists()


def test_checkpoint_of_a_student_holds_no_teacher_weights(tmp_path, split, monkeypatch):
    monkeypatch.setattr(runner, "keep_freed_memory", lambda: None)
    teacher = write_teacher(tmp_path / "a.ckpt", split)
    result = train(with_teacher(small_plan(tmp_path), tmp_path, teacher))
    plain = train(small_plan(tmp_path))
    weights = [read_checkpoint(x.folder.last)["state_dict"] for x in (result, plain)]
    assert weights[0].keys() == weights[1].keys()
    assert any((weights[0][key] != weights[1][key]).any() for key in weights[0])


def with_teacher(plan, root, teacher):
    settings = small_settings(root)
    distillation = settings.distillation.model_copy(update={"teachers": (teacher,), "weight": 1.0})
    settings = settings.model_copy(update={"distillation": distillation})
    return replace(plan, settings=settings, distillation_loss=ScoreDistillationLoss(0.5, 0.1))


def test_teachers_encode_once_on_the_device_of_the_run(tmp_path, split, monkeypatch):
    """Encoded before the run, they would be on the CPU."""
    events = []
    encode = TrainedMatcher.encode_split
    monkeypatch.setattr(
        TrainedMatcher,
        "encode_split",
        lambda self, *args: events.append(("encode", self.device)) or encode(self, *args),
    )
    teachers = Teachers([write_teacher(tmp_path / "a.ckpt", split)], split)
    assert events == []
    pairs, device = torch.arange(4), torch.device("cpu")
    for _ in range(2):
        teachers.score(pairs, pairs, device)
    assert events == [("encode", device)]
