"""The rungs of the ladder of IMDB, what was tried beside them, and what is compared with what."""

import dataclasses

RUNS = {2: 3, 3: 4}  # pairs that stand in at least three reviews, triples in four


@dataclasses.dataclass(frozen=True)
class Rung:
    """What a rung adds to words, and with which settings it is trained."""

    runs: dict = dataclasses.field(default_factory=dict)  # the least number of reviews by length of run
    star_weight: float = 0.0
    teacher_weight: float = 0.0
    teacher: str = "counts, pairs"
    length: int = 400  # words kept of a review in training, its last
    read: int = 1000  # words kept when it is judged
    epochs: int = 2
    part: str = "train"  # or "all" 25,000 reviews: then nothing is held out, and the last weights are kept
    num_hiddens: int = 64
    bag: bool = True  # the mean of the inputs is read out too
    keep: str = "tail"
    lr: float = 3e-3
    words_lr: float = 5e-3
    table_lr: float = 5e-3  # of the tables of runs
    decay: float = 0.9  # of the moving average, each ten steps
    pretrained: bool = False
    seeds: int = 1


TOP = "runs, stars, teacher"
BOTH = "runs, stars, teacher of both kinds"
PRETRAINED = ", pretrained"
WORDS = "words, stars, pretrained"
ALL = ", all reviews"
top = Rung(RUNS, star_weight=0.5, teacher_weight=1.0, seeds=3)
pretrained = {"num_hiddens": 128, "words_lr": 1e-3, "pretrained": True}
words = Rung(star_weight=0.5, bag=False, **pretrained)
RUNGS = {
    "words": Rung(),
    "words, stars": Rung(star_weight=0.5),
    "words, teacher": Rung(teacher_weight=1.0),
    "runs": Rung(RUNS),
    "runs, stars": Rung(RUNS, star_weight=0.5),
    TOP: top,
    TOP + ALL: dataclasses.replace(top, part="all"),
    BOTH: dataclasses.replace(top, teacher="network and triples", seeds=1),
    WORDS: words,
    WORDS + ALL: dataclasses.replace(words, part="all"),
    TOP + PRETRAINED: dataclasses.replace(top, seeds=1, **pretrained),
}
SHORT = "200 words in training"
short = dataclasses.replace(top, length=200, seeds=1)
TRIED = {  # judged on held-out reviews alone, each with one thing changed in the first, seed 0
    SHORT: short,
    "without the bag": dataclasses.replace(short, bag=False),
    "pairs alone": dataclasses.replace(short, runs={2: 3}),
    "three epochs": dataclasses.replace(short, epochs=3),
    "teacher counts double": dataclasses.replace(short, teacher_weight=2.0),
    "stars count double": dataclasses.replace(short, star_weight=1.0),
    "beginning and end": dataclasses.replace(short, keep="both_ends"),
    "slower layers": dataclasses.replace(short, lr=1.5e-3),
    "rarer runs": dataclasses.replace(short, runs={2: 2, 3: 2}),
    "teacher of triples": dataclasses.replace(short, teacher="counts, triples"),
    "128 units": dataclasses.replace(short, num_hiddens=128),
    "slower tables of runs": dataclasses.replace(short, table_lr=2.5e-3),
    "longer average": dataclasses.replace(short, decay=0.97),
    "runs of four": dataclasses.replace(short, runs=RUNS | {4: 4}),
}
COUNTS = {"counts, pairs": (2, "train"), "counts, triples": (3, "train")}  # the longest run that is counted
COUNTS |= {name + ALL: (longest, "all") for name, (longest, _) in COUNTS.items()}
COMPARED = [  # each with what it stands beside
    ("words, stars", "words"),
    ("words, teacher", "words"),
    (WORDS, "words, stars"),
    (WORDS + ALL, WORDS),
    ("runs", "words"),
    ("runs, stars", "runs"),
    (TOP, "runs, stars"),
    (TOP + ALL, TOP),
    (BOTH, TOP),
    (TOP + PRETRAINED, TOP),
    (TOP + ALL, "counts, pairs" + ALL),
    (TOP + ALL, "counts, triples" + ALL),
    (TOP + ALL + ": 3 averaged", "counts, triples" + ALL),
    (SHORT, TOP),
    *((name, SHORT) for name in TRIED if name != SHORT),
]
