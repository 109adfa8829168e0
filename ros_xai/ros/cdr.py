"""Serialised messages (CDR) to messages."""

from __future__ import annotations

from typing import Any, TypeVar

from rclpy.serialization import deserialize_message

from ros_xai.ros.errors import MessageError

Message = TypeVar("Message")


def decode(data: bytes, message_type: type[Message]) -> Message:
    """The message of a raw subscription's or a bag's bytes.

    Cut-off, empty and foreign bytes make Fast CDR raise, after no more memory than a small multiple
    of their own size: it holds every sequence length against the bytes that remain.

    Raises:
        MessageError: `truncated_cdr`, the bytes are not a whole message of this type.
    """
    try:
        message: Any = deserialize_message(data, message_type)
    # RMWError is private to rclpy and derives from RuntimeError.
    except RuntimeError as error:
        raise MessageError(
            "truncated_cdr",
            f"expected a whole {message_type.__name__} in CDR; got {len(data)} bytes that are none",
        ) from error
    decoded: Message = message
    return decoded
