"""Images with class labels, and images alone: folders, CamVid, world data sets, frames of a bag.

Labelled data are sequences of `Sample`. Unlabelled data (the targets of an adaptation) are
sequences of bare images, so that no label can reach a training step by accident.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

Image = NDArray[np.uint8]
IGNORE = 255  # label of a pixel without a class
EXTENSIONS = (".jpg", ".jpeg", ".png")


class DataError(ValueError):
    """Data that cannot be used, with what was wrong and what was expected."""


@dataclass(frozen=True)
class Sample:
    """image: uint8 [H, W, 3] rgb; label: uint8 [H, W], class or IGNORE; name: for messages."""

    image: Image
    label: Image
    name: str


@dataclass(frozen=True)
class Classes:
    """Names, colours (rgb) and the values in label PNGs that mean each class or nothing."""

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    values: tuple[tuple[int, ...], ...]
    ignored: tuple[int, ...] = (IGNORE,)

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, raw: Image, where: str) -> Image:
        """Class indices of a raw label image; DataError names a value that has no meaning."""
        table = np.full(256, -1, dtype=np.int16)
        table[list(self.ignored)] = IGNORE
        for index, values in enumerate(self.values):
            table[list(values)] = index
        label = table[raw]
        if (label < 0).any():
            unknown = int(raw[label < 0][0])
            raise DataError(f"{where}: value {unknown} belongs to no class and is not ignored")
        return label.astype(np.uint8)

    @classmethod
    def from_yaml(cls, path: Path) -> Classes:
        """Read `classes: [{name, color: [r, g, b], values: [..]}, ..]` and `ignore: [..]`.

        `values` defaults to the entry's position, `ignore` to 255.
        """
        try:
            document = yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is not YAML: {error}") from error
        try:
            entries = document["classes"]
            names = tuple(str(entry["name"]) for entry in entries)
            colors = tuple(_color(entry["color"]) for entry in entries)
            if not names:
                raise ValueError("an empty one")
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}: expected `classes:` as a list of {{name, color: [r, g, b]}}; got {error}"
            ) from error
        values = tuple(
            _values(entry.get("values", [i]), f"{path}: `values:` of {entry['name']}")
            for i, entry in enumerate(entries)
        )
        ignored = _values(document.get("ignore", [IGNORE]), f"{path}: `ignore:`")
        return cls(names, colors, values, ignored)


def _color(value: Any) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in value)
    return red, green, blue


def _values(found: Any, where: str) -> tuple[int, ...]:
    if not isinstance(found, list) or not all(
        isinstance(v, int) and v in range(256) for v in found
    ):
        raise DataError(f"{where}: expected a list of label values from 0 to 255; got {found}")
    return tuple(found)


_CAMVID_COLORS = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
CAMVID = Classes(
    names=tuple(_CAMVID_COLORS),
    colors=tuple(_CAMVID_COLORS.values()),
    values=tuple((i,) for i in range(len(_CAMVID_COLORS))),
    ignored=(11, IGNORE),
)


class LabelledFolder(Sequence[Sample]):
    """`image/NAME.jpg|png` with `label/NAME.png` (uint8, one channel).

    Without `classes`, `classes.yaml` in the folder or beside it says what the values mean.
    `prefixes` keeps the files whose names begin with one of them (CamVid: its sequences).

    Raises:
        DataError: no folder, no image, an image without label, no description of the classes.
    """

    def __init__(
        self, folder: Path | str, classes: Classes | None = None, prefixes: tuple[str, ...] = ("",)
    ) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(f"there is no folder {folder}; expected one with image/ and label/")
        self.classes = classes or _classes_of(self.folder)
        self.images = [p for p in image_files(self.folder / "image") if p.name.startswith(prefixes)]
        if not self.images:
            raise DataError(f"no image in {self.folder / 'image'} begins with one of {prefixes}")
        missing = [p.stem for p in self.images if not self._label_file(p).is_file()]
        if missing:
            raise DataError(f"{len(missing)} images have no label; expected label/{missing[0]}.png")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        path = self.images[index]
        raw = cv2.imread(str(self._label_file(path)), cv2.IMREAD_UNCHANGED)
        image = read_image(path)
        if raw is None or raw.dtype != np.uint8 or raw.shape != image.shape[:2]:
            found = "nothing" if raw is None else f"{raw.dtype} {list(raw.shape)}"
            raise DataError(
                f"label/{path.stem}.png: expected uint8 {list(image.shape[:2])}; got {found}"
            )
        return Sample(image, self.classes.encode(raw, f"label/{path.stem}.png"), path.stem)

    def _label_file(self, image: Path) -> Path:
        return self.folder / "label" / f"{image.stem}.png"


class ImageFolder(Sequence[Image]):
    """All images of a folder, unlabelled: uint8 [H, W, 3] rgb."""

    def __init__(self, folder: Path | str) -> None:
        self.images = image_files(Path(folder))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Image:  # type: ignore[override]
        return read_image(self.images[index])


class WorldSequences(Sequence[Sample]):
    """Frames of a data set of the world: `sequence_NNNN.npz` with `image` and `label`.

    `files` limits it to some sequences, so that training and test share no street.
    """

    classes = CAMVID

    def __init__(self, folder: Path | str, files: slice = slice(None)) -> None:
        self.files = sorted(Path(folder).glob("sequence_*.npz"))[files]
        if not self.files:
            raise DataError(f"no sequence_*.npz in {folder}; write them by `ros_xai world dataset`")
        self.frames: list[tuple[int, int]] = []
        for i, path in enumerate(self.files):
            with np.load(path) as arrays:
                self.frames += [(i, j) for j in range(len(arrays["time"]))]
        self._open: tuple[int, Image, Image] | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        file, frame = self.frames[index]
        # Reading one array of an .npz decodes all its frames: keep those of the last file.
        if self._open is None or self._open[0] != file:
            with np.load(self.files[file]) as arrays:
                self._open = (file, arrays["image"], arrays["label"])
        _, images, labels = self._open
        return Sample(images[frame], labels[frame], f"{self.files[file].stem}[{frame}]")


class WithoutLabels(Sequence[Image]):
    """The images of labelled samples, and nothing else."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Image:  # type: ignore[override]
        return self._samples[index].image


