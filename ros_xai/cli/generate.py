"""`ros_xai generate`: layouts of a given palette, edits of a layout, and layout-image pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
import yaml
from numpy.typing import NDArray

from ros_xai.cli.mendable import mendable
from ros_xai.cli.png import read_label, write_png
from ros_xai.data.segmentation import CAMVID, Classes, DataError, LabelledFolder
from ros_xai.generation.images import ImageGenerator, StyleBank
from ros_xai.generation.layouts import LayoutGenerator
from ros_xai.generation.palette import PaletteError, parse_palette, proportions_of

app = typer.Typer(
    help="Make layouts of a given palette, and images of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Folder = Annotated[Path, typer.Option(file_okay=False, help="Folder of results.")]
Weights = Annotated[Path | None, typer.Option(help="Not the shipped layout generator.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
SIZE = "Rows x columns of the layouts."


def _as_png(path: Path) -> Path:
    """Other formats lose class numbers."""
    if path.suffix.lower() != ".png":
        raise typer.BadParameter(f"expected a name that ends in .png; got {path}")
    return path


@app.command()
def layout(
    palette: Annotated[str, typer.Option(help="Shares of classes, as road=0.4,car=0.1.")] = "",
    out: Folder = Path("out/layouts"),
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 4,
    size: Annotated[str, typer.Option(help=SIZE)] = "64x128",
    image: Annotated[bool, typer.Option(help="Paint them, too.")] = True,
    weights: Weights = None,
    seed: Seed = 0,
) -> None:
    """Make layouts with the asked shares of classes; the other classes share the rest.

    Writes NNNN_label.png (class of every pixel), NNNN_colour.png and NNNN_image.png, and prints
    asked and achieved shares. Without --palette, palettes are drawn as in rendered streets.

    \b
    Examples:
      ros_xai generate layout --palette "road=0.4,car=0.1,sky=0.2"
      ros_xai generate layout --count 16 --size 128x256
    """
    with mendable():
        generator = LayoutGenerator.load(weights)
        rng = np.random.default_rng(seed)
        if palette:
            asked = parse_palette(palette)
            palettes = np.stack(
                [generator.palettes.completed(asked, generator.names, rng) for _ in range(count)]
            )
        else:
            palettes = generator.palettes.sample(count, rng)
        labels = generator.generate(palettes, seed, _size(size))
        painter = ImageGenerator.load() if image else None
        out.mkdir(parents=True, exist_ok=True)
        for i, label in enumerate(labels):
            write_png(out / f"{i:04d}_label.png", label)
            write_png(out / f"{i:04d}_colour.png", coloured(label))
            if painter:
                write_png(out / f"{i:04d}_image.png", painter.paint(label, rng))
        _show(generator.names, palettes, proportions_of(labels, len(generator.names)))
    typer.echo(f"{len(labels)} layouts in {out}")


@app.command()
def edit(
    label: Annotated[Path, typer.Argument(help="Layout: PNG of class numbers.", exists=True)],
    box: Annotated[str, typer.Option(help="left,top,right,bottom in pixels.")],
    palette: Annotated[str, typer.Option(help="Shares inside the box, as car=0.5,road=0.5.")],
    out: Annotated[Path, typer.Option(callback=_as_png, help="The edited layout, a PNG.")] = Path(
        "out/edited.png"
    ),
    weights: Weights = None,
    seed: Seed = 0,
) -> None:
    """Make a box of a layout anew, in shares of its own; pixels outside it stay as they are.

    Shares that are not asked for follow those the box has now. Writes OUT and OUT with _colour.

    \b
    Example:
      ros_xai generate edit out/layouts/0000_label.png --box 40,30,100,60 --palette car=0.6
    """
    with mendable():
        generator = LayoutGenerator.load(weights)
        before = read_label(label, len(generator.names))
        left, top, right, bottom = _box(box)
        inside = before[max(top, 0) : bottom, max(left, 0) : right]
        asked = parse_palette(palette)
        wanted = _with_present(asked, inside, generator)
        after = generator.edit(before, (left, top, right, bottom), wanted, seed)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_png(out, after)
        write_png(out.with_stem(out.stem + "_colour"), coloured(after))
        achieved = proportions_of(after[None, top:bottom, left:right], len(generator.names))
        _show(generator.names, wanted[None], achieved)
    typer.echo(f"{out}: {int((after != before).sum())} pixels changed, all inside the box")


@app.command()
def pairs(
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 200,
    out: Folder = Path("out/pairs"),
    styles: Annotated[
        Path | None,
        typer.Option(help="Labelled folder (image/, label/) whose styles are used, of CamVid's."),
    ] = None,
    weights: Weights = None,
    image_weights: Annotated[Path | None, typer.Option(help="Not the shipped one.")] = None,
    seed: Seed = 0,
) -> None:
    """Write layout-image pairs that `ros_xai train segmentation --source OUT` takes.

    OUT/image/NNNNN.png, OUT/label/NNNNN.png and OUT/classes.yaml. With --styles, each image wears
    the styles of one image of that folder, else of one of the rendered images that ship.

    \b
    Example:
      ros_xai generate pairs --count 500 --out out/pairs
      ros_xai train segmentation --source my/data --source out/pairs
    """
    with mendable():
        generator, painter = LayoutGenerator.load(weights), ImageGenerator.load(image_weights)
        if styles:
            painter = ImageGenerator(painter.network, bank_of(painter, styles), painter.names)
        rng = np.random.default_rng(seed)
        labels = generator.generate(generator.palettes.sample(count, rng), seed, painter.size)
        for name in ("image", "label"):
            (out / name).mkdir(parents=True, exist_ok=True)
        for i, label in enumerate(labels):
            write_png(out / "label" / f"{i:05d}.png", label)
            write_png(out / "image" / f"{i:05d}.png", painter.paint(label, rng))
        entries = [{"name": n, "color": list(c)} for n, c in zip(CAMVID.names, CAMVID.colors)]
        (out / "classes.yaml").write_text(yaml.safe_dump({"classes": entries}, sort_keys=False))
    typer.echo(f"{count} pairs in {out}: ros_xai train segmentation --source {out}")


@app.command()
def train(
    name: Annotated[
        Literal["layout", "image", "decisions", "refine", "rebuilt"],
        typer.Argument(help="Which one."),
    ],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder of weights and card.")] = Path(
        "out/generate"
    ),
    steps: Annotated[float, typer.Option(min=0.001, help="Share of the recipe's steps.")] = 1.0,
    seed: Seed = 0,
) -> None:
    """Train a network that ships: layout, image, decisions ("may move on" and its oracle), refine
    (goes on with image in --out, told by the decisions there), rebuilt (the decisions anew, also on
    what the image generator in --out, or the shipped one, rebuilds). Goes on where it was stopped.

    \b
    Example:
      ros_xai generate train layout
    Several processes:
      torchrun --nproc-per-node 2 --no-python ros_xai generate train layout
    """
    from ros_xai.training.distributed import process_group
    from ros_xai.training.generation_ship import SHIPPED, write

    with mendable(), process_group() as process:
        trained = SHIPPED[name](out, seed, steps, process)
        if process.is_first:
            typer.echo(f"{write(trained)} written")


def bank_of(painter: ImageGenerator, folder: Path) -> StyleBank:
    """The styles of a labelled folder's images; DataError unless its classes are the painter's."""
    import torch

    classes = None if (folder / "classes.yaml").is_file() else CAMVID
    samples = LabelledFolder(folder, classes)
    if samples.classes.names != painter.names:
        raise DataError(f"{folder}: expected the classes {', '.join(painter.names)}")
    codes, present = [], []
    for sample in samples:
        codes.append(painter.encode(sample.image, sample.label))
        layout = painter.layout(painter.fit(sample.image, sample.label)[1])
        present.append(layout.sum(dim=(0, 2, 3)) > 0)
    return StyleBank(torch.stack(codes), torch.stack(present))


def coloured(label: NDArray[np.uint8], classes: Classes = CAMVID) -> NDArray[np.uint8]:
    """A label [H, W] in its classes' colours [H, W, 3] rgb, black where it has none."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(classes)] = classes.colors
    return table[label]


