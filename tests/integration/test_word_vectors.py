"""Training with pretrained word vectors, and evaluation without their file."""

from helpers.cli import run_cli_subprocess


def test_word_vectors_are_only_needed_for_training(train, demo_data, tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("2 4\n观音 1 0 -1 0.5\n莲 0 1 0 2\n", "utf-8")
    done = train(
        "+experiment=debug",
        "model=vse_infinity",
        "model.embed_dim=16",
        "model.word_dim=4",
        "model.character_dim=4",
        "training.lr_multipliers={word_input.word_vectors:0.1}",
        f"data.word_vectors_path={vectors}",
    )
    assert done.code == 0, done.stderr
    (log,) = tmp_path.glob("runs/*/run.log")
    assert "words start from pretrained vectors" in log.read_text("utf-8")
    vectors.unlink()
    (checkpoint,) = tmp_path.glob("checkpoints/debug/*/best.ckpt")
    evaluated = run_cli_subprocess(
        f"checkpoint={checkpoint}",
        f"data.root={demo_data / 'demo_small'}",
        f"out={tmp_path / 'out'}",
        module="evaluate",
    )
    assert evaluated.code == 0, evaluated.stderr
    assert "rsum" in evaluated.stdout
