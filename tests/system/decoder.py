"""A causal transformer block with a key/value cache, one token at a time."""

import torch
from torch import nn


class DecoderBlock(nn.Module):
    """Attention over the last `length` tokens, this one included, and a perceptron; before each a normalization.

    at_place: the token's key and value replace the oldest ones in place, instead of moving all others.
    """

    def __init__(self, dim: int, heads: int, length: int, at_place: bool = False):
        super().__init__()
        self.heads = heads
        self.length = length
        self.at_place = at_place
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.up = nn.Linear(dim, 4 * dim)
        self.down = nn.Linear(4 * dim, dim)
        self.register_buffer("keys", torch.zeros(1, length, dim))
        self.register_buffer("values", torch.zeros(1, length, dim))
        self.register_buffer("place", torch.zeros(1, dtype=torch.int64))

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(1, -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norms[0](x)
        key = self.key(y)
        value = self.value(y)
        if self.at_place:
            self.keys.index_copy_(1, self.place, key)
            self.values.index_copy_(1, self.place, value)
            self.place.add_(1).remainder_(self.length)
        else:
            self.keys = torch.cat([self.keys[:, 1:], key], 1)
            self.values = torch.cat([self.values[:, 1:], value], 1)
        made = nn.functional.scaled_dot_product_attention(
            self._heads(self.query(y)), self._heads(self.keys), self._heads(self.values))
        x = x + self.out(made.transpose(1, 2).reshape(x.shape))
        return x + self.down(nn.functional.gelu(self.up(self.norms[1](x))))


def tokens(seed: int, count: int, dim: int) -> torch.Tensor:
    return torch.randn(count, 1, dim, generator=torch.Generator().manual_seed(seed))
