"""Pickles as SGRAF and Python 2 write them, and malicious ones."""

import os
import pickle
import sys
import types

import pytest

from helpers.shared import SHARED, needs_shared
from tangka_match.data.legacy_vocabulary import read_legacy_vocabulary
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import DataFormatError

WORD_IDS = {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3, "唐卡": 4}
# Protocol 0 of Python 2, whose words are byte strings.
PYTHON_2 = (
    b"ccopy_reg\n_reconstructor\n(cvocab\nVocabulary\nc__builtin__\nobject\nNtR(dS'word2idx'\n(dS'<pad>'\nI0\n"
    b"sS'<start>'\nI1\nsS'<end>'\nI2\nsS'<unk>'\nI3\nsS'\\xe5\\x94\\x90\\xe5\\x8d\\xa1'\nI4\nsS'spare'\nI00\nssb."
)


def legacy_pickle(monkeypatch, protocol, module="vocab", **state):
    """Pickle a ``Vocabulary`` of a temporary module."""
    cls = type("Vocabulary", (), {"__module__": module})
    stand_in = types.ModuleType(module)
    stand_in.Vocabulary = cls
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, module, stand_in)
        instance = cls()
        instance.__dict__.update(state)
        return pickle.dumps(instance, protocol=protocol)


def write(folder, content):
    path = folder / "vocab.pkl"
    path.write_bytes(content)
    return path


@needs_shared
@pytest.mark.parametrize("name", ["legacy_sgr", "legacy_saf"])
def test_fixture_pickle_equals_fixture_json(name):
    folder = SHARED / "fixtures" / name / "vocab"
    from_json = Vocabulary.load(folder / "mini_precomp_vocab.json")
    assert Vocabulary.load(folder / "mini_precomp_vocab.pkl") == from_json
    assert read_legacy_vocabulary(folder / "mini_precomp_vocab.pkl") == from_json.to_dict()["word2idx"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("module", ["vocab", "Vocabulary", "__main__"])
def test_every_protocol_and_module_of_the_class(monkeypatch, tmp_path, protocol, module):
    content = legacy_pickle(monkeypatch, protocol, module, word2idx=WORD_IDS, idx=5)
    path = write(tmp_path, content)
    assert read_legacy_vocabulary(path) == WORD_IDS
    assert Vocabulary.load(path) == Vocabulary(["唐卡"])


def test_python_2(tmp_path):
    content = PYTHON_2.replace(b"sS'spare'\nI00\nssb.", b"ssb.")
    assert read_legacy_vocabulary(write(tmp_path, content)) == WORD_IDS


def test_pickle_with_a_command_is_refused_and_not_executed(tmp_path):
    trace = tmp_path / "trace"

    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {trace}",)

    content = pickle.dumps(Attack())
    pickle.loads(content)
    assert trace.exists(), "the attack must work where nothing stops it, or this test shows nothing"
    trace.unlink()
    with pytest.raises(DataFormatError, match=r"vocab\.pkl: the pickle refers to posix\.system, .*nothing was exec"):
        read_legacy_vocabulary(write(tmp_path, content))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"c__builtin__\ngetattr\n.", "__builtin__.getattr"),
        (b"ccopyreg\n__newobj__\n.", "copyreg.__newobj__"),
        (b"cvocab\nos\n.", "vocab.os"),
        (pickle.PROTO + b"\x04\x8c\x05vocab\x8c\x13Vocabulary.__init__\x93.", "vocab.Vocabulary.__init__"),
    ],
)
def test_every_other_name_is_refused(tmp_path, content, name):
    with pytest.raises(DataFormatError, match=f"refers to {name}"):
        read_legacy_vocabulary(write(tmp_path, content))


def test_allowed_names_only_create_an_inert_object(tmp_path):
    content = b"ccopyreg\n_reconstructor\n(cbuiltins\nobject\nS'x'\nS'y'\ntR."
    with pytest.raises(DataFormatError, match="no dictionary 'word2idx'"):
        read_legacy_vocabulary(write(tmp_path, content))
    with pytest.raises(DataFormatError, match=r"damaged or not a pickled vocabulary \(TypeError"):
        read_legacy_vocabulary(write(tmp_path, b"cvocab\nVocabulary\n(S'x'\ntR."))


def test_objects_outside_the_file_are_refused(tmp_path):
    with pytest.raises(DataFormatError, match=r"outside the file \('weights'\)"):
        read_legacy_vocabulary(write(tmp_path, b"Pweights\n."))


@pytest.mark.parametrize("kept", [0, 1, 20, 60, -1])
def test_truncated(monkeypatch, tmp_path, kept):
    content = legacy_pickle(monkeypatch, 2, word2idx=WORD_IDS)
    with pytest.raises(DataFormatError, match=r"vocab\.pkl: damaged or not .* \((EOF|Unpickling)Error"):
        read_legacy_vocabulary(write(tmp_path, content[:kept]))


@pytest.mark.parametrize("content", [b"not a pickle", b"\x80\x02]q\x00(}U", PYTHON_2.replace(b"\\xe5\\x94", b"\\xb6")])
def test_damaged(tmp_path, content):
    with pytest.raises(DataFormatError, match=r"vocab\.pkl: damaged or not a pickled vocabulary"):
        read_legacy_vocabulary(write(tmp_path, content))


@pytest.mark.parametrize(("thing", "kind"), [({"word2idx": WORD_IDS}, "dict"), ([1], "list"), (None, "NoneType")])
def test_pickle_of_something_else(tmp_path, thing, kind):
    with pytest.raises(DataFormatError, match=rf"vocab\.pkl: found an object of type {kind}, expected vocab"):
        read_legacy_vocabulary(write(tmp_path, pickle.dumps(thing)))


@pytest.mark.parametrize("state", [{}, {"words": []}, {"word2idx": ["唐卡"]}])
def test_vocabulary_of_another_project(monkeypatch, tmp_path, state):
    path = write(tmp_path, legacy_pickle(monkeypatch, 2, **state))
    with pytest.raises(DataFormatError, match=r"vocab\.pkl: the Vocabulary object has no dictionary 'word2idx'"):
        read_legacy_vocabulary(path)


@pytest.mark.parametrize(
    ("word_ids", "found"), [({"唐卡": "4"}, "'唐卡': '4'"), ({"唐卡": True}, "'唐卡': True"), ({7: 4}, "7: 4")]
)
def test_entries_of_the_wrong_kind(monkeypatch, tmp_path, word_ids, found):
    path = write(tmp_path, legacy_pickle(monkeypatch, 2, word2idx=word_ids))
    with pytest.raises(DataFormatError, match=rf"vocab\.pkl: word2idx has {found}; expected"):
        read_legacy_vocabulary(path)


def test_non_consecutive_ids(monkeypatch, tmp_path):
    path = write(tmp_path, legacy_pickle(monkeypatch, 2, word2idx={**WORD_IDS, "唐卡": 7}))
    with pytest.raises(DataFormatError, match=r"vocab\.pkl: '唐卡' has the id 7, expected 4"):
        Vocabulary.load(path)


def test_missing_file(tmp_path):
    with pytest.raises(DataFormatError, match=r"absent\.pkl: cannot read the vocabulary \(No such file"):
        read_legacy_vocabulary(tmp_path / "absent.pkl")
