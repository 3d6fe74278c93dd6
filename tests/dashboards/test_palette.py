"""The palette can be told apart by people with each of the common colour blindnesses."""

import itertools
import math
import re
from pathlib import Path

import pytest

from apps.dashboards.colours import PALETTE_SIZE

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]
TOKENS = Path(__file__).resolve().parents[2] / "static" / "css" / "tokens.css"
LIGHT_PANEL, DARK_PANEL = "#ffffff", "#191c20"

# Machado, Oliveira and Fernandes (2009), full severity, on linear RGB.
SIGHTS: dict[str, Matrix] = {
    "usual": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
}
# Ottosson's OKLab.
TO_LMS: Matrix = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
TO_LAB: Matrix = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def times(matrix: Matrix, vector: Vector) -> Vector:
    a, b, c = (sum(m * v for m, v in zip(row, vector, strict=True)) for row in matrix)
    return a, b, c


def linear(colour: str) -> Vector:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    a, b, c = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return a, b, c


def seen(colour: str, sight: str) -> Vector:
    a, b, c = (min(max(v, 0.0), 1.0) for v in times(SIGHTS[sight], linear(colour)))
    x, y, z = (v ** (1 / 3) for v in times(TO_LMS, (a, b, c)))
    return times(TO_LAB, (x, y, z))


def least_distance(colours: list[str], sight: str) -> float:
    points = [seen(colour, sight) for colour in colours]
    return min(100 * math.dist(one, other) for one, other in itertools.combinations(points, 2))


def contrast(one: str, other: str) -> float:
    weights = (0.2126, 0.7152, 0.0722)
    low, high = sorted(
        sum(w * v for w, v in zip(weights, linear(colour), strict=True)) for colour in (one, other)
    )
    return float((high + 0.05) / (low + 0.05))


@pytest.fixture(scope="module")
def palette() -> list[str]:
    found = dict(re.findall(r"--series-(\d): (#[0-9a-f]{6});", TOKENS.read_text()))
    return [found[str(n)] for n in range(PALETTE_SIZE)]


@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_stay_apart(palette: list[str], sight: str) -> None:
    assert least_distance(palette[:6], sight) >= 11.5
    assert least_distance(palette, sight) >= 8.5


@pytest.mark.parametrize("panel", [LIGHT_PANEL, DARK_PANEL])
def test_every_colour_stands_out_from_the_panel(palette: list[str], panel: str) -> None:
    assert min(contrast(colour, panel) for colour in palette) >= 2.1


@pytest.mark.parametrize("ink", ["ink", "ink-2", "ink-3", "accent", "good", "bad", "warn"])
@pytest.mark.parametrize("ground", ["panel", "bg"])
def test_text_meets_wcag_aa_in_both_themes(ink: str, ground: str) -> None:
    tokens = dict(re.findall(r"--([a-z0-9-]+): light-dark\((.+?)\);", TOKENS.read_text()))
    for dark in (0, 1):
        front, back = (tokens[name].split(", ")[dark] for name in (ink, ground))
        assert contrast(front, back) >= 4.5, (ink, ground, "dark" if dark else "light")
