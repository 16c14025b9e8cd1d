"""Who remembers over how long a delay? RNN, GRU and LSTMs with three forget biases on two tasks, five seeds each.

    python -m benchmarks.memory

Chapter 5 shows the curves; every run is written to rnnlib/results/memory.json.
"""

import rnnlib
from benchmarks import record
from rnnlib import memory_tasks

LENGTHS = {"remember the first symbol": (5, 10, 20, 40, 80), "add the two marked numbers": (10, 20, 40, 80)}
RATES, SEEDS = (0.003, 0.01), range(5)


def main():
    rnnlib.setup(0)
    rows = []
    for task, lengths in LENGTHS.items():
        for length in lengths:
            for cell in memory_tasks.CELLS:
                for lr in RATES:
                    for seed in SEEDS:
                        run = memory_tasks.learn(cell, task, length, seed, lr=lr)
                        setting = {"task": task, "length": length, "cell": cell, "lr": lr, "seed": seed}
                        rows.append(setting | {name: round(value, 3) for name, value in run.items()})
                    print(
                        f"{task}, {length}, {cell}, lr {lr}:", [row["right"] for row in rows[-len(SEEDS) :]], flush=True
                    )
    record.write("memory", rows)


if __name__ == "__main__":
    main()
