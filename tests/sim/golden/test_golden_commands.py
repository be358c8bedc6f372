"""The vectorised commands against the pseudo-code of `lepton.arch.commands`, executed literally."""

from itertools import product

import numpy as np
import pytest
from lepton.arch import PRESETS, ChipConfig, Dma, DmaOpcode, ErrorCode, Space, Tensor, TensorOpcode
from lepton.arch.commands import PARAM_WORDS
from lepton_sim.golden.commands import UNDEFINED, dot, execute
from lepton_sim.golden.errors import CommandError
from lepton_sim.golden.state import ChipState

from tests.sim.golden.gemmlowp import rdbpot, srdhm
from tests.sim.golden.golden_program import dma, tensor

TINY = PRESETS["tiny"]
K = TINY.lanes


def _wrap(x):
    return (x + (1 << 31)) % (1 << 32) - (1 << 31)


def _clamp(x, low, high):
    return max(low, min(x, high))


def _tail(f, row, weights, residual):
    result = []
    for n in range(K):
        record = bytes(weights[(f["params"] + b) * K + n] for b in range(PARAM_WORDS))
        bias, multiplier = (int.from_bytes(record[i:i + 4], "little", signed=True) for i in (0, 4))
        left = record[8] & 31
        right = record[9] & 31
        y = rdbpot(srdhm(_wrap(_wrap(row[n] + bias) << left), multiplier), right) + f["out_zero"]
        y = _clamp(y, f["out_min"], f["out_max"])
        if f["add"]:
            def scale(d, name):
                return rdbpot(srdhm(d << 20, f[f"add_mult_{name}"]), f[f"add_shift_{name}"])
            a = y - f["add_zero_a"]
            b = residual[n] - f["add_zero_b"]
            s = a * b if f["multiply"] else scale(a, "a") + scale(b, "b")
            y = rdbpot(srdhm(s, f["add_mult_o"]), f["add_shift_o"]) + f["add_zero_o"]
            y = _clamp(y, f["add_min"], f["add_max"])
        result.append(y)
    return result


def _walk_literally(f, chip):
    """The pseudo-code, one number at a time, on copies; returns (scratchpad, accumulators)."""
    scratchpad = chip.scratchpad.view(np.int8).tolist()
    accumulators = chip.accumulators.tolist()
    weights = chip.weights.tolist()
    signed_weights = chip.weights.view(np.int8).tolist()
    passes = list(product(range(f["blocks"]), range(f["kernel_y"]), range(f["kernel_x"])))
    for p, (block, ky, kx) in enumerate(passes):
        for m, (z, y, x) in enumerate(product(range(f["nz"]), range(f["ny"]), range(f["nx"]))):
            ix = f["ix0"] + x * f["stride_x"] + kx * f["dilation_x"]
            iy = f["iy0"] + y * f["stride_y"] + ky * f["dilation_y"]
            at = (f["in_addr"] + block * f["in_block"] + ky * f["in_ky"] + kx * f["in_kx"] + z * f["in_z"]
                  + y * f["in_y"] + x * f["in_x"])
            inside = 0 <= ix < f["in_w"] and 0 <= iy < f["in_h"]
            a = scratchpad[at:at + K] if inside else [f["pad"]] * K
            if f["opcode"] == TensorOpcode.DOT:
                tile = (f["weights"] + p * K) * K
                v = [sum(signed_weights[tile + n * K + k] * a[k] for k in range(K)) for n in range(K)]
            else:
                v = a
            row = f["acc"] + m
            if not (f["first"] and p == 0):
                old = accumulators[row]
                combine = max if f["opcode"] == TensorOpcode.MAX else (lambda s, t: _wrap(s + t))
                v = [combine(s, t) for s, t in zip(old, v, strict=True)]
            accumulators[row] = v
            if f["last"] and p == len(passes) - 1:
                steps = [z, y, x]
                out = f["out_addr"] + sum(s * f[f"out_{d}"] for s, d in zip(steps, "zyx", strict=True))
                res = f["res_addr"] + sum(s * f[f"res_{d}"] for s, d in zip(steps, "zyx", strict=True))
                scratchpad[out:out + K] = _tail(f, v, weights, scratchpad[res:res + K])
                accumulators[row] = [int(UNDEFINED)] * K
    return np.array(scratchpad, np.int8).view(np.uint8), np.array(accumulators, np.int32)


