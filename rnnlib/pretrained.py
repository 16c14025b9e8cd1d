"""Trained models that come with the book, so that no class waits for them (built in chapters 0, 4, 5 and 9).

A checkpoint is a safetensors file in ``rnnlib/checkpoints``: the weights of a model, the history of its training and a
fingerprint of the text that it learned from. This command trains one anew and writes its file, in a few minutes (the
larger Shakespeare network, ``shakespeare_lstm``, in more than an hour)::

    python -m rnnlib.pretrained shakespeare_gru
"""

import functools
import hashlib
import json
import math
import os
import sys
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from rnnlib import attention, data, environment, gates, guards, layers, regularised, text, training

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
    guards.check_language_models(model=model)
    guards.check_learners(model=model)
    guards.check_sizes(epochs=epochs)
    windows = text.sequential_batches(train_ids, batch_size=64, num_steps=25)
    tenth = math.ceil(len(train_ids) / (10 * 64 * 25))  # minibatches in a round
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    rounds = 10 * epochs
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=rounds)
    return training.fit(
        model,
        text.BatchPortions(windows, tenth),
        rounds,
        valid_batches=text.sequential_batches(valid_ids, 32, 50, offset=0),
        valid_every=epochs,
        optimizer=optimizer,
        scheduler=decay,
        **options,
    )


# Shakespeare's characters, most frequent first, as Vocab finds them in the text.
CHARACTERS = text.Vocab(" etoahsrni\nldumy,wfcgIbp:.AvkT'EONRSLC;WUHMB?G!D-FYPKVjqxzJQZX3&$")


def shakespeare_model():
    """Build the language model of chapter 4."""
    return layers.LanguageModel(nn.GRU(64, 256), len(CHARACTERS), nn.Embedding(len(CHARACTERS), 64))


def shakespeare_gru():
    """Train the checkpoint of chapter 4 and return the model, its history and the ids that it learned from."""
    device = environment.setup(seed=0)
    characters = list(data.load_text("shakespeare"))
    ids = CHARACTERS[characters]
    size = int(0.9 * len(ids))
    train_ids, valid_ids = ids[:size], ids[size:]
    model = shakespeare_model().to(device)
    return model, train_shakespeare(model, train_ids, valid_ids, epochs=6), train_ids


def larger_shakespeare_model():
    """Build the larger network that chapter 0 begins with: two layers of LSTM, 1,903,554 numbers."""
    return layers.LanguageModel(nn.LSTM(64, 384, 2), len(CHARACTERS), nn.Embedding(len(CHARACTERS), 64))


def shakespeare_lstm(cycles=((24, 4e-3), (12, 2e-3), (16, 1.5e-3))):
    """Train the larger network, for long; return it, its history and the ids that it learned.

    Args:
        cycles: pairs of passes and the largest learning rate; each cycle begins with the averaged weights of the last.
    """
    environment.setup(seed=0)
    ids = torch.as_tensor(CHARACTERS[list(data.load_text("shakespeare"))])
    size = int(0.9 * len(ids))
    model = larger_shakespeare_model()
    gates.set_forget_bias(model.rnn, 1.0)
    history = training.History()
    for passes, lr in cycles:
        for row in regularised.train_regularised(model, ids[:size], ids[size:], passes, lr=lr):
            history.append(row | {"epoch": len(history) + 1})
    return model.half(), history, ids[:size]


LETTERS = text.Vocab(" abcdefghijklmnopqrstuvwxyz")  # the same ids for the same letters, whatever the text


def time_machine_model(layer_class, num_hiddens):
    """Build a language model for cleaned English, with about 84,000 parameters at the sizes of :data:`RECIPES`."""
    guards.check_sizes(num_hiddens=num_hiddens)
    guards.check_layer_class(layer_class)
    layer = layer_class(len(LETTERS), num_hiddens)
    nn.init.normal_(layer.weight_ih_l0, std=len(LETTERS) ** -0.5)  # the input moves a unit by about one (chapter 2)
    embedding = nn.Sequential(nn.Embedding(len(LETTERS), len(LETTERS)), nn.Dropout(0.1))
    return layers.LanguageModel(layer, len(LETTERS), embedding, dropout=0.3)


def _time_machine(layer_class, num_hiddens, lr):
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


def phoneme_model():
    """Build the model of chapter 9 that writes a word's phonemes, with about 190,000 parameters."""
    sizes = {"embed_size": 48, "num_hiddens": 96}
    encoder = attention.Encoder(len(attention.LETTERS), **sizes)
    return attention.EncoderDecoder(encoder, attention.AttentionDecoder(len(attention.PHONEMES), 48, 96))


