"""`ros_xai explain --method steex`: what it cannot use is one line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from ros_xai.cli.explain import explain
from ros_xai.explanation.steex_decision import SHIPPED

HEIGHT, WIDTH = 64, 128

app = typer.Typer()
app.command()(explain)


@pytest.fixture
def street(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "street.png"), pixels)
    return tmp_path / "street.png"


def run(street: Path, *arguments: object) -> tuple[Result, str]:
    """The result, and its output without line breaks and frames."""
    asked = (street, "--method", "steex", "--out", street.parent / "out", *arguments)
    answer = CliRunner().invoke(app, [str(each) for each in asked])
    assert not (street.parent / "out").exists()
    return answer, " ".join(answer.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("label", "code", "says"),
    [
        (np.full((HEIGHT, WIDTH), 50), 1, "value 50 is no class"),
        (np.zeros((HEIGHT, WIDTH, 3)), 1, "one channel of class numbers"),
        (np.zeros((HEIGHT, WIDTH // 2)), 2, "expected the image's 64 x 128"),
        (np.full((HEIGHT, WIDTH), 255), 1, "no pixel of the label has a class"),
    ],
)
def test_labels_that_are_none_are_refused(
    street: Path, label: np.ndarray, code: int, says: str
) -> None:
    path = street.with_name("label.png")
    cv2.imwrite(str(path), label.astype(np.uint8))
    answer, output = run(street, "--label", path)
    assert answer.exit_code == code and says in output


def test_missing_weights_say_what_makes_them(street: Path) -> None:
    answer, output = run(street, "--weights", street.with_name("none.safetensors"))
    assert answer.exit_code == 1
    assert "none.safetensors: not there" in output and "generate train decisions" in output


@pytest.mark.parametrize("card", ["\n", "[]", "{}", '{"network": {"decision": {"width": [1]}}}'])
def test_weights_with_a_card_of_something_else_are_named(street: Path, card: str) -> None:
    path = street.with_name("mine.safetensors")
    path.write_bytes(SHIPPED.read_bytes())
    path.with_suffix(".json").write_text(card)
    answer, output = run(street, "--weights", path)
    assert answer.exit_code == 1
    assert "mine.safetensors: expected weights of a decision and its oracle" in output
