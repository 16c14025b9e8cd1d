"""Side-by-side measurements in one process on one thread: `make bench`, or `python -m benchmarks speed writing`.

    python -m benchmarks                          the short ones, some minutes
    python -m benchmarks recipes chapters         those with these names
    python -m benchmarks --device cuda speed      on a GPU; its results are kept apart, as speed_cuda
    python -m benchmarks compare OLD.json NEW.json
    python -m benchmarks picture                  draw the recorded results beside d2l's

Rivals take turns within a measurement; the median of their turns counts, with the fastest and slowest beside it. Times
are CPU seconds, so that other work on the machine disturbs them less, and real ones on a GPU. Results go to
rnnlib/results as JSON and as a Markdown table. A ratio travels between machines, a number of seconds does not.
"""

import argparse
import sys

import torch

import rnnlib
from benchmarks import compare, picture, record, shipping, training, using

SHORT = (training.speed, training.recipes, using.writing, using.gradient_flow, using.explorers, using.imports)
LONG = (training.scaling, training.threads, training.falling_rate, using.imdb_pace, using.chapters)
SHIPPING = (
    shipping.shipping_step,
    shipping.shipping_sequence,
    shipping.shipping_streams,
    shipping.shipping_context,
)
TOPICS = {topic.__name__: topic for topic in (*SHORT, *LONG, *SHIPPING)}


def main():
    """Run the topics named on the command line, or the short ones, and write what was measured."""
    if sys.argv[1:2] == ["compare"]:
        compare.main(sys.argv[2:])
        return
    if sys.argv[1:] == ["picture"]:
        picture.write()
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("topics", nargs="*", help=f"of {', '.join(TOPICS)}")
    parser.add_argument("--device", default="cpu", type=torch.device, help="cpu (as the recorded results) or cuda")
    arguments = parser.parse_args()
    if unknown := set(arguments.topics) - set(TOPICS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(TOPICS)}")
    for name in arguments.topics or [topic.__name__ for topic in SHORT]:
        rnnlib.setup(0)
        rows = TOPICS[name](arguments.device)
        kept = name if arguments.device.type == "cpu" else f"{name}_{arguments.device.type}"
        record.write(kept, rows, TOPICS[name].__doc__, f"python -m benchmarks --device {arguments.device} {name}")
        print(f"## {kept}\n\n{TOPICS[name].__doc__}\n\n{record.table(rows)}\n", flush=True)


if __name__ == "__main__":
    main()
