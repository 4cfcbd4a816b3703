"""Completing pictures: drawing what is missing, given what is there."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.pixel_likelihood import PixelNetwork
from models.pixel_sampling import Given, Sampler, draw_noise, sample


@dataclass(frozen=True, kw_only=True)
class Completions:
    """Several completions of every picture.

    Args:
        images: levels (N, completions, C, H, W), uint8; what was given is as it was.
        exact: (N,) whether they are draws from the model's conditional distribution: see
            `is_exact`.
    """

    images: Tensor
    exact: Tensor


def is_exact(missing: Tensor) -> Tensor:
    """(N, H, W) -> (N,): whether all that is given comes before all that is missing.

    An autoregressive model draws a pixel given those before it in raster order. A missing lower
    half is exact: everything given comes first. Of a hole or a missing right strip each pixel
    looks at what is given above and to the left, and not at what is given after it: then the
    completion fits the picture less well at its lower and right edges, and is no exact draw.
    """
    flat = missing.flatten(1)
    begun = flat.cummax(1).values
    return ~(begun & ~flat).any(1)


def complete(
    network: PixelNetwork,
    images: Tensor,
    missing: Tensor,
    generator: torch.Generator,
    *,
    completions: int = 1,
    labels: Tensor | None = None,
    temperature: float = 1.0,
    sampler: Sampler = "cached",
) -> Completions:
    """Draw the missing pixels.

    Args:
        images: levels (N, C, H, W), integers; missing pixels are not looked at.
        missing: booleans (N, H, W), or (H, W) for all pictures.
        completions: how many of each picture.
    Raises:
        ValueError: shapes that do not fit, no completion wanted, and what `sample` refuses.
    """
    if completions < 1:
        raise ValueError(f"completions must be at least 1, got {completions}")
    if missing.ndim == 2:
        missing = missing.expand(len(images), *missing.shape)
    wanted = (images.shape[0], *images.shape[2:])
    if missing.dtype != torch.bool or tuple(missing.shape) != wanted:
        raise ValueError(
            f"missing must be booleans {wanted}, got {missing.dtype} {tuple(missing.shape)}"
        )
    known = (~missing)[:, None].expand_as(images)
    kept = torch.where(known, images, 0)
    each = [t.repeat_interleave(completions, 0) for t in (kept, known)]
    n, c, h, w = each[0].shape
    drawn = sample(
        network,
        draw_noise((n, c, h, w), generator),
        labels=None if labels is None else labels.repeat_interleave(completions, 0),
        temperature=temperature,
        given=Given(levels=each[0], known=each[1]),
        sampler=sampler,
    )
    return Completions(
        images=drawn.view(len(images), completions, c, h, w), exact=is_exact(missing)
    )
