"""Long measurements of this book, side by side with d2l's code and the hardware's limit."""

import os

# Before torch is imported: rivals are compared by the CPU seconds of one thread.
os.environ["OMP_NUM_THREADS"] = "1"
