"""Every caption format, recognised by content; the files are written here from published field lists."""

import json

import pytest

from helpers.foreign_files import IMAGES, TEXTS, write_karpathy
from tangka_match.data.importers.caption_tables import Columns
from tangka_match.data.importers.caption_text import simplified, without_empty
from tangka_match.data.importers.captions import read_captions
from tangka_match.errors import ConfigError, DataFormatError


def read(*paths, encoding="utf-8", **columns):
    return read_captions(paths, Columns(**columns), encoding)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file and returns its path."""

    def write_file(text, name="captions.txt", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write_file


def content(found):
    return {image.names[0]: image.captions for image in found.images}


EXPECTED = dict(zip(IMAGES, TEXTS, strict=True))


@pytest.mark.parametrize("indent", [None, 1])
def test_karpathy(tmp_path, indent):
    found = read(write_karpathy(tmp_path / "dataset.json", splits=("restval", "val", "test"), indent=indent))
    assert found.kind == "Karpathy's dataset.json"
    assert content(found) == EXPECTED
    assert [image.split for image in found.images] == ["train", "val", "test"]
    assert found.images[2].names == (IMAGES[2], "2")


def test_karpathy_coco_has_the_id_as_another_name(write):
    sentence = {"tokens": ["a"], "raw": "一条狗", "imgid": 0, "sentid": 7}
    image = {"filepath": "val2014", "sentids": [7], "filename": "COCO_val2014_000000391895.jpg", "imgid": 0}
    image |= {"split": "test", "cocoid": 391895, "sentences": [sentence]}
    (found,) = read(write(json.dumps({"images": [image], "dataset": "coco"}))).images
    assert found.names == ("COCO_val2014_000000391895.jpg", "391895", "0")


def test_coco_captions(write):
    images = [{"id": 9, "file_name": "COCO_train2014_000000000009.jpg", "width": 640}, {"id": 25, "file_name": "b.jpg"}]
    annotations = [
        {"image_id": 25, "id": 1, "caption": "长颈鹿"},
        {"image_id": 9, "id": 2, "caption": "盘子\n里的食物"},
        {"image_id": 25, "id": 3, "caption": "两只长颈鹿"},
    ]
    found = read(write(json.dumps({"info": {}, "licenses": [], "images": images, "annotations": annotations})))
    assert found.kind == "COCO captions"
    assert content(found) == {images[0]["file_name"]: ("盘子 里的食物",), "b.jpg": ("长颈鹿", "两只长颈鹿")}
    assert found.images[0].names[1] == "9"


@pytest.mark.parametrize("between", ["\t", " "])
@pytest.mark.parametrize("kind", ["", "#zhb", "#zhmbd"])
def test_flickr_lists(write, between, kind):
    """Flickr30k's token file and Flickr8k-CN: ``1000268201_693b08cb0e.jpg#zhb#0 caption``."""
    lines = [f"{name}{kind}#{n}{between}{text}" for name, texts in EXPECTED.items() for n, text in enumerate(texts)]
    found = read(write("\r\n".join(lines) + "\r\n"))
    assert found.kind == "image#number caption"
    assert content(found) == EXPECTED


def test_image_tab_caption(write):
    lines = [f"images/{name}\t{text}" for name, texts in EXPECTED.items() for text in texts]
    assert content(read(write("\n".join(lines)))) == {f"images/{name}": texts for name, texts in EXPECTED.items()}


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_table_with_named_columns(write, delimiter):
    rows = [["no", "filename", "描述", "part"], ["1", "a.jpg", f'"狗{delimiter}和""猫""\n在跑"', "dev"]]
    rows.append(["2", "a.jpg", "猫", "dev"])
    path = write("\n".join(map(delimiter.join, rows)) + "\n", "c.csv")
    found = read(path, image="filename", text="描述", split="part")
    assert found.kind == "table"
    joined = delimiter.replace("\t", " ")  # white space of any kind becomes a space
    assert content(found) == {"a.jpg": (f'狗{joined}和"猫" 在跑', "猫")}
    assert found.images[0].split == "val"
    assert content(read(path)) == content(found)  # usual names need no setting


def test_json_lines_and_lists(write):
    """AI Challenger: a list of objects with ``image_id`` and five captions."""
    lines = [
        json.dumps({"image": "a.jpg", "caption": "狗", "split": "train"}),
        '{"image": "b.jpg", "caption": ["猫", "鸟"]}',
    ]
    found = read(write("\n".join(lines), "c.jsonl"))
    assert found.kind == "JSON lines"
    assert content(found) == {"a.jpg": ("狗",), "b.jpg": ("猫", "鸟")}
    assert [image.split for image in found.images] == ["train", None]
    challenger = [{"url": "http://", "image_id": "8f.jpg", "caption": ["一个男人", "两个人"]}]
    assert content(read(write(json.dumps(challenger), "c.json"))) == {"8f.jpg": ("一个男人", "两个人")}


