"""The one error of messages that cannot be used."""

from __future__ import annotations

from typing import Literal

Reason = Literal[
    "truncated_cdr",
    "encoding",
    "empty_image",
    "bad_step",
    "truncated_data",
    "compressed_data",
    "bad_field",
    "camera_info",
    "bad_transform",
    "bad_map",
    "frame",
    "stamp",
    "no_tracks",
]


class MessageError(ValueError):
    """A message that cannot be used.

    `reason` is short and stable: the key under which a node counts the drop. The text says what was
    wrong, what was expected and what to do.
    """

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(reason, text)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])
