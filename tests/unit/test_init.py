import runpy

import pytest

import tangka_match


def test_import_on_windows_says_what_is_supported(monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(ImportError, match="supports Linux, macOS and WSL2, but not native Windows"):
        runpy.run_path(tangka_match.__file__)
