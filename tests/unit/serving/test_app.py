import time

import pytest
from starlette.testclient import TestClient

from helpers.small_search import make_searcher
from tangka_match.serving.app import create_app
from tangka_match.serving.desk import SearchDesk
from tangka_match.serving.schemas import MAX_BATCH, MAX_BYTES, MAX_QUERY


def test_search_answers_like_the_searcher(client, desk):
    for model, searcher in enumerate(desk.searchers.values()):
        found = client.get("/api/search", params={"q": "白度母坐在狮子座上", "top": 4, "model": model}).json()
        hits = searcher.search(["白度母坐在狮子座上"], 4)
        assert found["query"] == "白度母坐在狮子座上"
        assert [image["image_id"] for image in found["results"]] == [desk.split.image_ids[r] for r in hits.rows[0]]
        assert [image["score"] for image in found["results"]] == pytest.approx(hits.scores[0].tolist())
        assert [image["rank"] for image in found["results"]] == [1, 2, 3, 4]
        assert all(image["caption"] for image in found["results"])


def test_batch_equals_single_queries(client):
    queries = ["绿度母", "药师佛手持钵"]
    answers = client.post("/api/search", json={"queries": queries, "top": 3}).json()["answers"]
    for query, answer in zip(queries, answers, strict=True):
        alone = client.get("/api/search", params={"q": query, "top": 3}).json()
        assert [i["image_id"] for i in answer["results"]] == [i["image_id"] for i in alone["results"]]


def test_unknown_words_are_marked(client):
    words = client.get("/api/search", params={"q": "绿度母骑自行车"}).json()["words"]
    assert words[0] == {"text": "绿度母", "known": True}
    assert {"text": "自行车", "known": False} in words


def test_images_without_thumbnail_come_with_boxes(client, desk):
    results = client.get("/api/search", params={"q": "绿度母", "top": 12}).json()["results"]
    pictured = {image["image_id"] for image in results if image["picture"]}
    assert pictured == set(desk.split.image_ids[:8])
    assert all((image["boxes"] is None) == image["picture"] for image in results)
    assert len(next(image["boxes"] for image in results if not image["picture"])) == 4


def test_similar_images_and_captions(client, desk):
    answer = client.get("/api/similar", params={"image_id": "test-0003", "top": 4}).json()
    searcher = desk.searchers["dual"]
    assert answer["image"]["image_id"] == "test-0003"
    assert answer["own_captions"] == list(desk.split.captions[6:8])
    assert [image["image_id"] for image in answer["results"]] == [
        desk.split.image_ids[row] for row in searcher.similar(3, 4).rows[0]
    ]
    assert [found["caption"] for found in answer["captions"]] == [
        desk.split.captions[place] for place in searcher.captions(3, 4).rows[0]
    ]


@pytest.mark.parametrize("model", [0, 1])
def test_uploaded_picture_is_searched_like_the_image_that_it_shows(client, desk, with_uploads, model):
    content = desk.pictures.find("test-0000").read_bytes()
    uploads = TestClient(create_app(with_uploads), base_url="http://127.0.0.1")
    answer = uploads.post("/api/similar", params={"top": 4, "model": model}, content=content).json()
    known = client.get("/api/similar", params={"image_id": "test-0003", "top": 4, "model": model}).json()
    assert answer["image"] is None
    assert [found["caption"] for found in answer["captions"]] == [found["caption"] for found in known["captions"]]
    assert answer["results"][0]["image_id"] == "test-0003"
    assert answer["results"][0]["score"] == pytest.approx(1, abs=1e-5)
    assert [image["image_id"] for image in answer["results"][1:]] == [i["image_id"] for i in known["results"][:3]]
    assert uploads.get("/api/about").json()["uploads"] is True


