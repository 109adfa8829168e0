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

from benchmarks.steex import frames_of
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


def boxed(picture: Pixels, window: tuple[slice, slice], scale: int) -> Pixels:
    """A picture enlarged, with a frame around a window of it."""
    large = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    (top, bottom), (left, right) = ((scale * w.start, scale * w.stop) for w in window)
    cv2.rectangle(large, (left, top), (right - 1, bottom - 1), (255, 220, 0), 1)
    return np.asarray(large, np.uint8)


def changed_most(change: NDArray[np.int16], side: int = 24) -> tuple[slice, slice]:
    """The square window of a change [H, W] with the largest sum."""
    sums = cv2.boxFilter(change.astype(np.float32), -1, (side, side), anchor=(0, 0))
    inside = sums[: change.shape[0] - side + 1, : change.shape[1] - side + 1]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return slice(int(top), int(top) + side), slice(int(left), int(left) + side)


def counterfactuals(painter: ImageGenerator) -> Path:
    """The first moment of each kind in the order of `ros_xai bench steex`, turned or not: the
    image, what the search starts from, where it ends, both near what changed most, the change."""
    decision, oracle = load_decisions()
    scenes = load_scenes(held_out=True)
    heads = ("image", "rebuilt from its styles", "turned", "the yellow frame", "change, times 3")
    blank = np.full((1, 256, 3), 255, np.uint8)
    pairs, rows = scenes.pairs, [[tile(blank, head, 256) for head in heads]]
    order = frames_of(scenes, decision, len(scenes.may_move))
    for kind, mask in (
        ("must stop: red light", scenes.red & ~scenes.brake),
        ("must stop: brake lamps", scenes.brake & ~scenes.red),
        ("must stop: both", scenes.brake & scenes.red),
        ("may go: green light", scenes.may_move & scenes.sign & ~scenes.car),
        ("may go: lamps off", scenes.may_move & scenes.car & ~scenes.sign),
    ):
        index = next(i for i in order if mask[i])
        scene = scene_of(painter, decision, pairs.images[index], pairs.labels[index])
        found = scene.search.explain()
        shown = pictures(found, scale=1)
        window = changed_most(shown["difference"].astype(np.int16).sum(axis=2))
        top = found.changed(scene.layout).argsort(descending=True)[:2].tolist()
        detail = np.hstack([shown[name][window] for name in ("before", "after")])
        told = float(oracle(found.after).sigmoid())
        captions = (
            f"{kind}   p(go) {found.image:.2f}",
            f"p(go) {found.reconstruction:.2f}",
            f"p(go) {found.curve[-1]:.2f}, by the oracle {told:.2f}",
            "before, after",
            f"most: {' and '.join(NAMES[i] for i in top)}",
        )
        tiles = (
            scene.image,
            boxed(shown["before"], window, 2),
            boxed(shown["after"], window, 2),
            detail,
            shown["difference"],
        )
        rows.append([tile(t, caption, 256, True) for t, caption in zip(tiles, captions)])
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
