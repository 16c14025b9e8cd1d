"""Fetch the corpora before a class: `python -m rnnlib.data`."""

from rnnlib import data

if __name__ == "__main__":
    data.prefetch()