def _random_chip(rng):
    chip = ChipState.blank(TINY)
    chip.scratchpad[:] = rng.integers(0, 256, TINY.scratchpad_bytes)
    chip.weights[:] = rng.integers(0, 256, TINY.weight_bytes)
    chip.accumulators[:] = rng.integers(-1 << 31, 1 << 31, chip.accumulators.shape)
    return chip


def _random_walk(rng, opcode, out_addr):
    def small(low, high):
        return int(rng.integers(low, high))
    fields = {
        "opcode": opcode, "first": small(0, 2), "last": small(0, 4) > 0, "add": small(0, 2), "pad": small(-128, 128),
        "kernel_x": small(1, 4), "kernel_y": small(1, 4), "blocks": small(1, 4), "nx": small(1, 5), "ny": small(1, 5),
        "nz": small(1, 3), "acc": small(0, 100), "in_addr": small(2000, 3000), "weights": small(0, 100),
        "params": small(200, 300), "ix0": small(-2, 2), "iy0": small(-2, 2), "in_w": small(1, 6), "in_h": small(1, 6),
        "out_addr": out_addr * K, "res_addr": small(100, 800) * K,
        "out_zero": small(-128, 128), "out_min": small(-128, 0), "out_max": small(0, 128),
        "add_min": small(-128, 0), "add_max": small(0, 128)}
    for name in ("stride_x", "stride_y", "dilation_x", "dilation_y"):
        fields[name] = small(0, 3)
    for name in ("in_x", "in_y", "in_z", "in_kx", "in_ky", "in_block"):
        fields[name] = small(-40, 40)
    for name in ("out_x", "out_y", "out_z", "res_x", "res_y", "res_z"):
        fields[name] = small(-8, 9) * K
    for name in "abo":
        fields |= {f"add_zero_{name}": small(-128, 128), f"add_mult_{name}": small(-1 << 31, 1 << 31),
                   f"add_shift_{name}": small(0, 32)}
    if small(0, 3) == 0:
        fields |= {"multiply": 1, "add_shift_a": 0}
    return Tensor.unpack(tensor(**fields))


@pytest.mark.parametrize("opcode", [TensorOpcode.DOT, TensorOpcode.SUM, TensorOpcode.MAX])
@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_walks_are_the_pseudo_code(seed, overlapping, opcode):
    """`overlapping`: the output lies where the input and the residual are read."""
    rng = np.random.default_rng([seed, overlapping, opcode])
    for _ in range(4):
        chip = _random_chip(rng)
        # Also parameters that do not saturate everything.
        start = 200 * K
        record = chip.weights[start:start + 110 * K].reshape(-1, K)
        record[:, :] = rng.choice([0, 1, 20, 64, 255], record.shape)
        f = _random_walk(rng, opcode, int(rng.integers(500, 750)) if overlapping else 3000)
        scratchpad, accumulators = _walk_literally(f, chip)
        execute(f, chip, np.zeros(0, np.uint8), [])
        np.testing.assert_array_equal(chip.scratchpad, scratchpad)
        np.testing.assert_array_equal(chip.accumulators, accumulators)


def _window_literally(f, chip, lanes):
    """WINDOW's sums by the pseudo-code, one number at a time: (pixels, K)."""
    pixels = chip.scratchpad.view(np.int8).tolist()
    weights = chip.weights.view(np.int8).tolist()
    sums = []
    for y, x in product(range(f["ny"]), range(f["nx"])):
        v = [0] * lanes
        for p in range(f["kernel_y"]):
            bottom = f["iy0"] + y * f["stride_y"] + p * f["dilation_y"] + f["tap_rows"] - 1
            right = f["ix0"] + x * f["stride_x"] + f["kernel_x"] - 1
            for a, k in product(range(f["tap_rows"]), range(f["kernel_x"])):
                r = bottom - a
                c = right - k
                at = (f["in_addr"] + p * f["in_ky"] + (r - f["iy0"] - p * f["dilation_y"]) * f["in_y"]
                      + c * f["in_x"])
                inside = 0 <= r < f["in_h"] and 0 <= c < f["in_w"]
                word = pixels[at:at + lanes] if inside else [f["pad"]] * lanes
                tile = (f["weights"] + p * lanes) * lanes
                v = [s + weights[tile + n * lanes + 5 * a + k] * word[n] for n, s in enumerate(v)]
        sums.append(v)
    return np.array(sums)


