from types import SimpleNamespace

import pytest
import torch

from helpers.small_checkpoints import SAF, write_checkpoint
from helpers.small_runs import small_data
from helpers.tiny_pretrained import write_bert
from tangka_match.errors import ConfigError
from tangka_match.losses import InfoNCELoss, LossInputs, MomentumQueueLoss, ScoreDistillationLoss, positive_mask
from tangka_match.training.distillation import Distillation, Teachers, check_same_above
from tangka_match.training.sentence_teacher import SentenceTeacher
from tangka_match.training.settings import DistillationSettings

CPU = torch.device("cpu")
CAPTIONS = ["绿度母右手持乌巴拉花", "红佛", "在莲花上", "红佛", "白度母左手持莲花", "金山"]


@pytest.fixture
def bert(tmp_path):
    return write_bert(tmp_path / "bert")


@pytest.fixture
def teacher(bert):
    return SentenceTeacher(str(bert), "", [captions(*CAPTIONS)])


def captions(*texts):
    """A split of which only the captions are read."""
    return SimpleNamespace(captions=texts, num_captions=len(texts), captions_path="train_caps.txt")


def centred_cosines(bert, captions):
    """Sentence vectors of transformers' own tokenizer and model, one caption at a time."""
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    model = transformers.AutoModel.from_pretrained(bert).eval()
    with torch.no_grad():
        states = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0) for text in captions]
    vectors = torch.stack(states) - torch.stack(states).mean(dim=0)
    return torch.nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=-1)


def test_cosines_are_those_of_transformers(bert, teacher):
    rows = torch.tensor([4, 0, 3, 1])
    expected = centred_cosines(bert, CAPTIONS)[rows][:, rows]
    torch.testing.assert_close(teacher.cosines(rows, CPU), expected, atol=1e-5, rtol=1e-5)
    assert expected[2, 3] == pytest.approx(1.0)  # equal captions
    assert expected[0, 1] < 0.9  # others differ


def test_prefix_is_a_part_of_every_caption(bert):
    found = SentenceTeacher(str(bert), "中", [captions(*CAPTIONS)]).cosines(torch.arange(6), CPU)
    torch.testing.assert_close(found, centred_cosines(bert, ["中" + c for c in CAPTIONS]), atol=1e-5, rtol=1e-5)


def test_random_generator_and_gradients_are_left_alone(bert):
    before = torch.get_rng_state()
    teacher = SentenceTeacher(str(bert), "", [captions(*CAPTIONS)])
    assert not teacher.cosines(torch.arange(3), CPU).requires_grad
    assert torch.equal(torch.get_rng_state(), before)


def test_each_set_is_centred_on_its_own_mean(bert):
    sets = [CAPTIONS[:3], [*CAPTIONS[3:], "云下", "左", "绿度母"]]
    teacher = SentenceTeacher(str(bert), "", [captions(*texts) for texts in sets])
    found = teacher.cosines(torch.arange(9), CPU)
    torch.testing.assert_close(found[:3, :3], centred_cosines(bert, sets[0]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[3:, 3:], centred_cosines(bert, sets[1]), atol=1e-5, rtol=1e-5)


def test_cosines_are_float32_in_a_step_of_half_precision(teacher):
    expected = teacher.cosines(torch.arange(6), CPU)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(teacher.cosines(torch.arange(6), CPU), expected)


def test_encoder_is_released_after_it_has_encoded(teacher):
    assert teacher._tower is not None
    teacher.cosines(torch.arange(2), CPU)
    assert teacher._tower is None


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
    sentences = SentenceTeacher(str(bert), "", [split])
    pairs = torch.arange(5)
    alone = [Teachers([path], split), Teachers([], split, sentences)]
    expected = sum(one.score(pairs, pairs, CPU) for one in alone) / 2
    torch.testing.assert_close(Teachers([path], split, sentences).score(pairs, pairs, CPU), expected)
    assert alone[1].score(pairs, pairs, CPU).std(correction=0) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("same_above", [None, 0.99, 0.3])
def test_pairs_whose_captions_say_the_same_are_no_negatives(teacher, same_above):
    pairs = torch.arange(6)
    inputs = LossInputs(torch.randn(6, 6), positive_mask(pairs, pairs))
    hook = Distillation(Teachers([], None, teacher), ScoreDistillationLoss(0.5, 0.1), 0.0, same_above)
    found = hook.before_loss(inputs, SimpleNamespace(caption_index=pairs)).positives
    expected = torch.eye(6, dtype=torch.bool)
    if same_above is not None:
        expected |= teacher.cosines(pairs, CPU) > same_above
        assert found[1, 3]  # 红佛 twice
        assert not found.all()
    assert torch.equal(found, expected)
    changed = InfoNCELoss()(inputs._replace(positives=found)).total - InfoNCELoss()(inputs).total
    assert (changed < 0) == (same_above is not None)


def test_with_weight_zero_the_teachers_are_not_asked():
    inputs = LossInputs(torch.randn(3, 3), torch.eye(3, dtype=torch.bool))
    terms = InfoNCELoss()(inputs)
    assert (
        Distillation(Teachers([], None), ScoreDistillationLoss(0.5, 0.1), 0.0).after_loss(terms, inputs, None) is terms
    )


def test_a_queue_of_negatives_is_refused_with_a_threshold():
    queue = MomentumQueueLoss(embed_dim=4, queue_size=8, key_momentum=0.9)
    check_same_above(queue, None)
    check_same_above(InfoNCELoss(), 0.8)
    with pytest.raises(ConfigError, match=r"same_above=0\.8 .* MomentumQueueLoss has more negatives"):
        check_same_above(queue, 0.8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"text_model": "bert"}, "distillation=none: choose distillation=sentences"),
        ({"same_above": 0.8}, "distillation.same_above=0.8 compares captions"),
        ({"text_prefix": "query: "}, "distillation.text_prefix='query: ' is for an encoder"),
        ({"same_above": 1.0, "text_model": "bert"}, "less than 1"),
    ],
)
def test_settings_that_do_not_agree_are_refused(settings, message):
    none = {"teachers": [], "text_model": None, "text_prefix": "", "same_above": None, "weight": 0.0, "loss": None}
    with pytest.raises(ValueError, match=message):
        DistillationSettings.model_validate(none | settings)


def test_a_folder_that_is_no_model_is_reported(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(ConfigError, match="nowhere"):
        SentenceTeacher(str(tmp_path / "nowhere"), "", [captions(*CAPTIONS)])
