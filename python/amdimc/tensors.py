"""Files of tensors (.safetensors), as numpy arrays, with the digest by which a program knows its own checkpoints."""

from __future__ import annotations

import ctypes
import json
import os
from pathlib import Path
from typing import Mapping, Union

import numpy as np

PathLike = Union[str, "os.PathLike[str]"]

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
           "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items() if name != "BF16"}
_METADATA, _DIGEST, _OURS = "__metadata__", "digest", "amdimc_"
_ALIGNMENT = 8


def load(path: PathLike, check: bool = True) -> dict[str, np.ndarray]:
    """All tensors of a file, by name, in their own shapes and types (bfloat16 as float32); arrays of the caller's to change.

    A checkpoint of amdimc's is refused where its digest does not fit, unless `check` is False.
    """
    data, header, begin = _open(path)
    metadata = header.pop(_METADATA, {})
    tensors = {name: _tensor(path, name, entry, data[begin:]) for name, entry in header.items()}
    if not _is_signed(metadata):
        return tensors
    digest = tensors.pop(_DIGEST, None)
    if check and (digest is not None or metadata.get("amdimc_version") != "1"):  # version 0.1 wrote none
        _check_digest(path, digest, header, data, begin)
    return tensors


def load_metadata(path: PathLike) -> dict[str, str]:
    """The file's metadata; of a checkpoint of amdimc's its version, spec and data among them."""
    return _open(path)[1].get(_METADATA, {})


def save(path: PathLike, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors, whole or not at all. Names and shapes of weights are PyTorch's; see docs/program.md.

    With a checkpoint's metadata (`load_metadata`) the file is a checkpoint again and gets the digest that programs ask for.
    """
    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    signed = _is_signed(metadata or {})
    if signed:
        arrays[_DIGEST] = np.zeros(1, np.int64)  # the last, over all that goes before
    header: dict[str, object] = {_METADATA: dict(metadata)} if metadata else {}
    at = 0
    for name, array in arrays.items():
        dtype = array.dtype.newbyteorder("<")
        if dtype not in _NAMES:
            raise TypeError(f"tensor {name} is of {array.dtype}, which safetensors does not have; convert it, to float32 say")
        header[name] = {"dtype": _NAMES[dtype], "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    parts = [len(text).to_bytes(8, "little"), text]
    parts += [np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes() for array in arrays.values()]
    if signed:
        parts[-1] = xxh64(b"".join(parts[:-1])).to_bytes(8, "little")
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_bytes(b"".join(parts))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _is_signed(metadata: Mapping[str, str]) -> bool:
    return any(key.startswith(_OURS) for key in metadata)


def _open(path: PathLike) -> tuple[np.ndarray, dict, int]:
    """The file's bytes, its header, and where the tensors' data begin."""
    data = np.fromfile(path, np.uint8)
    length = int.from_bytes(data[:8].tobytes(), "little")
    try:
        if len(data) < 8 or length > len(data) - 8:
            raise ValueError
        header = json.loads(data[8:8 + length].tobytes())
        if not isinstance(header, dict):
            raise ValueError
    except ValueError:
        raise ValueError(f"{os.fspath(path)}: not a safetensors file, or cut short") from None
    return data, header, 8 + length


def _tensor(path: PathLike, name: str, entry: dict, data: np.ndarray) -> np.ndarray:
    try:
        dtype, shape, (begin, end) = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"]), entry["data_offsets"]
        if not 0 <= begin <= end <= len(data):
            raise ValueError
        array = data[begin:end].view(dtype).reshape(shape).copy()
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{os.fspath(path)}: tensor {name}: its type, shape and place do not fit the file, which is damaged "
                         "or of another kind") from None
    return (array.astype(np.uint32) << 16).view(np.float32) if entry["dtype"] == "BF16" else array


def _check_digest(path: PathLike, digest: np.ndarray | None, header: dict, data: np.ndarray, begin: int) -> None:
    if digest is not None and digest.shape == (1,) and digest.dtype == np.int64:
        at, end = (begin + offset for offset in header[_DIGEST]["data_offsets"])
        if xxh64(data[:at].tobytes() + data[end:].tobytes()) == int(digest.view(np.uint64)[0]):
            return
    raise ValueError(f"{os.fspath(path)}: damaged: its bytes are not those that were written (the digest does not fit)")


# ---- XXH64 ----

_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_MASK = (1 << 64) - 1


def _library() -> ctypes.CDLL | None:
    """libxxhash, where the system has it; it is a hundred times as fast as Python."""
    try:
        library = ctypes.CDLL("libxxhash.so.0")
        library.XXH64.restype, library.XXH64.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
        return library
    except (OSError, AttributeError):
        return None


_xxhash = _library()


def xxh64(data: bytes) -> int:
    """XXH64 of the bytes, seed 0."""
    return _xxhash.XXH64(data, len(data), 0) if _xxhash else xxh64_plain(data)


def _turned(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK


def _round(lane: int, word: int) -> int:
    return _turned((lane + word * _P2) & _MASK, 31) * _P1 & _MASK


def xxh64_plain(data: bytes) -> int:
    """The same in Python alone, some ten million bytes a second; as the algorithm's specification has it."""
    whole = len(data) // 32 * 32
    value = _P5
    if whole:
        lanes = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
        products = (np.frombuffer(data, "<u8", whole // 8) * np.uint64(_P2)).tolist()  # modulo 2^64
        for i, lane in enumerate(lanes):
            for product in products[i::4]:
                lane = lane + product & _MASK
                lane = (lane << 31 | lane >> 33) * _P1 & _MASK
            lanes[i] = lane
        value = sum(_turned(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18))) & _MASK
        for lane in lanes:
            value = ((value ^ _round(0, lane)) * _P1 + _P4) & _MASK
    value = value + len(data) & _MASK
    rest = data[whole:]
    while len(rest) >= 8:
        value = (_turned(value ^ _round(0, int.from_bytes(rest[:8], "little")), 27) * _P1 + _P4) & _MASK
        rest = rest[8:]
    if len(rest) >= 4:
        value = (_turned(value ^ int.from_bytes(rest[:4], "little") * _P1 & _MASK, 23) * _P2 + _P3) & _MASK
        rest = rest[4:]
    for byte in rest:
        value = _turned(value ^ byte * _P5 & _MASK, 11) * _P1 & _MASK
    value = (value ^ value >> 33) * _P2 & _MASK
    value = (value ^ value >> 29) * _P3 & _MASK
    return value ^ value >> 32
