"""Equal bytes are decoded once, and only equal ones."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ros_xai.ros import images
from ros_xai.ros.errors import MessageError
from ros_xai.ros.sharing import SharedDecoding

PIXELS = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)


def serialised(pixels=PIXELS, frame="camera"):
    """CDR whose padding is what the memory held: the same message twice may differ there."""
    return serialize_message(images.to_message(pixels, "bgr8", Header(frame_id=frame)))


def test_equal_bytes_of_two_subscriptions_give_one_message_and_one_conversion():
    shared = SharedDecoding()
    data = serialised()
    first, second = (shared.message(bytes(memoryview(data)), Image, "/image") for _ in range(2))
    assert first is second
    rgb = [shared.converted(message, images.to_rgb) for message in (first, second)]
    assert rgb[0] is rgb[1]
    np.testing.assert_array_equal(rgb[0], PIXELS[..., ::-1])
    assert (shared.made, shared.saved) == (2, 2)


def test_one_pixel_or_the_frame_makes_another_message():
    shared = SharedDecoding()
    other = PIXELS.copy()
    other[-1, -1, -1] ^= 1
    messages = [
        shared.message(data, Image, "/image")
        for data in (serialised(), serialised(other), serialised(frame="lidar"))
    ]
    seen = [images.to_array(message) for message in messages]
    assert [np.array_equal(pixels, PIXELS) for pixels in seen] == [True, False, True]
    assert [message.header.frame_id for message in messages] == ["camera", "camera", "lidar"]
    assert shared.saved == 0


def test_a_shared_image_cannot_be_written_to():
    shared = SharedDecoding()
    rgb = shared.converted(shared.message(serialised(), Image, "/image"), images.to_rgb)
    with pytest.raises(ValueError, match="read-only"):
        rgb[0, 0] = 0


def test_only_the_newest_are_kept():
    shared = SharedDecoding(keep=2)
    frames = [serialised(np.roll(PIXELS, n, axis=0)) for n in range(3)]
    first = [shared.message(data, Image, "/image") for data in frames]
    assert shared.message(frames[2], Image, "/image") is first[2]
    assert shared.message(frames[0], Image, "/image") is not first[0]


def test_a_refusal_is_raised_for_every_node():
    shared = SharedDecoding()
    bayer = Image(height=96, width=128, step=128, encoding="bayer_rggb8", data=bytes(96 * 128 * 2))
    message = shared.message(serialize_message(bayer), Image, "/image")
    for _ in range(2):
        with pytest.raises(MessageError, match="debayer"):
            shared.converted(message, images.to_rgb)
    with pytest.raises(MessageError) as refused:
        shared.message(serialised()[:20_000], Image, "/image")
    assert refused.value.reason == "truncated_cdr"


def test_threads_that_ask_at_once_get_the_same():
    shared, data = SharedDecoding(), serialised()
    with ThreadPoolExecutor(8) as pool:
        messages = list(pool.map(lambda _: shared.message(data, Image, "/i"), range(40)))
    assert len({id(message) for message in messages}) == 1
    assert (shared.made, shared.saved) == (1, 39)
