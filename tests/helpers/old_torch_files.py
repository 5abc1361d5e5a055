"""Files as torch before 1.6 wrote them, under Python 3 and Python 2."""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch


class _Python2Pickler(pickle._Pickler):
    """Pickler whose output is that of Python 2, protocol 2: byte strings, and ordered dictionaries made of a list."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_text(self, text: str) -> None:
        if not text.isascii():
            self.save_str(text)  # ``unicode`` in Python 2
            return
        self.write(pickle.SHORT_BINSTRING + struct.pack("<B", len(text)) + text.encode("ascii"))
        self.memoize(text)

    dispatch[str] = save_text

    def reducer_override(self, content: object) -> Any:
        if type(content) is not OrderedDict:
            return NotImplemented
        return OrderedDict, ([[key, value] for key, value in content.items()],)


PYTHON_2 = SimpleNamespace(
    __name__="pickle",
    Pickler=_Python2Pickler,
    dump=lambda content, file, protocol: _Python2Pickler(file, protocol).dump(content),
)


def save_legacy(content: object, path: Path, *, python: int = 3) -> None:
    """Write a checkpoint in the format of torch 0.1.11 to 1.5."""
    module = pickle if python == 3 else PYTHON_2
    torch.save(content, path, pickle_module=module, _use_new_zipfile_serialization=False)
