"""`road`: cars and people in front of a car, in rendered scenes."""

import numpy as np
import torch
from torch import nn

from .recipe import Part, Recipe

HEIGHT = 48
WIDTH = 96
CELL = 8  # pixels of one cell of the output
KINDS = ("car", "person")
SIZES = ((1.8, 1.5), (0.5, 1.75))  # width and height in metres
FOCAL = 100.0  # pixels
CAMERA = 1.4  # metres above the road
NEAREST = 4.0
FARTHEST = 20.0


def scene(random: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, float, float, float, float, float]]]:
    """uint8 (3, HEIGHT, WIDTH), and the objects: kind, centre x and y, width, height in pixels, distance in metres."""
    horizon = random.uniform(14, 20)
    light = random.uniform(0.5, 1.0)
    rows = np.arange(HEIGHT)[:, None] + 0.5
    columns = np.arange(WIDTH)[None, :] + 0.5
    picture = np.empty((HEIGHT, WIDTH, 3))
    picture[:] = np.array([0.45, 0.6, 0.85]) * random.uniform(0.7, 1.1)
    below = np.broadcast_to(rows > horizon, (HEIGHT, WIDTH))
    picture[below] = np.array([0.25, 0.4, 0.2]) * random.uniform(0.6, 1.3)
    vanishing = WIDTH / 2 + random.uniform(-10, 10)
    depth = FOCAL * CAMERA / np.maximum(rows - horizon, 0.5)  # of the road at each row, in metres
    across = (columns - vanishing) * depth / FOCAL  # metres from the road's middle
    picture[below & (np.abs(across) < 5)] = np.full(3, random.uniform(0.25, 0.45))
    dashes = (np.abs(across) < 0.15) & ((depth + random.uniform(0, 6)) % 6 < 3)
    picture[below & (dashes | (np.abs(np.abs(across) - 3.6) < 0.15))] = 0.85
    objects = []
    for distance in sorted(random.uniform(NEAREST, FARTHEST, random.integers(0, 4)), reverse=True):
        kind = int(random.random() < 0.4)
        width, height = (size * FOCAL / distance * random.uniform(0.9, 1.1) for size in SIZES[kind])
        bottom = horizon + FOCAL * CAMERA / distance
        centre = vanishing + random.uniform(-4, 4) * FOCAL / distance
        middle = bottom - height / 2
        if not (4 < centre < WIDTH - 4 and 2 < middle < HEIGHT - 2):
            continue
        _draw(picture, kind, centre, bottom, width, height, random)
        objects.append((kind, centre, middle, width, height, float(distance)))
    picture = picture * light + random.normal(0, 0.02, picture.shape)
    return np.clip(picture * 255, 0, 255).astype(np.uint8).transpose(2, 0, 1), objects


def _draw(
    picture: np.ndarray,
    kind: int,
    centre: float,
    bottom: float,
    width: float,
    height: float,
    random: np.random.Generator,
) -> None:
    def box(left: float, right: float, upper: float, lower: float, color: np.ndarray) -> None:
        y0, y1 = (max(0, round(bottom - height * share)) for share in (upper, lower))
        x0, x1 = (max(0, round(centre + width * share)) for share in (left, right))
        picture[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = color

    paint = random.uniform(0.1, 1, 3)
    if kind == 0:
        box(-0.5, 0.5, 0.65, 0.1, paint)
        box(-0.4, 0.4, 1.0, 0.6, paint * 0.8)
        box(-0.33, 0.33, 0.93, 0.65, np.array([0.15, 0.2, 0.25]))  # the window
        box(-0.48, -0.3, 0.15, 0, np.full(3, 0.05))
        box(0.3, 0.48, 0.15, 0, np.full(3, 0.05))
        box(-0.48, -0.36, 0.5, 0.4, np.array([0.8, 0.1, 0.1]))
        box(0.36, 0.48, 0.5, 0.4, np.array([0.8, 0.1, 0.1]))
    else:
        box(-0.4, -0.05, 0.5, 0, paint * 0.5)
        box(0.05, 0.4, 0.5, 0, paint * 0.4)
        box(-0.5, 0.5, 0.85, 0.45, paint)
        box(-0.25, 0.25, 1, 0.85, np.array([0.8, 0.6, 0.5]))


def target(objects: list[tuple[int, float, float, float, float, float]]) -> np.ndarray:
    """float32 (6, HEIGHT / CELL, WIDTH / CELL): for the cell of each centre its kind, place in the cell, and logs of
    width and height in cells."""
    made = np.zeros((6, HEIGHT // CELL, WIDTH // CELL), np.float32)
    for kind, x, y, width, height, _ in objects:
        row = int(y // CELL)
        column = int(x // CELL)
        made[:2, row, column] = 0
        made[kind, row, column] = 1
        made[2:, row, column] = (x / CELL - column, y / CELL - row, np.log(width / CELL), np.log(height / CELL))
    return made


def scenes(count: int, seed: int) -> Part:
    random = np.random.default_rng(seed)
    made = [scene(random) for _ in range(count)]
    return (
        np.stack([picture for picture, _ in made]).astype(np.float32) / 255,
        np.stack([target(objects) for _, objects in made]),
    )


def loss(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Kinds in all cells, boxes where there is an object."""
    kinds = nn.functional.binary_cross_entropy_with_logits(made[:, :2], wanted[:, :2], pos_weight=torch.tensor(8.0))
    there = wanted[:, :2].sum(1, keepdim=True)
    boxes = (
        nn.functional.smooth_l1_loss(made[:, 2:], wanted[:, 2:], reduction="none") * there
    ).sum() / there.sum().clamp(min=1)
    return kinds * 10 + boxes


def recipe() -> Recipe:
    def layer(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ReLU()]

    module = nn.Sequential(
        *layer(3, 8, 2), *layer(8, 16, 2), *layer(16, 32, 2), *layer(32, 32, 1), *layer(32, 32, 1), nn.Conv2d(32, 6, 1)
    )
    test = scenes(200, 3)
    return Recipe(
        name="road",
        title="cars and people on the road",
        field="driving",
        task="detection: boxes of cars and people",
        data="scenes rendered by the script, with the boxes it drew",
        licence="data made by the script, weights Apache-2.0",
        synthetic="all pictures are rendered; a camera's look different, and the network was not tried on any",
        input="3 x 48 x 96, red, green and blue 0 to 1",
        output="6 x 6 x 12: logits of car and person, place in the cell, logs of width and height, in cells of 8 "
        "pixels",
        metric="F1 of boxes",
        module=module,
        train=scenes(2000, 1),
        validation=scenes(200, 2),
        test=test,
        loss=loss,
        epochs=14,
        rate=1e-2,
        classes=KINDS,
        baselines={"nothing found": 0.0},
        samples={"inputs": np.rint(test[0][:32] * 255).astype(np.uint8), "labels": test[1][:32]},
    )