@pytest.mark.parametrize("lanes, rows, width", [(4, 1, 3), (4, 1, 4), (8, 2, 3), (8, 1, 5), (16, 3, 3), (16, 3, 5),
                                                (16, 2, 5), (32, 3, 5)])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_window_walk_is_the_pseudo_code(lanes, rows, width, stride):
    rng = np.random.default_rng([lanes, rows, width, stride])
    config = ChipConfig("toy", lanes=lanes, columns=lanes, scratchpad_kib=16, weight_kib=16, accumulator_rows=128)
    for groups in (1, 2):
        chip = ChipState.blank(config)
        chip.scratchpad[:] = rng.integers(0, 256, config.scratchpad_bytes)
        chip.weights[:] = rng.integers(0, 256, config.weight_bytes)
        image_w = 9
        image_h = 7
        top = int(rng.integers(0, 4))
        left = int(rng.integers(0, width))
        nx = (image_w - 1) // stride + 1
        ny = (image_h - 1) // stride + 1
        f = Tensor.unpack(tensor(
            TensorOpcode.WINDOW, tap_rows=rows, kernel_x=width, kernel_y=groups, dilation_y=rows, nx=nx, ny=ny,
            ix0=-left, iy0=-top, in_w=image_w, in_h=image_h, stride_x=stride, stride_y=stride, in_x=lanes,
            in_y=lanes * image_w, in_ky=rows * lanes * image_w, in_addr=4096 - top * lanes * image_w, weights=3,
            pad=-77, acc=5, last=0))
        execute(f, chip, np.zeros(0, np.uint8), [])
        np.testing.assert_array_equal(chip.accumulators[5:5 + nx * ny], _window_literally(f, chip, lanes))


@pytest.mark.parametrize("change, code, value", [
    (dict(tap_rows=0), ErrorCode.ILLEGAL_FIELD, 0), (dict(tap_rows=4), ErrorCode.ILLEGAL_FIELD, 4),
    (dict(tap_rows=2, kernel_x=4), ErrorCode.ILLEGAL_FIELD, 4), (dict(nz=2), ErrorCode.ILLEGAL_FIELD, 2),
    (dict(blocks=2), ErrorCode.ILLEGAL_FIELD, 2), (dict(in_w=1), ErrorCode.ILLEGAL_FIELD, 1),
    (dict(in_w=257), ErrorCode.ILLEGAL_FIELD, 257), (dict(ix0=6), ErrorCode.ILLEGAL_FIELD, 6),
    (dict(ix0=-1), ErrorCode.ILLEGAL_FIELD, 2**32 - 1),
    # Without a stride the second window is the first again, which has gone by.
    (dict(nx=2, stride_x=0), ErrorCode.ILLEGAL_FIELD, 0),
])
def test_what_the_window_unit_cannot_walk(change, code, value):
    chip = ChipState.blank(PRESETS["small"])
    f = Tensor.unpack(tensor(TensorOpcode.WINDOW, **dict(tap_rows=1, kernel_x=1, in_w=6, in_h=6) | change))
    with pytest.raises(CommandError) as stopped:
        execute(f, chip, np.zeros(0, np.uint8), [])
    assert (stopped.value.code, stopped.value.address) == (code, value)


def test_a_chip_without_a_window_unit_says_so():
    chip = ChipState.blank(PRESETS["tiny"].with_(name="plain", window_columns=0))
    with pytest.raises(CommandError, match="ILLEGAL_OPCODE"):
        execute(Tensor.unpack(tensor(TensorOpcode.WINDOW, tap_rows=1, in_w=2)), chip, np.zeros(0, np.uint8), [])


