"""Fetch the corpora before a class: `python -m rnnlib.data`, or some: `python -m rnnlib.data shakespeare imdb`."""

import sys

from rnnlib import data

if __name__ == "__main__":
    try:
        data.prefetch(*sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