def _with_present(
    asked: dict[str, float], inside: NDArray[np.uint8], generator: LayoutGenerator
) -> NDArray[np.float64]:
    """The asked shares, and for the rest the classes that the box has now."""
    names = list(generator.names)
    drawn = generator.palettes.completed(asked, names, np.random.default_rng(0))
    palette = drawn
    if inside.size and sum(asked.values()) < 1:
        rest = proportions_of(inside[None], len(names))[0]
        rest[[names.index(name) for name in asked]] = 0
        if rest.sum() > 0:
            palette = rest / rest.sum() * (1 - sum(asked.values()))
            for name, share in asked.items():
                palette[names.index(name)] = share
    return palette


def _size(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) and int(columns)):
        raise PaletteError(f"--size {text}: expected ROWSxCOLUMNS, as 64x128")
    return int(rows), int(columns)


def _box(text: str) -> tuple[int, int, int, int]:
    try:
        left, top, right, bottom = (int(v) for v in text.split(","))
    except ValueError:
        raise PaletteError(f"--box {text}: expected left,top,right,bottom in pixels") from None
    return left, top, right, bottom


def _show(names: tuple[str, ...], asked: NDArray[np.float64], got: NDArray[np.float64]) -> None:
    typer.echo(f"{'':>12}  asked  achieved")
    for k, name in enumerate(names):
        if asked[:, k].any() or got[:, k].any():
            typer.echo(f"{name:>12}  {asked[:, k].mean():.3f}  {got[:, k].mean():.3f}")
    typer.echo(f"{'mean error':>12}  {np.abs(asked - got).mean():.4f}")
