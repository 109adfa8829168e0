"""The pictures of docs/methods/semantic-palette.md and steex.md, by the networks that ship."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ros_xai.cli.generate import coloured
from ros_xai.data.segmentation import CAMVID
from ros_xai.explanation.steex_decision import load_decisions
from ros_xai.generation.images import ImageGenerator
from ros_xai.generation.layouts import LayoutGenerator
from ros_xai.generation.palette import proportions_of
from ros_xai.nodes.counterfactual_scene import pictures, scene_of
from ros_xai.training.generation_data import load_scenes, world_layouts

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
LIMIT = 300_000  # bytes of a picture
Pixels = NDArray[np.uint8]
NAMES = list(CAMVID.names)


def tile(picture: Pixels, caption: str, width: int = 288, smooth: bool = False) -> Pixels:
    """A picture enlarged to `width`, with one line of text below."""
    height = round(picture.shape[0] * width / picture.shape[1])
    how = cv2.INTER_CUBIC if smooth else cv2.INTER_NEAREST
    large = cv2.resize(picture, (width, height), interpolation=how)
    text = np.full((18, width, 3), 255, np.uint8)
    cv2.putText(text, caption, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([large, text])


def save(name: str, rows: Sequence[Sequence[Pixels]]) -> Path:
    """Rows of tiles as one picture; with fewer colours where it would be too large a file."""
    sheet = np.vstack([np.hstack(row) for row in rows])
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.png"
    for bits in (8, 6, 5, 4):
        step = 2 ** (8 - bits)
        cv2.imwrite(str(path), sheet[..., ::-1] // step * step, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        if path.stat().st_size < LIMIT:
            return path
    raise ValueError(f"{path} is larger than {LIMIT} bytes")


def interpolated(layouts: LayoutGenerator, painter: ImageGenerator) -> Path:
    """One latent code, palettes from an empty street to one full of cars."""
    ends = [
        layouts.palettes.completed(asked, NAMES, np.random.default_rng(4))
        for asked in ({"car": 0.02, "road": 0.4}, {"car": 0.3, "road": 0.2})
    ]
    codes = painter.bank.complete(*painter.bank.draw(np.random.default_rng(2)))
    maps, images = [], []
    for share in np.linspace(0, 1, 5):
        asked = (1 - share) * ends[0] + share * ends[1]
        label = layouts.generate(asked, seed=5, size=painter.size)[0]
        got = proportions_of(label[None], len(NAMES))[0]
        shares = [(n, asked[NAMES.index(n)], got[NAMES.index(n)]) for n in ("car", "road")]
        caption = "  ".join(f"{n} {a:.2f} ({g:.2f})" for n, a, g in shares)
        maps.append(tile(coloured(label), caption, 240))
        images.append(tile(painter.render(label, codes), "painted", 240, smooth=True))
    return save("palettes", [maps, images])


def edited(layouts: LayoutGenerator, painter: ImageGenerator) -> Path:
    """A box of a rendered street, made anew with other shares."""
    labels = world_layouts(True)
    before = labels[int(np.argmax((labels == NAMES.index("road")).mean((1, 2))))]
    box = (32, 24, 112, 60)
    left, top, right, bottom = box
    codes = painter.bank.complete(*painter.bank.draw(np.random.default_rng(2)))
    rows: list[list[Pixels]] = [[], []]
    shown = [("before", before)]
    for name, share in (("car", 0.4), ("tree", 0.3), ("building", 0.3)):
        inside = proportions_of(before[None, top:bottom, left:right], len(NAMES))[0]
        inside *= 1 - share
        inside[NAMES.index(name)] += share
        after = layouts.edit(before, box, inside, seed=1)
        got = proportions_of(after[None, top:bottom, left:right], len(NAMES))[0]
        index = NAMES.index(name)
        shown.append((f"in the box: {name} {inside[index]:.2f}, got {got[index]:.2f}", after))
    for caption, label in shown:
        picture = cv2.resize(coloured(label), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
        cv2.rectangle(picture, (2 * left, 2 * top), (2 * right, 2 * bottom), (255, 255, 255), 1)
        rows[0].append(tile(picture, caption))
        rows[1].append(tile(painter.render(label, codes), "painted", smooth=True))
    return save("edited", rows)


def counterfactuals(painter: ImageGenerator, count: int = 5) -> Path:
    """Held-out moments: the image, its reconstruction, the counterfactual, what changed."""
    decision, _ = load_decisions()
    scenes = load_scenes(held_out=True)
    rows: list[list[Pixels]] = []
    wanted = [("red",), ("brake",), ("green",), ("red",), ("brake",)][:count]
    used: set[int] = set()
    for (kind,) in wanted:
        mask = {
            "red": scenes.red & ~scenes.brake,
            "brake": scenes.brake & ~scenes.red,
            "green": scenes.may_move & scenes.sign,
        }[kind]
        for index in np.random.default_rng(1).permutation(np.flatnonzero(mask)).tolist():
            pairs = scenes.pairs
            if any(abs(index - u) < 12 for u in used):
                continue
            scene = scene_of(painter, decision, pairs.images[index], pairs.labels[index])
            if (scene.search.image >= 0.5) != scenes.may_move[index]:
                continue
            found = scene.search.explain()
            if not found.success:
                continue
            used.add(index)
            top = found.changed(scene.layout).argsort(descending=True)[:2].tolist()
            shown = pictures(found, scale=1)
            truth = "may move on" if scenes.may_move[index] else f"must stop: {kind}"
            moved = " and ".join(NAMES[i] for i in top)
            rows.append(
                [
                    tile(scene.image, f"image, {truth}: p {found.image:.2f}", 256, smooth=True),
                    tile(shown["before"], f"rebuilt: p {found.reconstruction:.2f}", 256, True),
                    tile(shown["after"], f"counterfactual: p {found.curve[-1]:.2f}", 256, True),
                    tile(shown["difference"], f"changed most: {moved}", 256, True),
                ]
            )
            break
    return save("counterfactuals", rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["palettes", "edited", "counterfactuals"])
    names = parser.parse_args(arguments).names
    torch.set_num_threads(1)
    painter = ImageGenerator.load()
    if "counterfactuals" in names:
        print(counterfactuals(painter))
    if "palettes" in names:
        print(interpolated(LayoutGenerator.load(), painter))
    if "edited" in names:
        print(edited(LayoutGenerator.load(), painter))
    return 0


if __name__ == "__main__":
    sys.exit(main())
