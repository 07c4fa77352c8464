"""Writes decoder_golden.bin: blocks of every packed type and the floats that gguf-py makes of them.

Usage: make_decoder_golden.py (needs gguf==0.19.0 and numpy; no downloads). The output is committed.

Layout, little-endian: "KLGD", u32 number of types; a type: u32 ggml id, u32 blocks, u32 bytes a block, u32 values a
block, the blocks' bytes, the float32 values. NaN values are written as 0x7fc00000: which NaN is not part of the meaning.
"""

import importlib.metadata
import pathlib
import struct

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type
from gguf.quants import dequantize

assert importlib.metadata.version("gguf") == "0.19.0", "the golden file is defined by gguf==0.19.0"

# Half-precision scales that have broken decoders before: zeros, subnormals, the largest, infinities, NaN, both signs.
EXTREME = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0x3C00, 0xBC00]

# Byte offsets of the half-precision fields of a block.
SCALES = {
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
    Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
    Type.IQ1_S: [0], Type.IQ1_M: [], Type.IQ2_XXS: [0], Type.IQ2_XS: [0], Type.IQ2_S: [0], Type.IQ3_XXS: [0],
    Type.IQ3_S: [0], Type.IQ4_NL: [0], Type.IQ4_XS: [0], Type.TQ1_0: [52], Type.TQ2_0: [64],
    Type.MXFP4: [], Type.NVFP4: [], Type.F16: [0], Type.BF16: [0], Type.F32: [],
}


def make_blocks(kind, rng):
    values, size = GGML_QUANT_SIZES[kind]
    count = {1: 512, 32: 48, 64: 64}.get(values, 26)
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    blocks[-1] = 0xFF
    blocks[-2] = 0
    halves = SCALES[kind]
    for i in range(count - 2):
        for k, at in enumerate(halves):
            if i < len(EXTREME):
                bits = EXTREME[(i + 5 * k) % len(EXTREME)]
            elif values == 1:
                continue  # plain types: every bit pattern is a value
            else:
                bits = int(np.float16(rng.normal() * 10.0 ** rng.uniform(-4, 2)).view(np.uint16))
            blocks[i, at:at + 2] = bits & 255, bits >> 8
        if kind == Type.IQ1_M:  # the scale is spread over the top nibbles of four words
            bits = EXTREME[i] if i < len(EXTREME) else int(np.float16(rng.normal()).view(np.uint16))
            for w in range(4):
                blocks[i, 49 + 2 * w] = (blocks[i, 49 + 2 * w] & 0x0F) | ((bits >> (4 * w)) & 15) << 4
    if kind == Type.MXFP4:
        blocks[:8, 0] = [0, 1, 2, 3, 127, 253, 254, 255]
    if kind == Type.NVFP4:  # every scale byte once
        blocks[:, :4] = np.arange(256, dtype=np.uint8).reshape(64, 4)
    if kind == Type.F32:
        extreme = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-38, 3.4e38, np.inf, -np.inf, np.nan], dtype=np.float32)
        blocks[:len(extreme)] = extreme.view(np.uint8).reshape(-1, 4)
    return blocks


def main():
    rng = np.random.default_rng(20250101)
    out = [b"KLGD", struct.pack("<I", len(SCALES))]
    for kind in SCALES:
        values, size = GGML_QUANT_SIZES[kind]
        blocks = make_blocks(kind, rng)
        with np.errstate(all="ignore"):
            floats = dequantize(blocks.reshape(-1), kind)
        assert floats.dtype == np.float32 and floats.size == len(blocks) * values, kind
        bits = floats.reshape(-1).copy().view(np.uint32)
        bits[np.isnan(floats.reshape(-1))] = 0x7FC00000
        out += [struct.pack("<4I", int(kind), len(blocks), size, values), blocks.tobytes(), bits.astype("<u4").tobytes()]
    pathlib.Path(__file__).with_name("decoder_golden.bin").write_bytes(b"".join(out))


if __name__ == "__main__":
    main()