def phonemes_attention(epochs=6):
    """Train the checkpoint of chapter 9 and return the model, its history and the ids that it learned to write."""
    device = environment.setup(seed=0)
    ways = attention.spoken_words(data.load_cmudict())
    train, valid, _ = data.split_dictionary(ways, 2000, 2000)
    symbols = attention.LETTERS, attention.PHONEMES
    pairs, held_out = ([attention.make_pair(w, ways[w][0], *symbols) for w in part] for part in (train, valid))
    model = phoneme_model().to(device)
    losses = attention.fit_pairs(model, list(attention.pair_batches(pairs, 128, epochs)))
    with torch.no_grad():
        batches = list(attention.pair_batches(held_out, len(held_out), 1))
        valid_loss = attention.pair_loss(model, *(ids.to(device) for ids in batches[0]))
    history = training.History()  # of one row: the passes share one schedule of the learning rate
    row = {"epoch": 1, "train": math.exp(losses[-len(losses) // epochs :].mean()), "valid": math.exp(valid_loss)}
    history.append(dict.fromkeys(history.keys) | row)
    return model, history, torch.cat([pair.target for pair in pairs])


def trained_phoneme_model():
    """Return the model of chapter 9 with the weights of its checkpoint."""
    model = phoneme_model()
    weights, _ = load("phonemes_attention")
    _check_tensors("phonemes_attention", weights, model.state_dict())
    model.load_state_dict(weights)
    return model.eval()


RECIPES = {
    "shakespeare_gru": shakespeare_gru,
    "shakespeare_lstm": shakespeare_lstm,
    "time_machine_rnn": functools.partial(_time_machine, nn.RNN, 260, lr=3e-3),
    "time_machine_gru": functools.partial(_time_machine, nn.GRU, 148, lr=1e-2),
    "time_machine_lstm": functools.partial(_time_machine, nn.LSTM, 128, lr=1.4e-2),
    "phonemes_attention": phonemes_attention,
}


def load_or_train(model, train, ids, checkpoint=None):
    """Give a model the weights of a checkpoint, or train it.

    A checkpoint is taken only if it learned from the very same ids; otherwise a line says so and the model is trained.

    Args:
        model: of the form of the checkpoint; it may be compiled.
        train: a function without arguments that trains the model and returns its History.
        ids: the token ids that ``train`` learns from.
        checkpoint: the name of a checkpoint of the book, or the path of one that :func:`save` wrote, which ends in
            ``.safetensors``; without one the model is trained.

    Returns:
        History: that of the checkpoint, or of the training. That of a checkpoint has no optimizer: to train on, give
        ``fit`` one.

    Raises:
        ValueError: for an unknown or damaged checkpoint, or one whose tensors don't fit the model.
    """
    guards.check_learners(model=model)
    guards.check_callable(train=train)
    if checkpoint is None:
        return train()
    guards.check_whole_numbers(ids, "that a checkpoint learned from", "give those that train learns from")
    weights, facts = load(checkpoint)
    if facts["fingerprint"] != fingerprint(ids):
        print(f"The checkpoint {str(checkpoint)!r} learned from another text, so the model is trained here.")
        return train()
    state = model.state_dict()
    _check_tensors(checkpoint, weights, {_plain_name(name): tensor for name, tensor in state.items()})
    model.load_state_dict({name: weights[_plain_name(name)] for name in state})
    history = training.History(json.loads(facts["landmarks"]))
    history.extend(json.loads(facts["history"]))
    history.status = "finished"
    return history


# How to build the model of each checkpoint, and its vocabulary.
MODELS = {
    "shakespeare_gru": (shakespeare_model, CHARACTERS),
    "shakespeare_lstm": (larger_shakespeare_model, CHARACTERS),
    "time_machine_rnn": (functools.partial(time_machine_model, nn.RNN, 260), LETTERS),
    "time_machine_gru": (functools.partial(time_machine_model, nn.GRU, 148), LETTERS),
    "time_machine_lstm": (functools.partial(time_machine_model, nn.LSTM, 128), LETTERS),
}


def load_model(name):
    """Return the language model of a checkpoint, trained and in evaluation mode, and its vocabulary.

    Raises:
        ValueError: for an unknown name or a damaged file.
    """
    guards.check_known(MODELS, name=name)
    weights, _ = load(name)
    build, vocab = MODELS[name]
    model = build()
    _check_tensors(name, weights, model.state_dict())
    model.load_state_dict(weights)
    return model.eval(), vocab


def _check_tensors(checkpoint, weights, wanted):
    """Raise a ValueError that names the first misfit unless a checkpoint has just the tensors that a model wants."""
    for name in [*wanted, *weights]:
        there, here = (tuple(part[name].shape) if name in part else "nothing" for part in (weights, wanted))
        if there != here:
            raise ValueError(
                f"the checkpoint {checkpoint!r} doesn't fit this model: {name} is {there} in the checkpoint and {here} "
                "in the model, so make the model as the checkpoint's was"
            )


def load(name):
    """Return the tensors of a checkpoint, and the facts that are stored with them.

    Args:
        name: of a checkpoint of the book, or a path that ends in ``.safetensors``.

    Raises:
        ValueError: for an unknown name, a damaged file, or one that :func:`save` didn't write.
    """
    if not isinstance(name, (str, os.PathLike)) or (isinstance(name, str) and "\0" in name):
        raise ValueError(f"checkpoint={name!r} must be the name of a checkpoint or the path of a .safetensors file")
    own = Path(name).suffix == ".safetensors"
    path = Path(name) if own else FOLDER / f"{name}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.safetensors")))
        raise ValueError(f"there is no checkpoint {str(name)!r}; there are: {known}, and files that save wrote")
    try:
        with safe_open(path, framework="pt") as file:
            weights, facts = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        remedy = "save it again" if own else f"install rnnlib again, or train it: python -m rnnlib.pretrained {name}"
        raise ValueError(f"{path} is damaged or no checkpoint ({error}): {remedy}") from None
    if not set(facts or {}) >= FACTS:
        raise ValueError(f"{path} holds tensors, but no history of a training: write it with rnnlib.pretrained.save")
    return weights, facts


