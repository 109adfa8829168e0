"""Trains small generators: `python train_generators.py FOLDER [KILL_IN]`, also under torchrun.

Writes FOLDER/layout.npz and FOLDER/image.npz with the parameters afterwards. KILL_IN: the step of
the image generator that never ends.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ros_xai.training import generation, layout
from ros_xai.training.distributed import Process, process_group
from ros_xai.training.loop import LoopConfig
from tests.generation.test_images import SMALL as IMAGE
from tests.generation.test_images import streets
from tests.generation.test_layouts import PALETTES, bands
from tests.generation.test_layouts import SMALL as LAYOUT


def often(trainer: generation.ImageTrainer | layout.LayoutTrainer) -> None:
    """A checkpoint after every second step."""
    loop = trainer.loop
    trainer.loop = LoopConfig(loop.steps, loop.seed, loop.learning_rate, checkpoint_every=2)


def keep(path: Path, network: nn.Module) -> None:
    np.savez(path, *(value.numpy() for value in network.state_dict().values()))


def main(folder: Path, kill_in: int | None, process: Process) -> None:
    torch.set_num_threads(1)
    layouts = layout.LayoutTrainer(
        layout.LayoutRecipe(LAYOUT, steps=(3, 3), batch=4), bands(12), PALETTES, process
    )
    images = generation.ImageTrainer(
        generation.ImageRecipe(IMAGE, steps=8, batch=1, adversarial_from=0.25),
        streets(12),
        streets(12),
        process=process,
    )
    often(layouts)
    often(images)
    step = images.step

    def ending(number: int) -> dict[str, float]:
        if number == kill_in:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(number)

    images.step = ending  # type: ignore[method-assign]
    for name, trainer in (("layout", layouts), ("image", images)):
        trained = trainer.train(folder / name, show=False)
        if process.is_first:
            keep(folder / f"{name}.npz", trained)


if __name__ == "__main__":
    with process_group() as group:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None, group)