def bag_images(bag: Path | str, topic: str = "/camera/image", every: int = 1) -> list[Image]:
    """Every n-th image of a topic of a bag (Image or CompressedImage), as unlabelled target.

    Raises:
        DataError: no bag with whole colour images on that topic; those with images are named.
    """
    from rosbags.highlevel import AnyReaderError
    from rosbags.image import ImageError

    try:
        images = _bag_images(bag, topic, every)
    # TypeError and AssertionError are what rosbags has for pixels that are cut off.
    except (AnyReaderError, ImageError, TypeError, AssertionError) as error:
        reason = str(error) or "one is damaged"
        raise DataError(f"{bag}: cannot read the images of {topic}: {reason}") from error
    if not images:
        raise DataError(f"{bag}: cannot read the images of {topic}: it has no message there")
    return images


def _bag_images(bag: Path | str, topic: str, every: int) -> list[Image]:
    from rosbags.highlevel import AnyReader
    from rosbags.image import message_to_cvimage
    from rosbags.typesys import Stores, get_typestore

    with AnyReader([Path(bag)], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        cameras = [
            c for c in reader.connections if c.msgtype.endswith(("/Image", "/CompressedImage"))
        ]
        chosen = [c for c in cameras if c.topic == topic]
        if not chosen:
            known = ", ".join(sorted({c.topic for c in cameras})) or "none"
            raise DataError(f"{bag} has no images on {topic}; topics with images: {known}")
        return [
            np.asarray(message_to_cvimage(reader.deserialize(data, connection.msgtype), "rgb8"))
            for i, (connection, _, data) in enumerate(reader.messages(chosen))
            if i % every == 0
        ]


def image_files(folder: Path) -> list[Path]:
    """Images of a folder by name; DataError when there is none."""
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in EXTENSIONS)
    if not found:
        raise DataError(f"no image ({', '.join(EXTENSIONS)}) in {folder}")
    return found


def read_image(path: Path) -> Image:
    """An image file as uint8 [H, W, 3] rgb."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"cannot decode {path} as an image")
    return np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)


def resized(images: Iterable[Image], height: int, width: int) -> Image:
    """Images averaged down to one size: uint8 [N, H, W, 3]."""
    size = (width, height)
    return np.stack([cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in images])


def resized_samples(samples: Iterable[Sample], height: int, width: int) -> tuple[Image, Image]:
    """Samples at one size: images uint8 [N, H, W, 3], labels uint8 [N, H, W] (nearest)."""
    size = (width, height)
    images, labels = [], []
    for sample in samples:
        images.append(cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA))
        labels.append(cv2.resize(sample.label, size, interpolation=cv2.INTER_NEAREST_EXACT))
    return np.stack(images), np.stack(labels)


def _classes_of(folder: Path) -> Classes:
    for path in (folder / "classes.yaml", folder.parent / "classes.yaml"):
        if path.is_file():
            return Classes.from_yaml(path)
    raise DataError(
        f"no classes.yaml in {folder} or beside it: it names the classes and their values"
    )
