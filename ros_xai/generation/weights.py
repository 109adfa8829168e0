"""What a pair of weights and card holds, or which pair it is that does not fit."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ros_xai.core.config import ConfigError


@contextmanager
def reading(path: Path, name: str) -> Iterator[None]:
    """While NAME.safetensors and its card are read into the generator of `name`.

    Raises FileNotFoundError when a file is missing, ConfigError for files of something else.
    """
    for file in (path, path.with_suffix(".json")):
        if not file.is_file():
            raise FileNotFoundError(f"{file}: not there; `ros_xai generate train {name}` makes one")
    try:
        yield
    except (LookupError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        got = textwrap.shorten(f"{type(error).__name__}: {error}", 300)
        raise ConfigError(
            f"{path}: expected weights of the {name} generator with their card; got {got}"
        ) from error
