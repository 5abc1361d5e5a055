"""Documentation of the API as a plain HTML page, from its OpenAPI description."""

from collections.abc import Mapping
from html import escape
from typing import Any


def api_page(description: Mapping[str, Any]) -> str:
    """Render an OpenAPI description; the machine-readable one is at ``/openapi.json``."""
    parts = [
        _operation(method, path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>API</title>'
        '<link rel="stylesheet" href="/static/page.css"><link rel="icon" href="/static/icon.svg"></head>'
        f'<body class="docs"><main><h1>{escape(description["info"]["title"])}</h1><p>Answers are JSON; errors are '
        '<code>{"error": message}</code>. <a href="/openapi.json">openapi.json</a> · <a href="/">page</a></p>'
        f"{''.join(parts)}</main></body></html>"
    )


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(_limits(each['schema']))}</td>"
        f"<td>{'required' if each.get('required') else escape(str(each['schema'].get('default')))}</td></tr>"
        for each in operation.get("parameters", [])
    )
    body = "<p>Body: JSON, see <code>Batch</code> in openapi.json.</p>" if "requestBody" in operation else ""
    return (
        f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
        f"<p>{escape(operation.get('description', ''))}</p><table>{rows}</table>{body}"
    )


def _limits(schema: Mapping[str, Any]) -> str:
    """Describe the type and the limits of a parameter.

    >>> _limits({"type": "integer", "minimum": 1, "maximum": 100})
    'integer, minimum 1, maximum 100'
    """
    limits = [f"{name} {schema[name]}" for name in ("minimum", "maximum", "minLength", "maxLength") if name in schema]
    return ", ".join([schema.get("type", ""), *limits])
