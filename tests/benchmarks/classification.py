"""Does super-resolution help a classifier? 32x32 made 16x16, enlarged, and classified.

Without arguments: patches of ten textures, trained on their left halves and tested on their right
ones. With `--train` and `--test`: any labelled collection, such as CIFAR-10's Parquet files.
"""

import argparse
import hashlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from PIL import Image
from rich.console import Console

from flows.cli_evaluate import classification_table
from models.classifiers import SmallClassifier, SmallClassifierConfig, write_classifier
from models.pixels import Pixels
from tasks import storage
from tasks.classification import ClassificationRequest, evaluate_classification
from tasks.labelled import read_labelled
from tasks.picture_pairs import decode_colour
from tasks.registry import shipped_models
from tests.corpus import saved

SIDE, SCALE = 32, 2
_TEXTURES = Path("../shared/data/style/textures")
_CLASSES = ("brick", "grass", "gravel", "embark_1", "embark_2", "embark_4", "embark_5",
            "embark_multi_1", "gatys_pebbles", "swd_input")  # fmt: skip
_CAPTION = 16  # rows below gatys_pebbles that say where it is from
_MODELS = ("srcnn-x2", "mill-x2")
_BATCH = 64


def labelled_parquet(
    pictures: Sequence[bytes], labels: Sequence[int], classes: Sequence[str]
) -> bytes:
    """A Parquet file of encoded pictures and their classes, as Hugging Face lays CIFAR-10 out."""
    features = {
        "img": {"_type": "Image"},
        "label": {"names": list(classes), "_type": "ClassLabel"},
    }
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema(
        {"img": image, "label": pa.int64()},
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    rows = [{"bytes": d, "path": f"{hashlib.sha256(d).hexdigest()[:16]}.png"} for d in pictures]
    sink = io.BytesIO()
    pq.write_table(pa.table({"img": rows, "label": list(labels)}, schema=schema), sink)
    return sink.getvalue()


def _textures(folder: Path) -> list[Image.Image]:
    """In gray and of one mean and contrast: only the pattern tells them apart, not the color."""
    found = []
    for name in _CLASSES:
        path = next(p for p in sorted(folder.iterdir()) if p.stem == name)
        with Image.open(path) as opened:
            gray = np.asarray(opened.convert("L"), dtype=np.float64)
        gray = gray[:-_CAPTION] if name == "gatys_pebbles" else gray
        level = 128 + 48 * (gray - gray.mean()) / gray.std()
        found.append(Image.fromarray(level.clip(0, 255).astype(np.uint8)))
    return found


def texture_patches(folder: Path, count: int, *, right: bool, seed: int) -> bytes:
    """Labelled patches of 32x32, RGB of equal channels, from one half of each texture.

    Each is a square of 32 to 64 pixels, made 32x32, with a brightness and contrast of its own.
    """
    rng = np.random.default_rng(seed)
    pictures, labels, textures = [], [], _textures(folder)
    for number in range(count):
        label = number % len(textures)
        texture, side = textures[label], int(rng.integers(SIDE, 2 * SIDE + 1))
        half = texture.width // 2
        left = int(rng.integers(half, texture.width - side + 1) if right
                   else rng.integers(0, half - side + 1))  # fmt: skip
        top = int(rng.integers(0, texture.height - side + 1))
        patch = texture.crop((left, top, left + side, top + side))
        small = np.asarray(patch.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64)
        levels = 128 + rng.uniform(0.6, 1.2) * (small - 128) + rng.uniform(-24, 24)
        shown = Image.fromarray(levels.clip(0, 255).astype(np.uint8)).convert("RGB")
        pictures.append(saved(shown, "PNG"))
        labels.append(label)
    return labelled_parquet(pictures, labels, _CLASSES)


def read_all(uri: str) -> tuple[Pixels, list[str]]:
    """(N, 32, 32, 3) and the labels of a whole labelled collection of such pictures."""
    pictures, labels = [], []
    for source in read_labelled(storage.normalise(uri)):
        pixels = decode_colour(source.load())
        pictures.append(pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels)
        labels.append(source.label)
    return np.stack(pictures), labels


def train(pictures: Pixels, labels: list[str], *, seconds: float, seed: int) -> SmallClassifier:
    """A small classifier trained for a time: flips, shifts of 4 pixels, SGD, linear decay."""
    torch.manual_seed(seed)  # the layers draw their own weights
    generator = torch.Generator().manual_seed(seed)
    classes = tuple(sorted(set(labels)))
    network = SmallClassifier(SmallClassifierConfig(classes=classes)).train()
    network.to(memory_format=torch.channels_last)
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    y = torch.tensor([classes.index(label) for label in labels])
    rate, began, step = 0.05, time.monotonic(), 0
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, nesterov=True,
                                weight_decay=5e-4)  # fmt: skip
    while (passed := (time.monotonic() - began) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - passed)
        chosen = torch.randint(len(x), (_BATCH,), generator=generator)
        loss = F.cross_entropy(network(_augmented(x[chosen], generator)), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
    sys.stdout.write(f"{step} steps of {_BATCH} pictures in {seconds:.0f} s, loss {loss:.3f}\n")
    return network.to(memory_format=torch.contiguous_format).eval()


def _augmented(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    top, left = (int(v) for v in torch.randint(0, 9, (2,), generator=generator))
    shifted = F.pad(batch.float() / 255, [4] * 4, mode="reflect")
    shifted = shifted[..., top : top + batch.shape[-2], left : left + batch.shape[-1]]
    flip = torch.rand(len(batch), generator=generator) < 0.5
    return torch.where(flip.view(-1, 1, 1, 1), shifted.flip(-1), shifted)


def main() -> None:
    """Make or take the data, train on originals, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", help="a labelled collection to train on, else textures")
    parser.add_argument("--test", help="a labelled collection to test on, else textures")
    parser.add_argument("--textures", type=Path, default=_TEXTURES)
    parser.add_argument("--patches", type=int, default=8000, help="of textures, to train on")
    parser.add_argument("--test-patches", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", nargs="*", default=_MODELS)
    parser.add_argument("--output", help="where results.parquet goes, else nowhere")
    given = parser.parse_args()
    if (given.train is None) != (given.test is None):
        parser.error("--train and --test go together")
    torch.set_num_threads(1)
    models = [name for name in given.models if name in shipped_models() or "/" in name]
    for name in set(given.models) - set(models):
        sys.stdout.write(f"{name} is not shipped: left out\n")
    with tempfile.TemporaryDirectory() as folder:
        train_on, test_on = given.train, given.test
        if train_on is None:
            train_on, test_on = f"{folder}/train.parquet", f"{folder}/test.parquet"
            for path, count, right in ((train_on, given.patches, False),
                                       (test_on, given.test_patches, True)):  # fmt: skip
                data = texture_patches(given.textures, count, right=right, seed=given.seed + right)
                Path(path).write_bytes(data)
        network = train(*read_all(train_on), seconds=given.seconds, seed=given.seed)
        classifier = Path(folder, "small-classifier.safetensors")
        classifier.write_bytes(write_classifier(network, metrics={}))
        report = evaluate_classification(
            ClassificationRequest(
                labelled=test_on,
                classifier=str(classifier),
                models=tuple(models),
                scale=SCALE,
                output=given.output,
            )
        )
    Console(width=100).print(classification_table(report))


if __name__ == "__main__":
    main()