FACTS = {"fingerprint", "history", "landmarks"}


def save(path, model, history, ids):
    """Write a checkpoint: the weights of a model, its history, and the fingerprint of the ids that it learned from.

    The file appears in one step, so nobody ever reads half of one. The state of the optimizer is left out.

    Args:
        path: of a file that ends in ``.safetensors``.
        model: tied weights are stored under each of their names, those of a compiled model under their own.
        history: the History that ``fit`` returned.
        ids: the token ids that the model learned from.

    Raises:
        ValueError: for another path, a folder that can't be written, or something that is no model or history.
    """
    if not isinstance(path, (str, os.PathLike)) or Path(path).suffix != ".safetensors":
        raise ValueError(f"path={str(path)!r} must be the path of a file that ends in .safetensors")
    guards.check_learners(model=model)
    guards.check_history_to_save(history)
    guards.check_whole_numbers(ids, "that the model learned from", "give those of the training text")
    facts = {
        "fingerprint": fingerprint(ids),
        "history": json.dumps(list(history), default=float),  # a number of NumPy's, or a tensor
        "landmarks": json.dumps(dict(history.landmarks), default=float),
    }
    weights = {_plain_name(name): tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
               for name, tensor in model.state_dict().items()}  # fmt: skip
    try:
        with tempfile.TemporaryDirectory(dir=Path(path).parent) as inside:
            part = Path(inside, Path(path).name)
            save_file(weights, part, facts)
            part.replace(path)
    except OSError as error:
        raise ValueError(f"path={str(path)!r} can't be written: {error.strerror}") from None


def _plain_name(name):
    """Return the name that a tensor has in a model that isn't compiled."""
    guards.check_text(name=name)
    return name.replace("_orig_mod.", "")


def fingerprint(ids):
    """Return the SHA-256 of a text's token ids."""
    guards.check_whole_numbers(ids, "of a text", "give vocab[tokens]")
    return hashlib.sha256(text.as_tensor(ids).to(torch.int64).cpu().numpy().tobytes()).hexdigest()


def _main(names):
    """Train the checkpoints with these names and write their files."""
    for name in names or RECIPES:
        if name not in RECIPES:
            sys.exit(f"There is no checkpoint {name!r}; choose from {', '.join(RECIPES)}")
        model, history, ids = RECIPES[name]()
        save(FOLDER / f"{name}.safetensors", model, history, ids)
        print(f"{name}: held-out perplexity {history.best['valid']:.3f}")


if __name__ == "__main__":
    _main(sys.argv[1:])
