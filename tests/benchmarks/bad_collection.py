"""300 images on a real S3 server, every odd and broken kind of the corpus among them, by command.

One source vanishes between the listing and its reading. Prints what became of each kind.
"""

import os
import subprocess
import sys
from collections import Counter

from tasks import storage
from tests import collections as c
from tests.corpus import bad_images, good_image
from tests.s3_server import s3_server

_IMAGES = 300
_VANISHING = "zz/vanishes.png"


def _put_collection(source: str) -> dict[str, bool]:
    """Fill the source; name -> whether it can be converted."""
    odd = bad_images()
    good = _IMAGES - len(odd) - 1
    pictures = {f"good/{i:03d}.{'jpg' if i % 2 else 'png'}": good_image(i) for i in range(good)}
    pictures |= {f"odd/{name}": data for name, (data, _) in odd.items()}
    pictures[_VANISHING] = good_image(1)
    c.put(source, pictures)
    expected = dict.fromkeys(pictures, True) | {f"odd/{n}": ok for n, (_, ok) in odd.items()}
    return expected | {_VANISHING: False}


def _upscale(source: str, destination: str, max_failed: str, *, vanish: bool) -> tuple[int, str]:
    command = [sys.executable, "-m", "flows.cli", "upscale", source, destination]
    command += ["--shard-size", "50", "--max-failed", max_failed]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        while vanish and process.poll() is None:
            if storage.is_folder(storage.join(destination, "images")):  # it is listed by now
                storage.delete(storage.join(source, _VANISHING))
                break
        out, err = process.communicate()
    return process.returncode, (out + err).strip()


def main() -> None:
    """Run it once strictly, and once more with failures allowed."""
    with s3_server() as server:
        os.environ.update(server.environment)
        storage.disconnect()
        source, destination = (f"s3://{server.bucket}/{name}" for name in ("in", "out"))
        expected = _put_collection(source)
        code, said = _upscale(source, destination, "0.1", vanish=True)
        sys.stdout.write(f"exit code {code}: {said}\n")
        rows = c.current_rows(destination)
        listed = c.manifest(destination).num_rows
        wrong = [
            name
            for name, ok in expected.items()
            if (rows.get(storage.join(source, name), {}).get("status") == "ok") != ok
        ]
        sys.stdout.write(
            f"{len(expected)} sources, {listed} rows, {len(rows)} distinct, {len(wrong)} not as"
            f" expected {wrong}\n"
        )
        kinds = Counter(str(r["error_type"]) for r in rows.values() if r["status"] == "failed")
        sys.stdout.write(f"failures: {dict(sorted(kinds.items()))}\n")
        for row in sorted(rows.values(), key=lambda r: str(r["source"])):
            if row["status"] == "failed":
                name = str(row["source"]).removeprefix(source + "/")
                sys.stdout.write(f"  {name}: {row['error']}\n")
        code, said = _upscale(source, destination, "0.5", vanish=False)
        sys.stdout.write(f"again, half may fail: exit code {code}: {said.splitlines()[-1]}\n")


if __name__ == "__main__":
    main()