def test_upload_without_encoder_says_what_is_needed(client):
    answer = client.post("/api/similar", content=b"x")
    assert (answer.status_code, "tangka_match.extract" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("model", [0, 1])
def test_attention_has_one_weight_per_region_and_word(client, model):
    values = {"q": "绿度母坐在莲花座上", "image_id": "test-0003", "model": model}
    answer = client.get("/api/attention", params=values).json()
    assert answer["words"][0]["text"] == "绿度母"
    assert all(len(word["weights"]) == len(answer["boxes"]) == 4 for word in answer["words"])
    assert (answer["words"][0]["effect"] is None) == (model == 1)


def test_about_and_health(client):
    about = client.get("/api/about").json()
    assert (about["images"], about["captions"], about["pictures"]) == (12, 24, True)
    assert [model["name"] for model in about["models"]] == ["dual", "vse"]
    assert client.get("/api/health").json() == {"status": "ok", "images": 12, "models": ["dual", "vse"]}


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/api/search", 422, "q: Field required"),
        ("/api/search?q=", 422, "q: String should have at least 1 character"),
        (f"/api/search?q={'长' * (MAX_QUERY + 1)}", 422, "at most 500 characters"),
        ("/api/search?q=。", 400, "no words"),
        ("/api/search?q=绿度母&top=0", 422, "top: Input should be greater than or equal to 1"),
        ("/api/search?q=绿度母&top=101", 422, "less than or equal to 100"),
        ("/api/search?q=绿度母&model=2", 400, "model=2: there are 2 models"),
        ("/api/search?q=绿度母&model=-1", 400, "model=-1"),
        ("/api/similar?image_id=nothing", 400, "image_id='nothing': there is no such image"),
        ("/api/attention?q=绿度母&image_id=nothing", 400, "no such image"),
        ("/api/picture?image_id=test-0011", 404, "has no thumbnail"),
        ("/static/nothing.js", 404, "there is no file"),
        ("/static/..%2fapp.py", 404, ""),
        ("/nothing", 404, "Not Found"),
    ],
)
def test_errors_are_json(client, path, status, message):
    answer = client.get(path)
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_batch_limits(client):
    too_many = client.post("/api/search", json={"queries": ["绿度母"] * (MAX_BATCH + 1)})
    assert (too_many.status_code, "at most 64 items" in too_many.json()["error"]) == (422, True)
    malformed = client.post("/api/search", content=b"{", headers={"content-type": "application/json"})
    assert malformed.status_code == 422
    large = client.post("/api/search", content=b" " * (MAX_BYTES + 1))
    assert (large.status_code, "at most 20,971,520" in large.json()["error"]) == (413, True)
    chunks = client.post("/api/search", content=iter([b" " * 2**20] * 21))  # no declared length
    assert chunks.status_code == 413


def test_slow_request_is_given_up(desk, monkeypatch):
    monkeypatch.setattr(SearchDesk, "search", lambda *_: time.sleep(1))
    client = TestClient(create_app(desk, timeout=0.05), base_url="http://127.0.0.1")
    answer = client.get("/api/search", params={"q": "绿度母"})
    assert (answer.status_code, "no answer within 0.05 s" in answer.json()["error"]) == (503, True)


def test_internal_error_reveals_nothing(client, monkeypatch):
    def failing(*_):
        raise RuntimeError("secret path")

    monkeypatch.setattr(SearchDesk, "search", failing)
    answer = client.get("/api/search", params={"q": "绿度母"})
    assert (answer.status_code, "secret" in answer.text) == (500, False)


def test_documentation_and_page_load_nothing_from_elsewhere(client):
    for path in ("/", "/docs", "/static/main.js", "/static/page.css"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "/api/similar" in client.get("/docs").text
    assert "/api/attention" in client.get("/openapi.json").json()["paths"]


def test_reranking_model_explains_itself(tmp_path, desk):
    slow = make_searcher(tmp_path, desk.split, "saf").base
    chain = make_searcher(tmp_path, desk.split, "dual", rerank=slow, rerank_top=5)
    again = SearchDesk({"chain": chain}, desk.split, desk.pictures, top=5)
    assert again.attention("绿度母", "test-0001", 0).note.startswith("word-to-region attention of SGRAF")
    assert again.about().models[0].exact is False
