"""Trained models that come with the book, so that no class waits for them (built in chapters 4 and 5).

A checkpoint is a safetensors file in ``rnnlib/checkpoints``: the weights of a model, the history of its training and a
fingerprint of the text that it learned from. This command trains one anew and writes its file, in a few minutes::

    python -m rnnlib.pretrained shakespeare_gru
"""

import functools
import hashlib
import json
import math
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from rnnlib import data, environment, layers, text, training

FOLDER = Path(__file__).parent / "checkpoints"


def train_shakespeare(model, train_ids, valid_ids, epochs, **options):
    """Train a language model on a long text: windows of 25, Adam, a learning rate that falls along a straight line.

    Args:
        model: the language model.
        train_ids, valid_ids: token ids of the training and the held-out text.
        epochs: passes over the training text; each is cut into ten rounds, so that there is something to watch. The
            held-out text is measured ten times.
        **options: for :func:`rnnlib.training.fit`, such as ``landmarks``.

    Returns:
        History: one row a round.
    """
    windows = text.sequential_batches(train_ids, batch_size=64, num_steps=25)
    tenth = math.ceil(len(train_ids) / (10 * 64 * 25))  # minibatches in a round
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    rounds = 10 * epochs
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=rounds)
    return training.fit(
        model,
        text.Portions(windows, tenth),
        rounds,
        valid_batches=text.sequential_batches(valid_ids, 32, 50, offset=0),
        valid_every=epochs,
        optimizer=optimizer,
        scheduler=decay,
        **options,
    )


def shakespeare_gru():
    """Train the checkpoint of chapter 4 and return the model, its history and the ids that it learned from."""
    device = environment.setup(seed=0)
    characters = list(data.load_text("shakespeare"))
    vocab = text.Vocab(characters)
    ids = vocab[characters]
    size = int(0.9 * len(ids))
    train_ids, valid_ids = ids[:size], ids[size:]
    model = layers.LanguageModel(nn.GRU(64, 256), len(vocab), nn.Embedding(len(vocab), 64)).to(device)
    return model, train_shakespeare(model, train_ids, valid_ids, epochs=6), train_ids


LETTERS = text.Vocab(" abcdefghijklmnopqrstuvwxyz")  # the same ids for the same letters, whatever the text


def time_machine_model(layer_class, num_hiddens):
    """Build a language model for cleaned English, with about 84,000 parameters at the sizes of :data:`RECIPES`."""
    layer = layer_class(len(LETTERS), num_hiddens)
    nn.init.normal_(layer.weight_ih_l0, std=len(LETTERS) ** -0.5)  # the input moves a unit by about one (chapter 2)
    embedding = nn.Sequential(nn.Embedding(len(LETTERS), len(LETTERS)), nn.Dropout(0.1))
    return layers.LanguageModel(layer, len(LETTERS), embedding, dropout=0.3)


def time_machine(layer_class, num_hiddens, lr):
    """Train a checkpoint of chapter 5 and return the model, its history and the ids that it learned from."""
    device = environment.setup(seed=0)
    ids = LETTERS[list(text.clean(data.load_text("time_machine")))]
    size = int(0.9 * len(ids))
    model = time_machine_model(layer_class, num_hiddens).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    history = training.fit(
        model,
        text.sequential_batches(ids[:size], 32, 64),
        epochs=25,
        valid_batches=text.sequential_batches(ids[size:], 8, 64, offset=0),
        valid_every=5,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=25),
    )
    return model, history, ids[:size]


RECIPES = {
    "shakespeare_gru": shakespeare_gru,
    "time_machine_rnn": functools.partial(time_machine, nn.RNN, 260, lr=3e-3),
    "time_machine_gru": functools.partial(time_machine, nn.GRU, 148, lr=1e-2),
    "time_machine_lstm": functools.partial(time_machine, nn.LSTM, 128, lr=1.4e-2),
}


def load_or_train(model, train, ids, checkpoint=None):
    """Give a model the weights of a checkpoint, or train it.

    A checkpoint is taken only if it learned from the very same ids; otherwise a line says so and the model is trained.

    Args:
        model: of the form of the checkpoint.
        train: a function without arguments that trains the model and returns its History.
        ids: the token ids that ``train`` learns from.
        checkpoint: the name of a checkpoint; without one the model is trained.

    Returns:
        History: that of the checkpoint, or of the training.

    Raises:
        ValueError: for an unknown checkpoint, or one whose tensors don't fit the model.
    """
    if checkpoint is None:
        return train()
    weights, facts = load(checkpoint)
    if facts["fingerprint"] != fingerprint(ids):
        print(f"The checkpoint {checkpoint!r} learned from another text, so the model is trained here.")
        return train()
    check_shapes(checkpoint, weights, model.state_dict())
    model.load_state_dict(weights)
    history = training.History(json.loads(facts["landmarks"]))
    history.extend(json.loads(facts["history"]))
    history.status = "finished"
    return history


def check_shapes(checkpoint, weights, wanted):
    """Raise a ValueError that names the first misfit unless a checkpoint has just the tensors that a model wants."""
    for name in [*wanted, *weights]:
        there, here = (tuple(part[name].shape) if name in part else "nothing" for part in (weights, wanted))
        if there != here:
            raise ValueError(
                f"the checkpoint {checkpoint!r} doesn't fit this model: {name} is {there} in the checkpoint and {here} "
                "in the model, so make the model as the checkpoint's was"
            )


def load(name):
    """Return the tensors of a checkpoint by name, and the facts that are stored with them.

    Raises:
        ValueError: for an unknown name or a damaged file.
    """
    path = FOLDER / f"{name}.safetensors"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.safetensors")))
        raise ValueError(f"there is no checkpoint {name!r}; there are: {known}")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118 - no iterator
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged ({error}): install rnnlib again, or train it with python -m rnnlib.pretrained {name}"
        ) from None


def save(path, model, history, ids):
    """Write a checkpoint: the weights of a model, its history, and the fingerprint of the ids that it learned from."""
    facts = {
        "fingerprint": fingerprint(ids),
        "history": json.dumps(list(history)),
        "landmarks": json.dumps(history.landmarks),
    }
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, path, facts)


def fingerprint(ids):
    """Return the SHA-256 of a text's token ids."""
    return hashlib.sha256(torch.as_tensor(ids, dtype=torch.int64).cpu().numpy().tobytes()).hexdigest()


def main(names):
    """Train the checkpoints with these names and write their files."""
    for name in names or RECIPES:
        if name not in RECIPES:
            sys.exit(f"There is no checkpoint {name!r}; choose from {', '.join(RECIPES)}")
        model, history, ids = RECIPES[name]()
        save(FOLDER / f"{name}.safetensors", model, history, ids)
        print(f"{name}: held-out perplexity {history.best['valid']:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
