"""docs/images/chairs.png: python -m tests.benchmarks.chair_pictures [MODEL] [SHEET].

Three turntables of eight views, two morphs of eight steps, and a blend of three chairs from all
sides; as the network draws them, twice as large.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.chair_networks import ChairGenerator, over_white
from models.chair_views import PARAMETERS, view_vector
from tasks.chair_models import load_generator

_DEFAULT = Path(__file__).parents[2] / "docs" / "images" / "chairs.png"
_COLUMNS, _ELEVATION = 8, 20.0


def row(network: ChairGenerator, chairs: Tensor, azimuths: Tensor) -> Tensor:
    """(8, classes) and (8,) -> one strip (3, size, 8 size)."""
    view = view_vector(azimuths, torch.full_like(azimuths, _ELEVATION))
    with torch.inference_mode():
        color, mask = network.draw(chairs, view, torch.zeros(len(chairs), len(PARAMETERS)))
    return torch.cat(list(over_white(color, mask)), 2)


def main() -> None:
    network = load_generator(sys.argv[1] if len(sys.argv) > 1 else None, "").network
    sheet = Path(sys.argv[2]) if len(sys.argv) > 2 else _DEFAULT
    one = torch.eye(network.config.classes)
    round_about = torch.arange(_COLUMNS) * 360.0 / _COLUMNS
    aside, share = torch.full((_COLUMNS,), 35.0), torch.linspace(0, 1, _COLUMNS)[:, None]
    rows = [row(network, one[n].expand(_COLUMNS, -1), round_about) for n in (3, 17, 30)]
    rows += [
        row(network, (1 - share) * one[a] + share * one[b], aside) for a, b in ((3, 17), (5, 40))
    ]
    blend = 0.4 * one[3] + 0.3 * one[17] + 0.3 * one[30]
    rows.append(row(network, blend.expand(_COLUMNS, -1), round_about))
    pixels = (torch.cat(rows, 1).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC).save(sheet)


if __name__ == "__main__":
    main()
