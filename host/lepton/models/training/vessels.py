"""`vessels`: the blood vessels in a picture of the retina."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from .recipe import Part, Recipe

PATCH = 48
WINDOW = 31  # pixels: the neighbourhood whose mean and deviation are taken out
SCALE = 540 / 1411  # diameter of the field of DRIVE's pictures / that of scikit-image's, in pixels
CROP = 6 * PATCH


class Vessels(nn.Module):
    """Two levels down, two up, with the picture's details carried over: a small U-Net (Ronneberger et al., 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU())
        self.third = nn.Sequential(
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(), nn.ConvTranspose2d(32, 16, 2, stride=2), nn.ReLU()
        )
        self.up = nn.Sequential(
            nn.Conv2d(32, 16, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(16, 8, 2, stride=2), nn.ReLU()
        )
        self.last = nn.Sequential(nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.first(x)
        middle = self.second(fine)
        coarse = self.up(torch.cat([middle, self.third(middle)], 1))
        return self.last(torch.cat([fine, coarse], 1))


def local_contrast(image: np.ndarray) -> np.ndarray:
    """uint8 like the image (height, width): 128 where a pixel is as its neighbourhood, 42 a deviation."""
    mean = _box(image)
    deviation = np.sqrt(np.maximum(_box(image**2) - mean**2, 0)) + 1e-3
    return np.clip(128 + 42 * (image - mean) / deviation, 0, 255).astype(np.uint8)


def _box(image: np.ndarray) -> np.ndarray:
    padded = np.pad(
        image.astype(np.float64), ((WINDOW // 2 + 1, WINDOW // 2), (WINDOW // 2 + 1, WINDOW // 2)), "reflect"
    )
    sums = padded.cumsum(0).cumsum(1)
    return (
        sums[WINDOW:, WINDOW:] - sums[:-WINDOW, WINDOW:] - sums[WINDOW:, :-WINDOW] + sums[:-WINDOW, :-WINDOW]
    ) / WINDOW**2


def loss(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Vessels are a tenth of the pixels; they weigh three times."""
    return nn.functional.binary_cross_entropy_with_logits(made, wanted, pos_weight=torch.tensor(3.0))


def _patches(images: np.ndarray, truth: np.ndarray, mask: np.ndarray, count: int, random: np.random.Generator) -> Part:
    x: list[np.ndarray] = []
    y: list[np.ndarray] = []
    contrasts = [local_contrast(image) for image in images]
    while len(x) < count:
        i = random.integers(len(images))
        top = random.integers(images.shape[1] - PATCH)
        left = random.integers(images.shape[2] - PATCH)
        part = np.s_[top : top + PATCH, left : left + PATCH]
        if mask[i][part].all():
            x.append(contrasts[i][part])
            y.append(truth[i][part])
    return (np.stack(x)[:, None] / 255).astype(np.float32), np.stack(y)[:, None].astype(np.float32)


def recipe(shared: Path) -> Recipe:
    from skimage.data import retina
    from skimage.transform import rescale

    with np.load(shared / "segmentation" / "drive_test_6.npz") as file:
        images = file["x"]
        truth = file["gt"]
        mask = file["mask"]
    random = np.random.default_rng(0)
    train, validation, test = (
        _patches(images[part], truth[part], mask[part], count, random)
        for part, count in ((slice(0, 4), 700), (slice(4, 5), 80), (slice(5, 6), 120))
    )
    eye = rescale(retina()[..., 1] / 255.0, SCALE, anti_aliasing=True)  # green shows vessels best
    top = (eye.shape[0] - CROP) // 2
    crop = np.s_[top : top + CROP, top : top + CROP]
    contrast = local_contrast(eye)[crop]
    tiles = contrast.reshape(6, PATCH, 6, PATCH).swapaxes(1, 2).reshape(36, 1, PATCH, PATCH)
    color = np.stack([rescale(retina()[..., c] / 255.0, SCALE, anti_aliasing=True)[crop] for c in range(3)], -1)
    return Recipe(
        name="vessels",
        title="vessels of the retina",
        field="medicine",
        task="segmentation: vessel or not, for each pixel",
        data="6 of DRIVE's pictures with an expert's vessels (Staal et al., 2004): 4 train, 1 chooses, 1 tests; the "
        "samples "
        "are scikit-image's picture of a retina, which has no labels",
        licence="DRIVE: for research, not contained here; scikit-image's picture CC0; weights Apache-2.0",
        synthetic="",
        input="1 x 48 x 48, local contrast 0 to 1 of the green channel",
        output="48 x 48 logits, above 0 for a vessel",
        metric="Dice coefficient",
        module=Vessels(),
        train=train,
        validation=validation,
        test=test,
        loss=loss,
        epochs=7,
        rate=1e-2,
        baselines={"everything dark": _dark(test)},
        samples={"inputs": tiles, "picture": np.clip(color * 255, 0, 255).astype(np.uint8)},
        sample_count=36,
    )


def _dark(test: Part) -> float:
    """The Dice coefficient of all pixels one deviation below their neighbourhood."""
    found = test[0] < (128 - 42) / 255
    wanted = test[1] > 0.5
    return float(2 * (found & wanted).sum() / (found.sum() + wanted.sum()))
