"""Lossless compression: the model predicts, a range coder writes what it did not know.

One container holds any number of pictures of one size in one stream. Site by site and symbol by
symbol, all pictures of a group are coded with the integer probabilities of the cached evaluator
(`models.pixel_stepping`), whose numbers do not depend on the group; the decoder runs the same
code on the same symbols, and so reads the same integers.

A container, numbers little-endian:
    "PXMC", version (u8), channels (u8), height, width (u16), pictures (u32), classes? (u8)
    model digest (16), pixel digest (8), payload words (u32)
    labels (u16 each, if the model has classes), payload (u32 words)
    crc32 of all that (u32)
The crc refuses damaged files, the model digest other models; the pixel digest is of the levels
that were encoded and refuses whatever is left, as a machine that computes other float32 sums.
Range coder: `constriction` (Bamler 2022, arXiv:2201.01741).
"""

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, cast

import constriction
import numba as nb
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.pixel_likelihood import PixelNetwork, check_levels
from models.pixel_probabilities import TOTAL, Counts, Numbers, cumulative_counts, head_code
from models.pixel_program import Program, program_of
from models.pixel_stepping import Stepper

MAGIC, VERSION = b"PXMC", 1
GROUP = 64
"""Pictures that are coded side by side."""

_HEAD = struct.Struct("<4sBBHHIB16s8sI")
_CRC = struct.Struct("<I")
Probabilities: TypeAlias = npt.NDArray[np.float32]
Levels: TypeAlias = npt.NDArray[np.int32]
Take: TypeAlias = Callable[[Probabilities, slice, tuple[int, int, int]], Levels]


class ContainerError(ValueError):
    """Bytes that are no container, or a damaged one, or one of another model."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """What the bytes say before anything is decoded."""

    channels: int
    height: int
    width: int
    pictures: int
    labels: Counts | None
    model: bytes
    pixels: bytes
    payload: npt.NDArray[np.uint32]


def compress(
    network: PixelNetwork, images: Tensor, *, digest: bytes, labels: Tensor | None = None
) -> bytes:
    """A container of pictures.

    Args:
        network: PixelCNN, Gated PixelCNN or PixelCNN++ in evaluation mode, on the CPU.
        images: levels (N, C, H, W), integers.
        digest: names the model's weights; the decoder must give the same.
        labels: (N,) classes for a network that has some; they are stored.
    Raises:
        ValueError: levels, sizes or labels that do not fit, or no picture.
    """
    if not len(images):
        raise ValueError("there is no picture to compress, wanted at least one")
    check_levels(images, network.sites)
    sites = np.ascontiguousarray(network.sites.of(images).long().numpy())
    encoder = constriction.stream.queue.RangeEncoder()
    model = constriction.stream.model.Categorical(perfect=False)

    def take(probabilities: Probabilities, group: slice, place: tuple[int, int, int]) -> Levels:
        symbol, y, x = place
        chosen = sites[group, symbol, y, x].astype(np.int32)
        encoder.encode(chosen, model, probabilities)
        return chosen

    numbers = None if labels is None else labels.numpy().astype(np.int64)
    _walk(network, sites.shape, numbers, take)
    payload = np.asarray(encoder.get_compressed(), dtype="<u4")
    n, c, h, w = images.shape
    head = _HEAD.pack(
        MAGIC,
        VERSION,
        c,
        h,
        w,
        n,
        int(numbers is not None),
        _model_digest(digest),
        _pixel_digest(images),
        len(payload),
    )
    stored = b"" if numbers is None else numbers.astype("<u2").tobytes()
    body = head + stored + payload.tobytes()
    return body + _CRC.pack(zlib.crc32(body))


def decompress(network: PixelNetwork, data: bytes, *, digest: bytes) -> Tensor:
    """The pictures of a container: levels (N, C, H, W), uint8; exact or nothing.

    Raises:
        ContainerError: it is none, damaged, of another model, or decodes to other pixels here
            than on the machine that made it.
    """
    container = read_container(data)
    if container.model != _model_digest(digest):
        raise ContainerError(
            f"the container was made by another model (digest {container.model.hex()}),"
            f" this one is {_model_digest(digest).hex()}"
        )
    sites = network.sites
    if container.channels != sites.channels or container.width % sites.run:
        raise ContainerError(
            f"the container has pictures {container.width} wide of {container.channels} channels,"
            f" the model wants {sites.channels} and multiples of {sites.run}"
        )
    shape = (container.pictures, sites.symbols, container.height, container.width // sites.run)
    symbols = np.zeros(shape, dtype=np.int64)
    decoder = constriction.stream.queue.RangeDecoder(container.payload)
    model = constriction.stream.model.Categorical(perfect=False)

    def take(probabilities: Probabilities, group: slice, place: tuple[int, int, int]) -> Levels:
        symbol, y, x = place
        try:
            chosen = cast(Levels, decoder.decode(model, probabilities))
        except AssertionError as error:  # constriction's word for a stream that cannot be
            raise ContainerError(
                f"the container's stream does not fit the model: {error}"
            ) from error
        symbols[group, symbol, y, x] = chosen
        return chosen

    _walk(network, shape, container.labels, take)
    images = sites.images(torch.from_numpy(symbols)).to(torch.uint8).contiguous()
    if _pixel_digest(images) != container.pixels:
        raise ContainerError(
            "the decoded pixels are not those that were compressed (their digests differ):"
            " this machine computes the model's probabilities differently, or the weights differ"
        )
    return images


def read_container(data: bytes) -> Container:
    """The parts of a container.

    Raises:
        ContainerError: it is none, of a version to come, truncated or damaged.
    """
    if len(data) < 5 or data[:4] != MAGIC:
        raise ContainerError(f"these {len(data)} bytes are no container of compressed pictures")
    if data[4] != VERSION:
        raise ContainerError(f"the container has version {data[4]}, wanted {VERSION}")
    if len(data) < _HEAD.size + _CRC.size:
        raise ContainerError(f"the container is truncated: {len(data)} bytes, not even its head")
    _, _, c, h, w, n, labelled, model, pixels, words = _HEAD.unpack_from(data)
    size = _HEAD.size + 2 * n * labelled + 4 * words + _CRC.size
    if len(data) != size:
        what = "truncated" if len(data) < size else "longer than it says"
        raise ContainerError(f"the container is {what}: {len(data)} bytes, wanted {size}")
    body = data[: -_CRC.size]
    if _CRC.unpack(data[-_CRC.size :])[0] != zlib.crc32(body):
        raise ContainerError("the container is damaged: its checksum does not fit its bytes")
    start = _HEAD.size + 2 * n * labelled
    labels = np.frombuffer(body[_HEAD.size : start], dtype="<u2").astype(np.int64)
    return Container(
        channels=c,
        height=h,
        width=w,
        pictures=n,
        labels=labels if labelled else None,
        model=model,
        pixels=pixels,
        payload=np.frombuffer(body[start:], dtype="<u4").astype(np.uint32),
    )


def _model_digest(digest: bytes) -> bytes:
    return hashlib.blake2b(digest, digest_size=16).digest()


def _pixel_digest(images: Tensor) -> bytes:
    levels = images.to(torch.uint8).contiguous().numpy()
    shape = struct.pack("<4I", *levels.shape)
    return hashlib.blake2b(shape + levels.tobytes(), digest_size=8).digest()


def _walk(network: PixelNetwork, shape: tuple[int, ...], labels: Counts | None, take: Take) -> None:
    """Give every symbol's probabilities to `take`, which knows or decodes what it is."""
    if cast(nn.Module, network).training:
        raise ValueError("the network must be in evaluation mode, got one in training mode")
    program = program_of(cast(nn.Module, network))
    for start in range(0, shape[0], GROUP):
        group = slice(start, min(start + GROUP, shape[0]))
        chosen = None if labels is None else labels[group]
        _walk_group(network, program, (group.stop - start, *shape[1:]), chosen, group, take)


