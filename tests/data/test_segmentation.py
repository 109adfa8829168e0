"""Folders, world data sets, bags: what is read is what was written, errors say what to do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ros_xai.data import segmentation as data
from ros_xai.world.bag_writer import BagWriter

YAML = """
ignore: [0]
classes:
  - {name: ground, color: [1, 2, 3], values: [7, 8]}
  - {name: rest, color: [4, 5, 6]}
"""


def write_pair(folder: Path, name: str, label: np.ndarray, image: np.ndarray | None = None) -> None:
    for part in ("image", "label"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    image = np.zeros((*label.shape, 3), np.uint8) if image is None else image
    cv2.imwrite(str(folder / "image" / f"{name}.png"), image[..., ::-1])
    cv2.imwrite(str(folder / "label" / f"{name}.png"), label)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "classes.yaml").write_text(YAML)
    label = np.array([[7, 8, 1], [0, 1, 7]], np.uint8)
    write_pair(tmp_path / "train", "a_1", label, rng.integers(0, 255, (2, 3, 3), dtype=np.uint8))
    write_pair(tmp_path / "train", "b_1", label[::-1])
    return tmp_path / "train"


def test_a_folder_with_a_yaml_of_classes_is_a_data_set(folder):
    samples = data.LabelledFolder(folder)
    assert samples.classes.names == ("ground", "rest")
    assert [s.name for s in samples] == ["a_1", "b_1"]
    assert samples[0].label.tolist() == [[0, 0, 1], [255, 1, 0]]
    expected = np.random.default_rng(0).integers(0, 255, (2, 3, 3), dtype=np.uint8)
    np.testing.assert_array_equal(samples[0].image, expected)
    assert [s.name for s in data.LabelledFolder(folder, prefixes=("b",))] == ["b_1"]


def test_a_label_value_without_meaning_is_named(folder):
    write_pair(folder, "c", np.array([[42]], np.uint8))
    with pytest.raises(data.DataError, match=r"label/c.png: value 42 belongs to no class"):
        data.LabelledFolder(folder)[2]


def test_a_missing_or_misshapen_label_is_named(folder):
    cv2.imwrite(str(folder / "label" / "b_1.png"), np.zeros((5, 5), np.uint8))
    with pytest.raises(
        data.DataError, match=r"b_1.png: expected uint8 \[2, 3\]; got uint8 \[5, 5\]"
    ):
        data.LabelledFolder(folder)[1]
    (folder / "label" / "b_1.png").unlink()
    with pytest.raises(data.DataError, match=r"1 images have no label; expected label/b_1.png"):
        data.LabelledFolder(folder)


def test_errors_of_folders_say_what_was_expected(tmp_path):
    with pytest.raises(data.DataError, match=r"no classes.yaml"):
        data.LabelledFolder(tmp_path)
    (tmp_path / "classes.yaml").write_text("classes: [{name: road}]")
    with pytest.raises(data.DataError, match=r"expected `classes:` as a list .* got 'color'"):
        data.LabelledFolder(tmp_path)
    with pytest.raises(data.DataError, match=f"there is no folder {tmp_path / 'nowhere'}"):
        data.LabelledFolder(tmp_path / "nowhere")
    with pytest.raises(data.DataError, match="no image"):
        data.ImageFolder(tmp_path)
    with pytest.raises(data.DataError, match="ros_xai world dataset"):
        data.WorldSequences(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ignore: 255", "`ignore:`: expected a list of label values from 0 to 255; got 255"),
        ("ignore: [256]", r"`ignore:`: .* got \[256\]"),
        ("ignore: [1.0]", r"`ignore:`: .* got \[1.0\]"),
        ("classes: [{name: road, color: [1, 2, 3], values: 7}]", "`values:` of road: .* got 7"),
        ("classes: []", "expected `classes:` as a list .* got an empty one"),
        ("ignore: [0", "is not YAML"),
    ],
)
def test_classes_that_cannot_be_read_are_named_with_their_file(tmp_path, line, message):
    path = tmp_path / "classes.yaml"
    path.write_text(f"classes: [{{name: road, color: [1, 2, 3]}}]\n{line}\n")
    with pytest.raises(data.DataError, match=rf"{path}.*{message}"):
        data.Classes.from_yaml(path)


def test_unlabelled_data_are_images_only(folder):
    for images in (
        data.ImageFolder(folder / "image"),
        data.WithoutLabels(data.LabelledFolder(folder)),
    ):
        assert [type(image) for image in images] == [np.ndarray] * 2
        assert images[0].shape == (2, 3, 3)


def test_world_sequences_are_read_frame_by_frame(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (5, 4, 6, 3), dtype=np.uint8)
    labels = rng.integers(0, 11, (5, 4, 6), dtype=np.uint8)
    for i, part in enumerate((slice(0, 3), slice(3, 5))):
        np.savez(
            tmp_path / f"sequence_{i:04d}.npz",
            image=images[part],
            label=labels[part],
            time=np.arange(5)[part],
        )
    samples = data.WorldSequences(tmp_path)
    assert len(samples) == 5
    for i in (4, 0, 3):
        np.testing.assert_array_equal(samples[i].image, images[i])
        np.testing.assert_array_equal(samples[i].label, labels[i])
    assert len(data.WorldSequences(tmp_path, slice(1, None))) == 2


def test_frames_of_a_bag_are_unlabelled_images(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    path = tmp_path / "drive.mcap"
    with BagWriter(path) as bag:
        for i in range(4):
            encoding, array = ("rgb8", rgb) if i % 2 else ("bgr8", rgb[..., ::-1].copy())
            bag.image("/camera/image", i * 10**8, "camera_optical", array, encoding)
    images = data.bag_images(path)
    assert len(images) == 4
    for image in images:
        np.testing.assert_array_equal(image, rgb)
    assert len(data.bag_images(path, every=3)) == 2
    with pytest.raises(data.DataError, match="topics with images: /camera/image"):
        data.bag_images(path, "/front/image")


def test_bags_and_images_that_are_damaged_are_refused(tmp_path):
    paths = [tmp_path / f"{name}.mcap" for name in ("junk", "depth", "jpeg")]
    paths[0].write_text("junk")
    with BagWriter(paths[1]) as bag:
        bag.image("/camera/image", 0, "camera_optical", np.ones((4, 6), np.float32), "32FC1")
    with BagWriter(paths[2]) as bag:
        bag.compressed("/camera/image", 0, "camera_optical", b"no jpeg", "jpeg")
    for path in paths:
        with pytest.raises(data.DataError, match="cannot read the images of /camera/image"):
            data.bag_images(path)


def test_resizing_keeps_labels_as_classes(folder):
    images, labels = data.resized_samples(data.LabelledFolder(folder), 4, 6)
    assert images.shape == (2, 4, 6, 3)
    np.testing.assert_array_equal(labels[0][::2, ::2], data.LabelledFolder(folder)[0].label)
    np.testing.assert_array_equal(data.resized([np.full((8, 8, 3), 9, np.uint8)], 2, 3), 9)


def test_camvid_of_the_data_folder_has_its_counts_and_classes(data_dir):
    train = data.LabelledFolder(data_dir / "camvid" / "train", data.CAMVID)
    assert len(train) == 367
    dusk = data.LabelledFolder(data_dir / "camvid" / "train", data.CAMVID, prefixes=("0001TP",))
    assert len(dusk) == 62
    _, labels = data.resized_samples((dusk[i] for i in range(0, 62, 8)), 60, 80)
    counts = np.bincount(labels.ravel(), minlength=256)
    fence = data.CAMVID.names.index("fence")  # there is none at dusk
    assert np.flatnonzero(counts[:255]).tolist() == [c for c in range(11) if c != fence]
    assert counts[data.CAMVID.names.index("road")] > 0.15 * labels.size
