"""Masks of attention: hidden scores cost no step on the host, and leave the others their precision."""

import math

import pytest

torch = pytest.importorskip("torch")

from lepton.frontends.torch.grids import ScoresObserver, depth_of_zero  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.functional import scaled_dot_product_attention  # noqa: E402

from tests.host.frontends.torch.torch_parts import as_one_job  # noqa: E402

TOKENS = 21
WIDTH = 32
HEADS = 2
SIZE = WIDTH // HEADS


class Heads(nn.Module):
    """Attention of one layer's thirds; `mask`: added to the scores, or True for those that are shown."""

    def __init__(self, mask=None, **options):
        super().__init__()
        self.into = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("mask", mask)
        self.options = options

    def parts(self, x):
        return [part.view(1, -1, HEADS, SIZE).transpose(1, 2) for part in self.into(x).chunk(3, -1)]

    def forward(self, x):
        return self.joined(scaled_dot_product_attention(*self.parts(x), attn_mask=self.mask, **self.options))

    def joined(self, x):
        return self.out(x.transpose(1, 2).reshape(1, -1, WIDTH))


class Given(Heads):
    """The mask is an input."""

    def forward(self, x, mask):
        return self.joined(scaled_dot_product_attention(*self.parts(x), attn_mask=mask))


class WrittenOut(Heads):
    """masked_fill, where, or a sum with a large number."""

    def forward(self, x):
        query, key, value = self.parts(x)
        scores = (query * SIZE ** -0.25) @ (key * SIZE ** -0.25).transpose(-2, -1)
        way = self.options["way"]
        if way == "masked_fill":
            scores = scores.masked_fill(self.mask == 0, float("-inf"))
        elif way == "where":
            scores = torch.where(self.mask == 0, torch.finfo(torch.float32).min, scores)
        elif way == "where shown":
            scores = torch.where(self.mask != 0, scores, torch.full([], -1e9))
        else:
            scores = scores + (1 - self.mask) * -10000.0
        return self.joined(scores.softmax(-1) @ value)


class GroupedQueries(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, n) for n in (WIDTH, SIZE, SIZE, WIDTH))

    def forward(self, x):
        query, key, value = (layer(x).view(1, -1, n, 8).transpose(1, 2)
                             for layer, n in ((self.query, 4), (self.key, 2), (self.value, 2)))
        made = scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        return self.out(made.transpose(1, 2).flatten(2))


class OfTorch(nn.Module):
    """Modules of torch.nn with their masks."""

    def __init__(self, layer, **masks):
        super().__init__()
        self.layer = layer
        self.masks = list(masks)
        for name, mask in masks.items():
            self.register_buffer(name, mask)

    def forward(self, x):
        masks = {name: getattr(self, name) for name in self.masks}
        if isinstance(self.layer, nn.MultiheadAttention):
            return self.layer(x, x, x, **masks)[0]
        return self.layer(x, x[:, :13], **masks) if isinstance(self.layer, nn.TransformerDecoderLayer) else self.layer(
            x, **masks)


CAUSAL = torch.triu(torch.full((TOKENS, TOKENS), -math.inf), 1)
TRIANGLE = torch.ones(TOKENS, TOKENS).tril()
SIZES = {"d_model": WIDTH, "nhead": HEADS, "dim_feedforward": 2 * WIDTH, "batch_first": True}
MODULES = {
    "bool": lambda: Heads(torch.eye(TOKENS).bool() | (torch.rand(TOKENS, TOKENS) > 0.3)),
    "float": lambda: Heads(torch.randn(1, HEADS, TOKENS, TOKENS)),
    "slopes and -inf": lambda: Heads(CAUSAL - 0.1 * torch.arange(TOKENS).flip(0)),
    "is_causal": lambda: Heads(is_causal=True),
    "grouped queries": GroupedQueries,
    **{way: lambda way=way: WrittenOut(TRIANGLE, way=way) for way in ("masked_fill", "where shown", "sum")},
    "multi-head": lambda: OfTorch(nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), attn_mask=CAUSAL < 0),
    "encoder, causal": lambda: OfTorch(nn.TransformerEncoderLayer(**SIZES), src_mask=CAUSAL),
    "encoder, padding": lambda: OfTorch(nn.TransformerEncoderLayer(**SIZES),
                                        src_key_padding_mask=torch.arange(TOKENS)[None] > 17),
}


@pytest.mark.parametrize("name", MODULES)
def test_constant_masks_cost_no_step_on_the_host(name):
    torch.manual_seed(3)
    as_one_job(MODULES[name]().eval(), lambda: (torch.randn(1, TOKENS, WIDTH),), alike=0.998)


def test_cross_attention_of_a_decoder():
    torch.manual_seed(3)
    layer = nn.TransformerDecoderLayer(**SIZES).eval()
    as_one_job(layer, lambda: (torch.randn(1, TOKENS, WIDTH), torch.randn(1, 13, WIDTH)), alike=0.998)


@pytest.mark.parametrize("of_bools", [False, True])
def test_masks_that_the_caller_gives(of_bools):
    """The host quantizes the mask; a bool mask becomes numbers there."""
    torch.manual_seed(3)

    def inputs():
        shown = torch.rand(1, 1, 1, TOKENS) > 0.3
        shown[..., 0] = True
        return torch.randn(1, TOKENS, WIDTH), shown if of_bools else torch.where(shown, 0.0, -1e4)

    as_one_job(Given().eval(), inputs, alike=0.995, on_host=frozenset({"Aten"} if of_bools else ()))


def test_scores_are_observed_as_far_down_as_a_softmax_sees():
    observer = ScoresObserver(dtype=torch.int8, qscheme=torch.per_tensor_affine, quant_min=-128, quant_max=127)
    observer(torch.tensor([[5.0, 2.0, -math.inf], [-1.0, -1e9, -3.0], [-math.inf] * 3]))
    assert observer.max_val == 5
    assert observer.min_val == pytest.approx(-1 - depth_of_zero(3))
    step = observer.calculate_qparams()[0]
    low = observer.min_val + torch.zeros(3)
    low[0] = -1
    assert 255 * step == pytest.approx(5 + 1 + depth_of_zero(3))
    assert low.softmax(-1)[1:].sum() < 1 / 512