def _walk_group(
    network: PixelNetwork,
    program: Program,
    shape: tuple[int, ...],
    labels: Counts | None,
    group: slice,
    take: Take,
) -> None:
    many, count, height, width = shape
    head, levels = network.head, network.sites.levels
    code = head_code(head)
    stepper = Stepper(
        cast(nn.Module, network),
        batch=many,
        height=height,
        width=width,
        labels=labels,
        program=program,
    )
    symbols = np.zeros((many, count), dtype=np.int64)
    probabilities = np.empty((many, levels), dtype=np.float32)
    for y in range(height):
        stepper.begin_row(y)
        for x in range(width):
            scaled = np.zeros((many, count), dtype=np.float32)
            stepper.write(y, x, scaled)
            for s in range(count):
                if s == 0 or head.sequential:
                    parameters = stepper.site(y, x)
                _probabilities(code, parameters, symbols, s, probabilities)
                symbols[:, s] = take(probabilities, group, (s, y, x))
                scaled[:, s] = symbols[:, s] * (2 / (levels - 1)) - 1
                if s == count - 1 or head.sequential:
                    stepper.write(y, x, scaled)


@nb.njit(cache=True, nogil=True)
def _probabilities(
    code: tuple[int, int, int, int],
    parameters: Numbers,
    symbols: Counts,
    s: int,
    probabilities: Probabilities,
) -> None:
    """probabilities <- counts/2^24 of symbol s for every picture: exact as float32."""
    counts = np.empty(code[2] + 1, dtype=np.int64)
    for n in range(len(parameters)):
        cumulative_counts(code, parameters[n], symbols[n], s, 1.0, counts)
        for v in range(code[2]):
            probabilities[n, v] = np.float32(counts[v + 1] - counts[v]) / np.float32(TOTAL)
