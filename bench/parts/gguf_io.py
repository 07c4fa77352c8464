"""GGUF files: metadata and the list of tensors, read and written. Tensor data are streamed by the caller. Version 3, little
endian; no check of hostile files (src/formats does that)."""
import math
import struct

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10
PLAIN = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
ALIGNMENT = 32


class I32(int):
    """An int that is written signed: readers are strict about types."""


# ggml's id, values and bytes of a block.
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "BF16": (30, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22),
         "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144),
         "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "IQ2_XXS": (16, 256, 66), "IQ2_XS": (17, 256, 74),
         "IQ3_XXS": (18, 256, 98), "IQ1_S": (19, 256, 50), "IQ4_NL": (20, 32, 18), "IQ3_S": (21, 256, 110),
         "IQ2_S": (22, 256, 82), "IQ4_XS": (23, 256, 136), "IQ1_M": (29, 256, 56), "TQ1_0": (34, 256, 54),
         "TQ2_0": (35, 256, 66), "MXFP4": (39, 32, 17), "NVFP4": (40, 64, 36)}
NAMES = {number: name for name, (number, _, _) in TYPES.items()}


def tensor_bytes(kind, shape):
    """Bytes of a tensor; `shape` begins with the length of a row."""
    _, values, size = TYPES[kind]
    if shape[0] % values:
        raise ValueError(f"a row of {shape[0]} values: expected a multiple of {values} for {kind}")
    return math.prod(shape) // values * size


def aligned(size):
    return -(-size // ALIGNMENT) * ALIGNMENT


def _text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value):
    """(type, bytes) of a metadata value: bool, int, float, str, or a list of one of them."""
    if isinstance(value, bool):
        return BOOL, struct.pack("<?", value)
    if isinstance(value, I32):
        return 5, struct.pack("<i", value)
    if isinstance(value, int):
        return U32, struct.pack("<I", value)
    if isinstance(value, float):
        return F32, struct.pack("<f", value)
    if isinstance(value, str):
        return STRING, _text(value)
    kind = _value(value[0])[0]
    return ARRAY, struct.pack("<IQ", kind, len(value)) + b"".join(_value(item)[1] for item in value)


def write_header(file, keys, tensors):
    """Everything before the data. `tensors`: (name, type, shape). The data follow in this order, each padded to ALIGNMENT."""
    file.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)))
    for key, value in keys.items():
        kind, data = _value(value)
        file.write(_text(key) + struct.pack("<I", kind) + data)
    offset = 0
    for name, kind, shape in tensors:
        file.write(_text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, TYPES[kind][0], offset))
        offset += aligned(tensor_bytes(kind, shape))
    file.write(bytes(aligned(file.tell()) - file.tell()))


class Header:
    """`keys` (arrays of strings as their number only) and `tensors`: (name, type or "type N", shape)."""

    def __init__(self, path):
        with open(path, "rb") as self._file:
            if self._file.read(4) != b"GGUF":
                raise ValueError(f"{path}: expected a GGUF file, found other first bytes")
            _, tensors, keys = self._read("<IQQ")
            self.keys = {}
            for _ in range(keys):
                key = self._string()
                self.keys[key] = self._any(*self._read("<I"))
            self.tensors = [self._tensor() for _ in range(tensors)]

    def _read(self, layout):
        data = self._file.read(struct.calcsize(layout))
        if len(data) < struct.calcsize(layout):
            raise ValueError(f"{self._file.name}: expected more of a GGUF header, found the end of the file")
        return struct.unpack(layout, data)

    def _string(self):
        return self._file.read(*self._read("<Q")).decode(errors="replace")

    def _any(self, kind):
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            return self._read("<" + PLAIN[kind])[0]
        inner, count = self._read("<IQ")
        if inner == STRING:
            for _ in range(count):
                self._file.seek(*self._read("<Q"), 1)
            return count
        return [self._any(inner) for _ in range(count)]

    def _tensor(self):
        name = self._string()
        dimensions, = self._read("<I")
        *shape, kind, _ = self._read(f"<{dimensions}QIQ")
        return name, NAMES.get(kind, f"type {kind}"), tuple(shape)