@pytest.mark.parametrize("opcode", [TensorOpcode.SUM, TensorOpcode.MAX])
@pytest.mark.parametrize("residual", [False, True])
def test_a_walk_may_feed_on_itself(opcode, residual):
    """Word i+1 is read after it was written from word i: the first word must come out at the far end."""
    chip = _random_chip(np.random.default_rng(8))
    record = chip.weights[:PARAM_WORDS * K].reshape(PARAM_WORDS, K)
    record[:] = 0
    # multiplier 2**30, left shift 1: unchanged
    record[7] = 0x40
    record[8] = 1
    walk = dict(nx=10, in_w=10, out_x=K, out_addr=K)
    if residual:  # the sum is the residual alone
        walk |= dict(add=1, res_x=K, in_addr=400, add_mult_b=1 << 30, add_mult_o=1 << 30, add_shift_o=18)
    else:
        walk |= dict(in_x=K)
    f = Tensor.unpack(tensor(opcode, **walk))
    scratchpad, accumulators = _walk_literally(f, chip)
    execute(f, chip, np.zeros(0, np.uint8), [])
    np.testing.assert_array_equal(chip.scratchpad, scratchpad)
    np.testing.assert_array_equal(chip.accumulators, accumulators)
    np.testing.assert_array_equal(chip.scratchpad[10 * K:11 * K], chip.scratchpad[:K])


@pytest.mark.parametrize("lanes", [4, 16, 64])
def test_dot_is_exact_at_its_largest(lanes):
    """Sums far beyond float32's 24 bits, of odd products, so that a lost bit shows."""
    rng = np.random.default_rng(lanes)
    words = rng.choice([-128, -127], (3, 700, lanes)).astype(np.int8)
    tiles = rng.choice([-128, -127], (700, lanes, lanes)).astype(np.int8)
    expected = np.einsum("mpk,pnk->mn", words.astype(np.int64), tiles.astype(np.int64))
    np.testing.assert_array_equal(dot(words, tiles), expected)


def _transfer_literally(f, chip, memory, base):
    local = chip.local(f["space"]).copy()
    memory = memory.copy()
    words = -(-f["row_bytes"] // K)
    for k, j, i in product(range(f["count3"]), range(f["count2"]), range(f["count1"])):
        m = base + f["offset"] + k * f["mem_step3"] + j * f["mem_step2"] + i * f["mem_step1"]
        at = f["local"] + k * f["local_step3"] + j * f["local_step2"] + i * f["local_step1"]
        if f["opcode"] == DmaOpcode.STORE:
            memory[m:m + f["row_bytes"]] = local[at:at + f["row_bytes"]]
        else:
            local[at:at + words * K] = f["fill"] & 0xFF
            if f["opcode"] == DmaOpcode.LOAD:
                local[at:at + f["row_bytes"]] = memory[m:m + f["row_bytes"]]
    return local, memory


@pytest.mark.parametrize("opcode", DmaOpcode)
@pytest.mark.parametrize("seed", range(10))
def test_transfers_are_the_pseudo_code(seed, opcode):
    rng = np.random.default_rng([seed, opcode])
    chip = _random_chip(rng)
    memory = rng.integers(0, 256, 1 << 16).astype(np.uint8)
    space = Space.SCRATCHPAD if opcode == DmaOpcode.STORE else int(rng.integers(0, 2))
    f = Dma.unpack(dma(
        opcode, region=1, space=space, fill=int(rng.integers(-128, 128)), offset=20000, local=2000 * K,
        row_bytes=int(rng.integers(1, 50)), **{f"count{i}": int(rng.integers(1, 5)) for i in (1, 2, 3)},
        **{f"mem_step{i}": int(rng.integers(-100, 100)) for i in (1, 2, 3)},
        **{f"local_step{i}": int(rng.integers(-20, 20)) * K for i in (1, 2, 3)}))
    local, expected = _transfer_literally(f, chip, memory, 5000)
    execute(f, chip, memory, [(0, 0), (5000, 60000), (0, 0), (0, 0)])
    np.testing.assert_array_equal(chip.local(space), local)
    np.testing.assert_array_equal(memory, expected)


def test_rows_before_the_illegal_one_have_moved():
    chip = ChipState.blank(TINY)
    memory = np.arange(64, dtype=np.uint8)
    f = Dma.unpack(dma(row_bytes=8, count1=4, mem_step1=8, local_step1=8))
    with pytest.raises(CommandError) as error:
        execute(f, chip, memory, [(0, 20)])
    assert (error.value.code, error.value.address) == (ErrorCode.MEMORY_BOUNDS, 16)
    assert chip.scratchpad[:24].tolist() == [*range(16), *[0] * 8]
