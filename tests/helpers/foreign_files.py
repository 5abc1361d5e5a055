"""Feature and caption files as other programs publish them, written from their field lists and not by our own code."""

import base64
import json

import numpy as np

IMAGES = ("1000268201_693b08cb0e.jpg", "1001773457_577c3a7d70.jpg", "1002674143_1b742ab4b8.jpg")
TEXTS = (
    ("一个小女孩走进木屋", "小孩爬上楼梯"),
    ("两只狗在路上看着对方", "黑狗和白狗"),
    ("一个女孩在画彩虹", "女孩坐着"),
)


def make_regions(counts, dim=4, seed=0):
    """Return one float32 array (count, dim) per image."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(count, dim)).astype(np.float32) for count in counts]


def make_boxes(counts):
    """Return pixel boxes in an image of 200 × 100: box k is the area from (0, 0) to (20 (k + 1), 10 (k + 1))."""
    return [np.array([[0, 0, 20 * (k + 1), 10 * (k + 1)] for k in range(count)], dtype=np.float32) for count in counts]


def write_bottom_up(path, ids, regions, boxes, *, header=False):
    """Write https://github.com/peteanderson80/bottom-up-attention: six fields, the last two in base64."""
    lines = [["image_id", "image_w", "image_h", "num_boxes", "boxes", "features"]] if header else []
    for image_id, feature, box in zip(ids, regions, boxes, strict=True):
        encoded = [base64.b64encode(np.ascontiguousarray(part).tobytes()).decode("ascii") for part in (box, feature)]
        lines.append([image_id, "200", "100", str(len(feature)), *encoded])
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return path


def write_karpathy(path, names=IMAGES, texts=TEXTS, splits=("train", "val", "test"), *, indent=None):
    """Write https://cs.stanford.edu/people/karpathy/deepimagesent: ``dataset.json``."""
    images, sentid = [], 0
    for imgid, (name, captions, split) in enumerate(zip(names, texts, splits, strict=True)):
        sentences = []
        for raw in captions:
            sentences.append({"tokens": list(raw), "raw": raw, "imgid": imgid, "sentid": sentid})
            sentid += 1
        sentids = [sentence["sentid"] for sentence in sentences]
        images.append({"sentids": sentids, "imgid": imgid, "sentences": sentences, "split": split, "filename": name})
    content = {"images": images, "dataset": "flickr8k"}
    path.write_text(json.dumps(content, ensure_ascii=False, indent=indent), encoding="utf-8")
    return path
