"""Give a trained painter other styles: what it has learned of pictures stays, rows are added.

Source: Dumoulin et al. 2017, arXiv:1610.07629, section 3.2: a style is ~0.2 % of the parameters.
Differs: a new row begins at the mean of the old ones.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from models.style_feedforward import ConditionalInstanceNorm, ConditionalScale, Painter


def restyled(painter: Painter, styles: Sequence[str]) -> Painter:
    """The same network for these styles: one that it has keeps its row, bit for bit.

    The row of a new style is the mean of all that the painter has.
    """
    old = painter.config.styles
    made = Painter(replace(painter.config, styles=tuple(styles)))
    state = dict(painter.state_dict())
    for name, rows in _rows_of(painter):
        mean = rows.detach().mean(0)
        state[name] = torch.stack(
            [rows.detach()[old.index(style)] if style in old else mean for style in styles]
        )
    made.load_state_dict(state)
    return made


def train_rows_only_(painter: Painter, rows: Sequence[int]) -> None:
    """Leave nothing but the rows of these styles to training: all else gets no gradient, or 0.

    Adam leaves a value whose gradient was always 0 as it is, bit for bit.
    """
    painter.requires_grad_(False)
    for _, parameter in _rows_of(painter):
        parameter.requires_grad_(True)
        mask = torch.zeros(len(parameter), *[1] * (parameter.ndim - 1))
        mask[list(rows)] = 1
        parameter.register_hook(_masking(mask))  # type: ignore[no-untyped-call]


def _masking(mask: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gradient: gradient * mask.to(gradient)


def _rows_of(painter: Painter) -> Iterator[tuple[str, nn.Parameter]]:
    """All parameters that have a row for each style."""
    for name, module in painter.named_modules():
        if isinstance(module, ConditionalInstanceNorm | ConditionalScale):
            yield f"{name}.gain", module.gain
            yield f"{name}.shift", module.shift
    yield "skip", painter.skip
