"""Transformers' parts quantized by `LeptonQuantizer`: one job of the chip, next to PyTorch's own modules."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tests.host.frontends.torch.torch_parts import as_one_job  # noqa: E402

TOKENS = 21
WIDTH = 32
HEADS = 2


class Encoder(nn.Module):
    """Attention written out, both normalizations, GELU."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.first = nn.LayerNorm(WIDTH)
        self.second = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 2 * WIDTH)
        self.down = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x):
        query, key, value = (layer(x).view(1, -1, HEADS, WIDTH // HEADS).transpose(1, 2)
                             for layer in (self.query, self.key, self.value))
        weights = torch.softmax(query @ key.transpose(-2, -1) / (WIDTH // HEADS) ** 0.5, -1)
        x = self.first(x + self.out((weights @ value).transpose(1, 2).reshape(1, -1, WIDTH)))
        return self.second(x + self.down(nn.functional.gelu(self.up(x))))


class Functional(nn.Module):
    """scaled_dot_product_attention of one linear layer's thirds, with a scale of its own."""

    def __init__(self):
        super().__init__()
        self.into = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        parts = (part.view(1, -1, HEADS, WIDTH // HEADS).transpose(1, 2) for part in self.into(x).chunk(3, -1))
        return self.out(nn.functional.scaled_dot_product_attention(*parts, scale=0.3).transpose(1, 2).flatten(2))


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.into = nn.Linear(WIDTH, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, x):
        x = self.into(x)
        return self.attention(x, x, x, need_weights=False)[0]


class OneLayerForAll(nn.Module):
    """Queries, keys and values of one layer, in the order of vision transformers' code; each branch has a scale for
    every channel."""

    def __init__(self):
        super().__init__()
        self.first, self.into, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.scale = nn.Parameter(torch.rand(WIDTH))

    def forward(self, x):
        batch, tokens, width = x.shape
        parts = self.into(self.first(x)).reshape(batch, tokens, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        made = nn.functional.scaled_dot_product_attention(*parts.unbind(0))
        return x + self.out(made.transpose(1, 2).reshape(batch, tokens, width)) * self.scale


class Sums(nn.Module):
    """Products by torch.einsum."""

    def __init__(self):
        super().__init__()
        self.into, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        query, key, value = (part.view(1, -1, HEADS, WIDTH // HEADS) for part in self.into(x).chunk(3, -1))
        weights = (torch.einsum("bqhd,bkhd->bhqk", query, key) * 0.2).softmax(-1)
        return self.out(torch.einsum("bhqk,bkhd->bqhd", weights, value).reshape(x.shape))


class RootMeanSquares(nn.Module):
    def __init__(self):
        super().__init__()
        self.into = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.RMSNorm(WIDTH)
        self.out = nn.Linear(WIDTH, 7)

    def forward(self, x):
        return self.out(self.norm(self.into(x)))


MODULES = {
    "encoder": Encoder, "functional": Functional, "multi-head": SelfAttention, "root mean squares": RootMeanSquares,
    "one layer for all": OneLayerForAll, "einsum": Sums,
    "layer of torch": lambda: nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, batch_first=True),
    "norm first": lambda: nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, batch_first=True, norm_first=True,
                                                     activation="gelu"),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_part_of_a_transformer_is_one_job(name):
    torch.manual_seed(3)
    as_one_job(MODULES[name]().eval(), lambda: (torch.randn(1, TOKENS, WIDTH),), alike=0.995)
