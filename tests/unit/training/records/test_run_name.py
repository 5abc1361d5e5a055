import pytest

from tangka_match.training.records.run_name import LONGEST, short_name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], ""),
        (["data.root=/data/tk", "logger.project=x", "tags=[a,b]", "resume=last", "seeds=[0,1]", "sweep.retries=2"], ""),
        (["+experiment=targeted", "loss=triplet", "model.embed_dim=64"], "targeted loss=triplet embed_dim=64"),
        (["seed=0", "seed=1"], "seed=1"),
        (["++data.rooted=1", "sweeper=1"], "rooted=1 sweeper=1"),
        (["name=唐卡"], "name=唐卡"),
    ],
)
def test_a_name_says_what_was_set_and_not_where_it_is_written(overrides, name):
    assert short_name(overrides) == name


def test_a_name_that_w_and_b_would_cut_ends_in_a_mark():
    name = short_name([f"setting_{n}=1" for n in range(30)])
    assert len(name) == LONGEST
    assert name.endswith("…")
