"""Write the synthetic demo set.

python -m tangka_match.demo_data [data=demo_small] [data.writer.noise=1.5] [data.root=FOLDER]
"""

from pathlib import Path

from omegaconf import DictConfig

from tangka_match.cli import command, say


def write_demo_data(config: DictConfig) -> None:
    """Write the set that ``config`` describes, unless ``data.root`` holds it already.

    Raises:
        TangkaMatchError: On invalid settings, or if ``data.root`` holds something else.
    """
    from tangka_match.config.build import build_writer

    build_writer(config.data).ensure(Path(config.data.root))
    say(f"{config.data.root} holds the demo set; its README.json records the recalls of the oracle")


DISK_ADVICE = (
    "free space there, or set data.root to a place on another disk that you may write to, and repeat the command"
)
main = command("demo_data", write_demo_data, disk_advice=DISK_ADVICE)

if __name__ == "__main__":
    main()
