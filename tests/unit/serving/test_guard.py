import pytest
from starlette.testclient import TestClient

from tangka_match.serving.app import create_app


def status(desk, headers, path="/api/health", **options):
    client = TestClient(create_app(desk, **options), base_url="http://127.0.0.1:7860")
    return client.get(path, headers=headers).status_code


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860"])
def test_loopback_hosts_are_allowed(desk, host):
    assert status(desk, {"host": host}) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.1.5", ""]
)
def test_other_hosts_are_refused(desk, host):
    assert status(desk, {"host": host}) == 403


def test_names_of_a_proxy_can_be_allowed(desk):
    assert status(desk, {"host": "lab.example.org"}, allowed_hosts=["Lab.example.org"]) == 200
    proxied = {"host": "lab.example.org", "origin": "https://lab.example.org"}
    assert status(desk, proxied, allowed_hosts=["lab.example.org"]) == 200


def test_addresses_are_allowed_on_all_interfaces_but_names_are_not(desk):
    assert status(desk, {"host": "192.168.1.5:7860"}, any_address=True) == 200
    assert status(desk, {"host": "evil.example"}, any_address=True) == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:8080", "http://localhost:7860", "null", "http://["]
)
def test_other_origins_are_refused(desk, origin):
    assert status(desk, {"host": "127.0.0.1:7860", "origin": origin}) == 403


def test_own_origin_is_allowed(desk):
    assert status(desk, {"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:7860"}) == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_requests_of_other_sites_without_origin_are_refused(desk, site):
    headers = {"host": "127.0.0.1:7860", "sec-fetch-site": site}
    assert status(desk, headers, "/api/picture?image_id=test-0001") == 403
    assert status(desk, headers, "/") == 200  # a link to the page
    assert status(desk, {**headers, "sec-fetch-site": "same-origin"}) == 200


@pytest.mark.parametrize("length", ["20971521", "-1", "x"])
def test_declared_length_is_checked(desk, length):
    assert status(desk, {"host": "127.0.0.1", "content-length": length}) == 413
