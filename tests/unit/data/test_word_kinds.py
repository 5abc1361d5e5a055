from tangka_match.data.normalise import normalise_caption
from tangka_match.data.user_dictionary import domain_terms
from tangka_match.data.word_kinds import term_classes, word_kinds


def test_every_term_of_the_dictionary_has_a_class():
    classes = term_classes()
    assert set(classes) == {normalise_caption(entry.word) for entry in domain_terms()}
    assert len(set(classes.values())) == 22
    assert classes["释迦牟尼佛"] == "佛 Buddhas"
    assert classes["宗喀巴大师"].endswith("Masters and historical figures")


def test_other_words_have_their_part_of_speech():
    kinds = word_kinds(["小狗", "奔跑", "红", "三个", "旁边", "北京", "的", "怪怪怪词"])
    assert kinds["小狗"] == "nouns"
    assert kinds["奔跑"] == "verbs"
    assert kinds["红"] == "adjectives"
    assert kinds["北京"] == "nouns"
    assert kinds["旁边"] == "places and directions"
    assert not {"的", "怪怪怪词"} & set(kinds)


def test_a_term_of_the_domain_is_no_mere_noun():
    assert word_kinds(["唐卡", "金刚杵"])["金刚杵"].endswith("Implements and attributes")
