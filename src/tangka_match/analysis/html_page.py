"""Self-contained HTML pages, shared by the report and the diagnosis.

Styles, scripts and data are inline, and a content security policy forbids requests.
"""

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any


@cache
def resource(name: str) -> str:
    """Read a text file of this package, such as ``page.css`` or ``report/main.js``."""
    return files("tangka_match.analysis").joinpath(*name.split("/")).read_text(encoding="utf-8")


def html_page(
    title: str, body: str, style: str, *, script: str = "", data: Mapping[str, Any] | None = None, generator: str = ""
) -> str:
    """Assemble a page.

    The policy allows only this script, identified by its hash, and no requests, whatever the data contain.

    Args:
        title: Title, as plain text.
        body: Body, as HTML.
        style: CSS, appended to ``page.css``, which all pages share.
        script: JavaScript module, run after the page has loaded.
        data: Plain values by element id, embedded as JSON blocks; a function makes its value when it is needed.
        generator: Name of the program that wrote the page, for tools.
    """
    blocks = "".join(
        f'<script type="application/json" id="{escape(name)}">'
        f"{json_block(value() if callable(value) else value)}</script>"
        for name, value in (data or {}).items()
    )
    allowed = f" script-src '{_source_hash(script)}';" if script else ""
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:;{allowed} base-uri 'none'; form-action 'none'"
    )
    module = f'<script type="module">{script}</script>' if script else ""
    made_by = f'<meta name="generator" content="{escape(generator)}">' if generator else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{made_by}'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        # Without an icon the browser requests one.
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title>'
        f"<style>{resource('page.css')}{style}</style></head><body>{body}{blocks}{module}</body></html>\n"
    )


def json_block(value: Any) -> str:
    r"""Serialise a value as JSON that is safe inside a ``<script>``; values that are not finite become ``null``.

    >>> json_block({"name": "</script>", "loss": float("nan")})
    '{"name":"\\u003c/script>","loss":null}'
    """
    text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _source_hash(script: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
