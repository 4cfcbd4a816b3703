"""`make bench`: throughput, start-up, memory and planning, one after the other."""

import runpy
import sys

MEASUREMENTS = ("throughput", "startup", "memory", "planning")

for name in sys.argv[1:] or MEASUREMENTS:
    sys.stdout.write(f"\n== {name}\n")
    sys.stdout.flush()
    sys.argv = [name]
    runpy.run_module(f"tests.benchmarks.{name}", run_name="__main__")
