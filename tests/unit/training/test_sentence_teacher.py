from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from helpers.small_checkpoints import SAF, write_checkpoint
from helpers.small_runs import small_data
from helpers.tiny_pretrained import write_bert
from tangka_match.errors import ConfigError
from tangka_match.losses import InfoNCELoss, LossInputs, ScoreDistillationLoss, positive_mask
from tangka_match.training.distillation import Distillation, Teachers
from tangka_match.training.sentence_teacher import SentenceTeacher
from tangka_match.training.settings import DistillationSettings

CPU = torch.device("cpu")
CAPTIONS = ["绿度母右手持乌巴拉花", "红佛", "在莲花上", "红佛", "白度母左手持莲花", "金山"]


@pytest.fixture
def bert(tmp_path):
    return write_bert(tmp_path / "bert")


@pytest.fixture
def teacher(bert):
    return SentenceTeacher(str(bert), "", SimpleNamespace(captions=CAPTIONS, captions_path="train_caps.txt"))


def centred_cosines(bert, captions):
    """Sentence vectors of transformers' own tokenizer and model, one caption at a time."""
    tokenizer, model = AutoTokenizer.from_pretrained(bert), AutoModel.from_pretrained(bert).eval()
    with torch.no_grad():
        states = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0) for text in captions]
    vectors = torch.stack(states) - torch.stack(states).mean(dim=0)
    return torch.nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=-1)


def test_cosines_are_those_of_transformers(bert, teacher):
    rows = torch.tensor([4, 0, 3, 1])
    expected = centred_cosines(bert, CAPTIONS)[rows][:, rows]
    torch.testing.assert_close(teacher.cosines(rows, CPU), expected, atol=1e-5, rtol=1e-5)
    assert expected[2, 3] == pytest.approx(1.0)  # equal captions
    assert expected.fill_diagonal_(0).abs().min() < 0.9


def test_prefix_is_a_part_of_every_caption(bert):
    split = SimpleNamespace(captions=CAPTIONS, captions_path="train_caps.txt")
    found = SentenceTeacher(str(bert), "中", split).cosines(torch.arange(6), CPU)
    torch.testing.assert_close(found, centred_cosines(bert, ["中" + c for c in CAPTIONS]), atol=1e-5, rtol=1e-5)


def test_random_generator_and_gradients_are_left_alone(bert):
    before = torch.get_rng_state()
    teacher = SentenceTeacher(str(bert), "", SimpleNamespace(captions=CAPTIONS, captions_path="train_caps.txt"))
    assert not teacher.cosines(torch.arange(3), CPU).requires_grad
    assert torch.equal(torch.get_rng_state(), before)


def test_captions_are_encoded_once(teacher, monkeypatch):
    encoded = []
    encode = SentenceTeacher._encode
    monkeypatch.setattr(SentenceTeacher, "_encode", lambda self, device: encoded.append(1) or encode(self, device))
    for _ in range(2):
        teacher.cosines(torch.arange(4), CPU)
    assert encoded == [1]


def test_its_scores_are_averaged_with_those_of_models_after_standardising(tmp_path, bert):
    data = small_data(tmp_path)
    data.setup()
    split = data.train
    sizes = {"regions": split.features.num_regions, "dim": split.features.feature_dim}
    path = write_checkpoint(tmp_path / "a.ckpt", list(split.captions), model=SAF, **sizes)
    sentences = SentenceTeacher(str(bert), "", split)
    images, captions = torch.arange(5), torch.arange(5)
    alone = [Teachers([path], split), Teachers([], split, sentences)]
    expected = sum(one.score(images, captions, CPU) for one in alone) / 2
    torch.testing.assert_close(Teachers([path], split, sentences).score(images, captions, CPU), expected)
    assert alone[1].score(images, captions, CPU).std(correction=0) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("same_above", [None, 0.99, 0.3])
def test_pairs_whose_captions_say_the_same_are_no_negatives(teacher, same_above):
    pairs = torch.arange(6)
    inputs = LossInputs(torch.randn(6, 6), positive_mask(pairs, pairs))
    hook = Distillation(Teachers.__new__(Teachers), ScoreDistillationLoss(0.5, 0.1), 0.0, same_above)
    hook._teachers.sentences = teacher
    found = hook.before_loss(inputs, SimpleNamespace(caption_index=pairs)).positives
    expected = torch.eye(6, dtype=torch.bool)
    if same_above is not None:
        expected |= teacher.cosines(pairs, CPU) > same_above
        assert found[1, 3]  # 红佛 twice
        assert not found.all()
    assert torch.equal(found, expected)
    changed = InfoNCELoss()(inputs._replace(positives=found)).total - InfoNCELoss()(inputs).total
    assert (changed < 0) == (same_above is not None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"text_model": "bert"}, "distillation=none: choose distillation=sentences"),
        ({"same_above": 0.8}, "distillation.same_above=0.8 compares captions"),
        ({"same_above": 1.5, "text_model": "bert"}, "less than or equal to 1"),
    ],
)
def test_settings_that_do_not_agree_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DistillationSettings.model_validate({"teachers": [], "weight": 0.0, "loss": None, **settings})


def test_a_folder_that_is_no_model_is_reported(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        SentenceTeacher(str(tmp_path / "nowhere"), "", SimpleNamespace(captions=CAPTIONS, captions_path="x"))