def test_chinese_clip_folder(write, tmp_path):
    """MUGE: ``<split>_imgs.tsv`` (id, tab, base64) and ``<split>_texts.jsonl`` (text_id, text, image_ids)."""
    for split, image_ids in (("train", [1000002, 1000016]), ("valid", [1000030])):
        write("".join(f"{image}\t/9j/4AAQ\n" for image in image_ids), f"{split}_imgs.tsv")
        texts = [{"text_id": 8428, "text": "高级感托特包斜挎", "image_ids": image_ids}]
        texts.append({"text_id": 8429, "text": "没有图片", "image_ids": []})
        write("\n".join(json.dumps(text, ensure_ascii=False) for text in texts), f"{split}_texts.jsonl")
    found = read(tmp_path)
    assert found.kind == "Chinese-CLIP texts"
    assert content(found) == dict.fromkeys(("1000002", "1000016", "1000030"), ("高级感托特包斜挎",))
    assert [image.split for image in found.images] == ["train", "train", "val"]
    assert list(content(read(tmp_path / "valid_imgs.tsv"))) == ["1000030"]


def test_splits_of_several_files_come_from_their_names(write):
    paths = [write(f"{name}.jpg#0\t狗", f"{name}_caps.txt") for name in ("train", "dev", "test")]
    assert [image.split for image in read(*paths).images] == ["train", "val", "test"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_mark_decides(write, encoding):
    assert content(read(write("a.jpg\t狗\n", encoding=encoding))) == {"a.jpg": ("狗",)}


@pytest.mark.parametrize("encoding", ["gb18030", "big5"])
def test_other_encodings_are_named_and_read(write, encoding):
    text = {"gb18030": "一个男人坐在车上,他们在说话", "big5": "一個男人坐在車上,他們在說話"}[encoding]
    path = write(f"a.jpg\t{text}\n", encoding=encoding)
    with pytest.raises(DataFormatError, match=rf"line 1 is not utf-8 .*set encoding to that of the file: {encoding}$"):
        read(path)
    assert content(read(path, encoding=encoding)) == {"a.jpg": (text,)}


@pytest.mark.parametrize(("asked", "real"), [("gb18030", "big5"), ("gbk", "big5"), ("big5", "gb18030")])
def test_encoding_that_gives_other_characters_is_refused(write, asked, real):
    """Nearly every Big5 text decodes as GB18030, to rare characters."""
    text = {"gb18030": "一个男人坐在车上,他们在说话", "big5": "一個男人坐在車上,他們在說話"}[real]
    path = write("".join(f"{n}.jpg\t{text}\n" for n in range(9)), encoding=real)
    with pytest.raises(DataFormatError, match=rf"{asked}.*set encoding.*{real}"):
        read(path, encoding=asked)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("狗在跑\n猫在睡\n", "the format is not known; its first line is '狗在跑'"),
        ("a.jpg#0 狗\n" * 25 + "猫", "line 26 is '猫'; expected <image>#<number><tab or space><caption>"),
        ("image,caption\na.jpg,狗,猫\n", "line 2 has 3 fields, the header has 2"),
        ("image,caption\n,狗\n", "line 2: image is empty"),
        ("image,caption,split\na.jpg,狗,train\na.jpg,猫,test\n", "image 'a.jpg' is in train and in test"),
        ("image,caption,split\na.jpg,狗,extra\n", "split 'extra'; allowed: train"),
        ('{"image": "a.jpg", "caption": 3}', "caption is 3; expected text"),
        ('{"images": [{"sentences": [{"raw": "狗"}]}]}', r"images\[0\] has no filename; found: sentences"),
        (
            '[{"image": "a.jpg", "words": "狗"}]',
            "which column is the text.*Set columns.text=<name>; found: image, words",
        ),
        ('{"images": [', "not readable as JSON"),
        ("a.jpg\t狗\x00", "zero bytes"),
        ("image,caption\na.jpg, \n", "no caption found"),
    ],
)
def test_faulty_file_is_one_message(write, text, message):
    with pytest.raises(DataFormatError, match=message):
        read(write(text))


def test_missing_column_and_file(write, tmp_path):
    with pytest.raises(ConfigError, match=r"columns.text=描述: .* has no such column; found: image, caption"):
        read(write("image,caption\na.jpg,狗\n"), text="描述", image="image")
    with pytest.raises(ConfigError, match="no such file"):
        read(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="encoding=klingon: no such encoding"):
        read(write("a.jpg\t狗"), encoding="klingon")


def test_captions_without_a_word_are_removed_and_counted(write):
    images, removed = without_empty(read(write("a.jpg\t狗\na.jpg\t。。!\nb.jpg\t  ？\n")).images)
    assert [image.captions for image in images] == [("狗",), ()]
    assert removed == 2


def test_traditional_characters_become_simplified(write):
    pytest.importorskip("opencc")
    (image,) = simplified(read(write("a.jpg\t藥師佛的漢字與蓮花\n")).images)
    assert image.captions == ("药师佛的汉字与莲花",)
