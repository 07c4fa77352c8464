"""Random blocks of every type: all bits random but the scales, which give the values a wanted standard deviation."""
import math
import struct

from .gguf_io import TYPES

# Where a block keeps its float16 scale; where its minimum, and how many scales that is, so that the mean is about zero;
# the standard deviation of the values when the scale is 1 and all other bits are random.
SCALED = {
    "Q4_0": (0, None, 4.61), "Q4_1": (0, (2, -7.5), 4.61), "Q5_0": (0, None, 9.23), "Q5_1": (0, (2, -15.5), 9.23),
    "Q8_0": (0, None, 73.9), "Q2_K": (80, (82, 1.5), 13.8), "Q3_K": (108, None, 43.4), "Q4_K": (0, (2, 7.5), 258.0),
    "Q5_K": (0, (2, 15.5), 528.0), "Q6_K": (208, None, 1366.0), "IQ2_XXS": (0, None, 53.4), "IQ2_XS": (0, None, 55.7),
    "IQ3_XXS": (0, None, 142.0), "IQ1_S": (0, None, 7.19), "IQ4_NL": (0, None, 67.4), "IQ3_S": (0, None, 140.0),
    "IQ2_S": (0, None, 56.4), "IQ4_XS": (0, None, 1246.0), "TQ1_0": (52, None, 0.817), "TQ2_0": (64, None, 0.866),
}
IQ1_M_UNIT = 7.18
FP4_UNIT = 2.93  # E2M1 values under a scale of 1
MANTISSA = math.sqrt(7 / 3)  # root mean square of floats between 1 and 2


def _put(blocks, size, offset, data):
    """The same bytes into every block."""
    count = len(blocks) // size
    for i, byte in enumerate(data):
        blocks[offset + i::size] = bytes([byte]) * count


def _floats(blocks, kind, std):
    """Random signs and mantissas under one exponent, the nearest."""
    size, bias, mantissa_bits = {"F32": (4, 127, 7), "BF16": (2, 127, 7), "F16": (2, 15, 2)}[kind]
    exponent = round(math.log2(std / MANTISSA)) + bias
    if mantissa_bits == 7:  # the exponent lies across the last two bytes
        low = bytes((exponent & 1) << 7 | byte & 0x7f for byte in range(256))
        blocks[size - 2::size] = blocks[size - 2::size].translate(low)
        high = bytes(byte & 0x80 | exponent >> 1 for byte in range(256))
    else:
        high = bytes(byte & 0x80 | exponent << 2 | byte & 3 for byte in range(256))
    blocks[size - 1::size] = blocks[size - 1::size].translate(high)


def _e4m3(value):
    """The byte of the nearest positive E4M3 number, zero excluded."""
    def number(code):
        return (code & 7) * 2.0 ** -9 if code < 8 else (1 + (code & 7) / 8) * 2.0 ** ((code >> 3) - 7)
    return min(range(1, 0x7f), key=lambda code: abs(number(code) - value))


def random_blocks(random, kind, count, std):
    """`count` blocks as a bytearray."""
    size = TYPES[kind][2]
    blocks = bytearray(random.randbytes(count * size))
    if kind in ("F32", "F16", "BF16"):
        _floats(blocks, kind, std)
    elif kind == "MXFP4":
        _put(blocks, size, 0, [127 + round(math.log2(std / FP4_UNIT))])
    elif kind == "NVFP4":
        _put(blocks, size, 0, [_e4m3(std / FP4_UNIT)] * 4)
    elif kind == "IQ1_M":  # the scale's four hexadecimal digits are the high ones of four 16-bit words
        bits, = struct.unpack("<H", struct.pack("<e", std / IQ1_M_UNIT))
        for word in range(4):
            digit = bits >> 4 * word & 15
            offset = 49 + 2 * word
            blocks[offset::size] = blocks[offset::size].translate(bytes(byte & 15 | digit << 4 for byte in range(256)))
    else:
        if kind == "TQ2_0":  # three levels in two bits
            blocks = blocks.translate(bytes(byte & ~((byte & byte >> 1 & 0x55) << 1) for byte in range(256)))
        offset, minimum, unit = SCALED[kind]
        _put(blocks, size, offset, struct.pack("<e", std / unit))
        if minimum:
            _put(blocks, size, minimum[0], struct.pack("<e", std / unit * minimum[1]))
    return blocks
