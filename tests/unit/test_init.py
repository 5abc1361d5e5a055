import runpy

import pytest

import tangka_match


def test_import_on_windows_names_the_supported_systems(monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(ImportError, match="supports Linux, macOS and WSL2, but not native Windows"):
        runpy.run_path(tangka_match.__file__)
