"""``convert to=clip`` on a checkpoint of the Chinese-CLIP training code, written again here with torch's own layers."""

import pytest
import torch
from PIL import Image
from torch import nn

from helpers.bad_input import assert_one_message
from helpers.cli import run_cli_in_process
from helpers.old_torch_files import save_legacy
from helpers.tiny_pretrained import TEXT, VISION, write_chinese_clip
from tangka_match.convert import main as convert
from tangka_match.hub import WordPieces
from tangka_match.models import ChineseCLIP
from tangka_match.models.chinese_clip import VisionTower

transformers = pytest.importorskip("transformers")
JOINT, WIDTH, HEADS, LAYERS = 8, VISION["hidden_size"], VISION["num_attention_heads"], VISION["num_hidden_layers"]
PATCH, SIDE = VISION["patch_size"], VISION["image_size"] // VISION["patch_size"]


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """Pre-norm Transformer layer of OpenAI's CLIP."""

    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        inner = VISION["intermediate_size"]
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(WIDTH, inner), "c_proj": nn.Linear(inner, WIDTH)})

    def forward(self, x):
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp["c_proj"](QuickGELU()(self.mlp["c_fc"](self.ln_2(x))))


class Visual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(WIDTH))
        self.positional_embedding = nn.Parameter(torch.randn(SIDE**2 + 1, WIDTH))
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList([Block() for _ in range(LAYERS)])})
        self.proj = nn.Parameter(torch.randn(WIDTH, JOINT))

    def forward(self, pixels):
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(pixels), 1, -1), patches], dim=1) + self.positional_embedding
        x = self.ln_pre(x)
        for block in self.transformer["resblocks"]:
            x = block(x)
        return self.ln_post(x[:, 0]) @ self.proj


class CLIP(nn.Module):
    """``cn_clip/clip/model.py``; its BERT is that of transformers."""

    def __init__(self):
        super().__init__()
        self.visual = Visual()
        self.bert = transformers.BertModel(transformers.BertConfig(**TEXT))
        self.text_projection = nn.Parameter(torch.randn(TEXT["hidden_size"], JOINT))
        self.logit_scale = nn.Parameter(torch.tensor(2.6))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_chinese_clip(tmp_path_factory.mktemp("base"), JOINT)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    built = CLIP().eval()
    for name, parameter in built.named_parameters():
        if "ln_" in name:
            nn.init.uniform_(parameter, 0.5, 1.5)
    return built


def checkpoint(network, prefix="module."):
    weights = {f"{prefix}{name}": value for name, value in network.state_dict().items()}
    return {"epoch": 3, "step": 60, "name": "finetune", "state_dict": weights, "optimizer": {"state": {}}}


@pytest.mark.parametrize("save", [torch.save, save_legacy])
def test_folder_encodes_as_the_training_code(save, base, network, tmp_path):
    save(checkpoint(network), tmp_path / "epoch_latest.pt")
    words = (f"source={tmp_path / 'epoch_latest.pt'}", f"clip={base}", f"out={tmp_path / 'ours'}", "to=clip")
    done = run_cli_in_process(*words, main=convert)
    assert done.code == 0, done.stderr
    tower = VisionTower(str(tmp_path / "ours"), 2).eval()
    picture = Image.radial_gradient("L").resize((32, 32)).convert("RGB")
    pixels = tower._prepare([picture], size={"height": 32, "width": 32}, do_center_crop=False, return_tensors="pt")
    with torch.no_grad():
        expected = network.visual(pixels["pixel_values"])
    torch.testing.assert_close(tower([picture])[:, 0], expected, atol=2e-6, rtol=1e-5)
    rows = WordPieces.read(str(tmp_path / "ours")).rows
    ours = ChineseCLIP(vocab_size=len(rows), feature_dim=JOINT, num_regions=5, text_model=str(tmp_path / "ours")).eval()
    ids = torch.tensor([[1, 6, 9, 12, 2]])
    with torch.no_grad():
        theirs = network.bert(input_ids=torch.tensor(rows)[ids]).last_hidden_state[:, 0]
        text = theirs @ network.text_projection
        found = ours.encode_texts(ids, torch.ones(1, 5, dtype=torch.bool)).pooled
    torch.testing.assert_close(found, text / text.norm(), atol=2e-6, rtol=1e-5)


def test_exception_without_to_says_how(base, network, tmp_path):
    torch.save(checkpoint(network), tmp_path / "epoch_latest.pt")
    done = run_cli_in_process(f"source={tmp_path / 'epoch_latest.pt'}", f"out={tmp_path / 'ours'}", main=convert)
    assert_one_message(done, r"epoch_latest\.pt: a checkpoint of the Chinese-CLIP training code; .* to=clip")


def test_exception_other_size(base, network, tmp_path):
    content = checkpoint(network, prefix="")
    content["state_dict"]["visual.proj"] = torch.zeros(WIDTH, 5)
    content["state_dict"]["visual.layer1.weight"] = torch.zeros(1)
    del content["state_dict"]["logit_scale"]
    torch.save(content, tmp_path / "epoch_latest.pt")
    words = (f"source={tmp_path / 'epoch_latest.pt'}", f"clip={base}", f"out={tmp_path / 'ours'}", "to=clip")
    assert_one_message(
        run_cli_in_process(*words, main=convert),
        r"visual_projection\.weight is \(5, 16\), there \(8, 16\)\n",
        r"visual\.layer1\.weight \(1,\) is not a part of the model\n",
        r"logit_scale \(\) is missing",
    )
    assert not list(tmp_path.glob("*ours*"))


def test_exception_missing_clip(tmp_path):
    done = run_cli_in_process(f"source={tmp_path / 'x.pt'}", f"out={tmp_path / 'ours'}", "to=clip", main=convert)
    assert_one_message(done, r"clip is not set: give the folder or hub name")
