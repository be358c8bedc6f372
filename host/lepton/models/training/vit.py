"""`vit`: a vision transformer, for the digits of 8 x 8 pixels."""

import numpy as np
import torch
from torch import nn

from .recipe import Recipe

TRAINED = 1000  # of 1797; the next 200 choose, the last 597, of other writers, test
HELD = 200
WIDTH = 32
HEADS = 2


class Attention(nn.Module):
    """Self-attention between the patches. x and result: float32 (N, patches, WIDTH)."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, patches, _ = x.shape

        def heads(z: torch.Tensor) -> torch.Tensor:
            return z.reshape(count, patches, HEADS, WIDTH // HEADS).transpose(1, 2)

        scores = heads(self.query(x)) @ heads(self.key(x)).transpose(-1, -2) * (WIDTH // HEADS) ** -0.5
        made = torch.softmax(scores, -1) @ heads(self.value(x))
        return self.out(made.transpose(1, 2).reshape(count, patches, WIDTH))


class TransformerBlock(nn.Module):
    """Attention, then two dense layers; both with a normalization before and a sum behind."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.dense = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.dense(self.norm2(x))


class VisionTransformer(nn.Module):
    """16 patches of 2 x 2 pixels, two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, 2, stride=2)
        self.position = nn.Parameter(torch.randn(1, 16, WIDTH) * 0.1)
        self.blocks = nn.Sequential(TransformerBlock(), TransformerBlock())
        self.norm = nn.LayerNorm(WIDTH)
        self.out = nn.Linear(WIDTH, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.position
        return self.out(self.norm(self.blocks(tokens)).mean(1))


def recipe() -> Recipe:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    images = (x / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    labels = y.astype(np.int64)
    held = TRAINED + HELD
    torch.manual_seed(0)
    return Recipe(
        name="vit",
        title="vision transformer",
        field="research",
        task="image classification, 10 classes, by attention",
        data="scikit-learn's digits (E. Alpaydin and C. Kaynak, UCI), 1000 train, 200 choose, 597 of other "
        "writers test",
        licence="data CC BY 4.0, weights Apache-2.0",
        synthetic="",
        input="1 x 8 x 8, grey values 0 to 1",
        output="10 logits",
        metric="accuracy",
        module=VisionTransformer(),
        train=(images[:TRAINED], labels[:TRAINED]),
        validation=(images[TRAINED:held], labels[TRAINED:held]),
        test=(images[held:], labels[held:]),
        loss=nn.functional.cross_entropy,
        epochs=30,
        classes=tuple(map(str, range(10))),
        baselines={"guessing": 0.1},
    )
