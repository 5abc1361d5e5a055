import base64
import hashlib
import json
import re

from tangka_match.analysis.html_page import html_page, json_block


def test_policy_allows_only_the_script_of_the_page():
    page = html_page("t", "<main></main>", "p{}", script="const a = 1;\n", data={"block": {"a": 1}})
    digest = base64.b64encode(hashlib.sha256(b"const a = 1;\n").digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page).group(1)
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert '<script type="module">const a = 1;\n</script>' in page


def test_policy_allows_no_script_without_a_script():
    page = html_page("<t>", "", "")
    assert "script" not in page
    assert "<title>&lt;t&gt;</title>" in page


def test_json_block_round_trip():
    value = {"名": "</script><script>alert(1)</script><!--", "x": [1.5, float("inf"), None, True]}
    text = json_block(value)
    assert "<" not in text
    assert json.loads(text) == {"名": value["名"], "x": [1.5, None, None, True]}
