"""Every public function, called with odd values: a result, or a ValueError or TypeError that names the argument.

``GOOD`` has a call of each public function and method that works. Each argument in turn is replaced by odd values:
of other types, of size 0 and 1, NaN, on another device ("meta" stands for it). What must not come is an error from
deep below, a warning, a search without an end, or a word that names nothing the reader gave.
"""
# ruff: noqa: E501 - a table: a call a line

import contextlib
import copy
import datetime
import importlib
import inspect
import itertools
import pkgutil
import re
import signal
import types
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from torch import nn

import rnnlib
from rnnlib import (
    attention,
    baselines,
    beyond,
    directions,
    explore,
    forecasting,
    gates,
    gradients,
    guards,
    layers,
    mazes,
    plots,
    regularised,
    scratch,
    sentiment,
    sessions,
    shipping,
    text,
    training,
)
from rnnlib.data.imdb import Review

V, H, N, T, D = 7, 4, 2, 3, 5
VOCAB = text.Vocab("abcdef")  # of V tokens
WORDS = sentiment.review_vocab(["a good film", "a bad film", "so so"])


def rand(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def ids(*shape, high=V):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(0))


def generator():
    return torch.Generator().manual_seed(0)


def model():
    return scratch.ScratchRNN(V, H)


def batches():
    return [(ids(N, T), ids(N, T))]


def sgd(network):
    return torch.optim.SGD(network.parameters(), lr=0.1)


def with_optimizer(network, **options):
    return {"model": network, "optimizer": sgd(network), **options}


def rnn_params(num=3):
    return [rand(D, H), rand(H, H), rand(H), rand(H, V), rand(V)][:num]


def gate_params(num_gates, read_out=False):
    params = [rand(*shape) for _ in range(num_gates) for shape in ((D, H), (H, H), (H,))]
    params += [rand(H)] if num_gates == 3 else []
    return params + ([rand(H, V), rand(V)] if read_out else [])


def lstm_state():
    return rand(N, H), rand(N, H)


def classifier():
    return sentiment.SentimentClassifier(nn.Embedding(V, D), nn.LSTM(D, H))


def review_batches():
    return sentiment.Buckets([[2, 3], [4]], [0, 1], 2)


def reviews():
    return [Review(f"{kind}/{i}_1", label, 1, "a film") for label, kind in enumerate(("neg", "pos")) for i in range(3)]


def pair_model():
    sizes = len(attention.LETTERS), D, H
    return attention.EncoderDecoder(attention.Encoder(*sizes), attention.AttentionDecoder(*sizes))


def pairs():
    letters = attention.LETTERS
    return [attention.make_pair("ab", "ba", letters, letters), attention.make_pair("abc", "cba", letters, letters)]


def memory():
    return attention.EncoderMemory(rand(N, T, H), torch.ones(N, T, dtype=torch.bool), rand(1, N, H))


def forecaster():
    return forecasting.Forecaster(nn.GRU(D, H), [2])


def splitter():
    return directions.WordSplitter(nn.GRU(V, H, bidirectional=True))


def history(kind=training.History):
    there = kind()
    there.append({"epoch": 1, "train": 3.0, "valid": 4.0, "tokens_per_second": 1.0, "seconds": 1.0, "sample": "a",
                  "loss": 0.5, "valid_loss": 0.6, "accuracy": 0.7})  # fmt: skip
    return there


def language_model(layer=nn.GRU):
    return layers.LanguageModel(layer(V, H), V)


def poet():
    return layers.LanguageModel(nn.LSTM(3, H), V, nn.Embedding(V, 3))


def numpy_step():
    return shipping.NumpyStep(shipping.named_weights(language_model()))


def arrays(*shape):
    return rand(*shape).numpy()


def pool():
    return sessions.SessionPool(numpy_step(), numpy_step().begin_state(2))


def axes():
    return Figure().subplots()


def explorer(name):
    return explore.catalogue()[name][1]


class Call:
    """A good call: what is called, and its arguments by name; those after a star are a list."""

    def __init__(self, function, **arguments):
        self.function, self.arguments = function, arguments

    def __call__(self, **changed):
        positional, named = [], {}
        values = self.arguments | changed
        for name, parameter in inspect.signature(self.function).parameters.items():
            if name not in values:
                continue
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional += values[name]
            elif parameter.kind is parameter.VAR_KEYWORD:
                named |= values[name]
            elif any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(self.function).parameters.values()):
                if parameter.kind is parameter.KEYWORD_ONLY:
                    named[name] = values[name]
                else:
                    positional.append(values[name])
            else:
                named[name] = values[name]
        return self.function(*positional, **named)


# fmt: off
# A good call of each: a dict of arguments for a function or a class, or a pair (method, arguments).
GOOD = {
    "attention.spoken_words": lambda: {"dictionary": {"hello": [["HH", "AH0"]]}},
    "data.cmudict.split_dictionary": lambda: {"words": list("abcdefgh"), "num_valid": 1, "num_test": 1, "block": 1, "seed": 0},
    "attention.make_pair": lambda: {"source": "ab", "target": "ba", "source_vocab": attention.LETTERS, "target_vocab": attention.LETTERS},
    "attention.random_pairs": lambda: {"num_strings": 2, "shortest": 1, "longest": 3, "generator": generator()},
    "attention.pair_batches": lambda: {"pairs": pairs(), "batch_size": 2, "epochs": 1, "seed": 0},
    "attention.shift_right": lambda: {"target": ids(N, T)},
    "attention.Encoder": lambda: {"vocab_size": V, "embed_size": D, "num_hiddens": H, "dropout": 0.1},
    "attention.Encoder.forward": lambda: (attention.Encoder(V, D, H), {"source": ids(N, T) + 0}),
    "attention.Decoder": lambda: {"vocab_size": V, "embed_size": D, "num_hiddens": H, "dropout": 0.1},
    "attention.Decoder.read": lambda: (attention.Decoder(V, D, H).read, {"inputs": ids(N, T), "memory": memory(), "state": None}),
    "attention.Decoder.forward": lambda: (attention.Decoder(V, D, H), {"inputs": ids(N, T), "memory": memory(), "state": None}),
    "attention.EncoderDecoder": lambda: {"encoder": attention.Encoder(V, D, H), "decoder": attention.Decoder(V, D, H)},
    "attention.EncoderDecoder.forward": lambda: (pair_model(), {"source": ids(N, T) + 2, "inputs": ids(N, T)}),
    "attention.dot_scores": lambda: {"queries": rand(N, T, H), "keys": rand(N, 4, H)},
    "attention.AdditiveScore": lambda: {"num_hiddens": H},
    "attention.AdditiveScore.forward": lambda: (attention.AdditiveScore(H), {"queries": rand(N, T, H), "keys": rand(N, 4, H)}),
    "attention.attend": lambda: {"scores": rand(N, T, 4), "values": rand(N, 4, H), "mask": torch.ones(N, 4, dtype=torch.bool)},
    "attention.AttentionDecoder": lambda: {"sizes": [V, D, H], "score": attention.dot_scores, "dropout": 0.1},
    "attention.AttentionDecoder.forward": lambda: (attention.AttentionDecoder(V, D, H), {"inputs": ids(N, T), "memory": memory(), "state": None}),
    "attention.pair_loss": lambda: {"model": pair_model(), "source": ids(N, T) + 2, "target": ids(N, T) + 2},
    "attention.pair_schedule": lambda: {"step": 1, "num_steps": 10, "warm_up": 3, "end": 0.02},
    "attention.fit_pairs": lambda: {"model": pair_model(), "batches": [(ids(N, T) + 2, ids(N, T) + 2)], "lr": 1e-3, "loss": attention.pair_loss},
    "attention.greedy": lambda: {"model": pair_model(), "source": ids(N, T) + 2, "max_steps": 2},
    "attention.until_eos": lambda: {"ids": ids(N, T)},
    "attention.extend_beams": lambda: {"scores": rand(2), "log_p": rand(2, V), "width": 2},
    "attention.beam_search": lambda: {"model": pair_model(), "source": ids(1, T) + 2, "width": 2, "max_steps": 2},
    "attention.exact_match": lambda: {"model": pair_model(), "pairs": pairs(), "max_steps": 2},
    "attention.fewest_edits": lambda: {"guess": list("ab"), "answers": [list("ac")]},
    "attention.word_and_error_rate": lambda: {"guesses": [list("ab")], "answers": [[list("ac")]]},
    "attention.split_heads": lambda: {"X": rand(N, T, H), "num_heads": 2},
    "attention.MultiHead": lambda: {"num_hiddens": H, "num_heads": 2},
    "attention.MultiHead.forward": lambda: (attention.MultiHead(H, 2), {"queries": rand(N, T, H), "keys": rand(N, T, H), "mask": torch.ones(1, 1, 1, T, dtype=torch.bool)}),
    "attention.Positions": lambda: {"vocab_size": V, "num_hiddens": H, "max_steps": 5},
    "attention.Positions.forward": lambda: (attention.Positions(V, H), {"ids": ids(N, T)}),
    "attention.TransformerEncoder": lambda: {"vocab_size": V, "num_hiddens": 8, "num_layers": 1, "num_heads": 2},
    "attention.TransformerEncoder.forward": lambda: (attention.TransformerEncoder(V, 8, 1, 2), {"source": ids(N, T) * 0 + 2}),
    "attention.TransformerDecoder": lambda: {"vocab_size": V, "num_hiddens": 8, "num_layers": 1, "num_heads": 2},
    "attention.TransformerDecoder.forward": lambda: (attention.TransformerDecoder(V, H, 1, 2), {"inputs": ids(N, T), "memory": attention.EncoderMemory(rand(N, T, H), torch.ones(N, T, dtype=torch.bool), ids(1, N, 0)), "state": None}),
    "baselines.NGram": lambda: {"ids": [0, 1, 2, 1], "order": 2, "vocab_size": 3, "smoothing": 1.0},
    "baselines.KneserNey": lambda: {"ids": [0, 1, 2, 1], "order": 2, "vocab_size": 3},
    "baselines.Table.probabilities": lambda: (baselines.NGram([0, 1, 2, 1], 2, 3).probabilities, {"ids": [0, 1]}),
    "baselines.Table.blends": lambda: (baselines.NGram([0, 1, 2, 1], 2, 3).blends, {"ids": [0, 1]}),
    "baselines.Table.perplexity": lambda: (baselines.NGram([0, 1, 2, 1], 2, 3).perplexity, {"ids": [0, 1]}),
    "baselines.Table.perplexities": lambda: (baselines.NGram([0, 1, 2, 1], 2, 3).perplexities, {"ids": [0, 1]}),
    "baselines.landmarks": lambda: {"train_ids": [0, 1, 2, 1], "valid_ids": [0, 1], "vocab_size": 3, "orders": (0, 1)},
    "baselines.bag_of_words": lambda: {"max_words": 1, "vectorizer": "CountVectorizer", "options": {}},
    "baselines.tfidf_regression": lambda: {"max_words": 1, "C": 2.0},
    "beyond.parity": lambda: {"batch_size": N, "length": T, "generator": generator()},
    "beyond.grown": lambda: {"length": 4, "right": 0.98, "goal": 32},
    "beyond.parity_steps": lambda: {"model": layers.ManyToOne(nn.GRU(1, H), 2), "start": 2, "goal": 4, "seed": 0, "batch_size": 2, "lr": 1e-2},
    "beyond.learn_parity": lambda: {"model": layers.ManyToOne(nn.GRU(1, H), 2), "start": 2, "goal": 4, "seed": 0, "max_steps": 2},
    "beyond.parity_right": lambda: {"model": layers.ManyToOne(nn.GRU(1, H), 2), "length": 2, "num_rows": 4},
    "regularised.LockedDropout": lambda: {"p": 0.5},
    "regularised.LockedDropout.forward": lambda: (regularised.LockedDropout(0.5), {"inputs": rand(T, N, D)}),
    "regularised.drop_weights": lambda: {"rnn_layer": nn.LSTM(D, H), "p": 0.5},
    "mazes.TMaze": lambda: {"num_mazes": 2, "length": 3, "generator": generator()},
    "mazes.TMaze.act": lambda: (mazes.TMaze(2, 3, generator()).act, {"action": torch.tensor([0, 1])}),
    "mazes.Policy": lambda: {"num_hiddens": H},
    "mazes.Policy.begin_state": lambda: (mazes.Policy(H).begin_state, {"batch_size": 2}),
    "mazes.Policy.forward": lambda: (mazes.Policy(H), {"seen": rand(N, 4), "state": rand(N, H)}),
    "mazes.Forgetful": lambda: {"num_hiddens": H},
    "mazes.Forgetful.forward": lambda: (mazes.Forgetful(H), {"seen": rand(N, 4), "state": rand(N, H)}),
    "mazes.play": lambda: {"policy": mazes.Policy(H), "maze": mazes.TMaze(2, 3, generator()), "max_steps": 4, "generator": generator()},
    "mazes.discounted_returns": lambda: {"rewards": rand(T, N), "gamma": 0.9},
    "mazes.policy_loss": lambda: {name: rand(T, N) for name in ("log_p", "entropy", "value", "rewards")} | {"alive": torch.ones(T, N, dtype=torch.bool)},
    "mazes.maze_steps": lambda: {"policy": mazes.Policy(H), "grow": lambda length, right: length, "start": 2, "seed": 0, "num_mazes": 2, "lr": 1e-2},
    "pages.write_page": lambda: {"path": "page.html", "source": quantised(), "title": "t"},
    "data.load_results": lambda: {"name": "beyond"},
    "data.prefetch": lambda: {"names": ["cmudict"]},
    "data.dates.write": lambda: {"day": datetime.date(2000, 1, 2), "form": "{d} {month} {y}"},
    "data.dates.draw_days": lambda: {"number": 3, "seed": 0},
    "data.glove.load_glove": lambda: {"dim": 50, "words": ["film", "good"]},
    "data.imdb.load_imdb": lambda: {"split": "train"},
    "data.series.load_series": lambda: {"path": "series.csv", "time": "time", "columns": ["a"], "every": "h", "zone": "UTC", "options": {}},
    "data.texts.load_text": lambda: {"name": "time_machine"},
    "directions.rnn_step": lambda: {"X": rand(N, D), "H": rand(N, H), "params": rnn_params()},
    "directions.both_ways": lambda: {"step": directions.rnn_step, "inputs": rand(T, N, D), "states": (rand(N, H), rand(N, H)), "params": (rnn_params(), rnn_params())},
    "directions.Bidirectional": lambda: {"ahead": model(), "back": model()},
    "directions.Bidirectional.begin_state": lambda: (directions.Bidirectional(model(), model()).begin_state, {"batch_size": 2, "device": "cpu"}),
    "directions.Bidirectional.forward": lambda: (directions.Bidirectional(model(), model()), {"ids": ids(N, T), "state": (rand(N, H), rand(N, H))}),
    "directions.dependencies": lambda: {"read": torch.tanh, "X": rand(T, D)},
    "directions.perplexity_by_position": lambda: {"model": model(), "batches": batches()},
    "directions.reread_and_write": lambda: {"model": model(), "vocab": VOCAB, "prefix": "ab", "num_tokens": 2, "window": 2, "seed": 0},
    "directions.hide_spaces": lambda: {"text": "the time"},
    "directions.put_spaces": lambda: {"letters": "thetime", "ends": [0, 0, 1, 0, 0, 0, 1]},
    "directions.word_spans": lambda: {"ends": [0, 1, 0, 1]},
    "directions.words_found": lambda: {"guess": [0, 1, 0, 1], "ends": [0, 1, 0, 1]},
    "directions.WordSplitter": lambda: {"layer": nn.GRU(V, H)},
    "directions.WordSplitter.forward": lambda: (splitter(), {"ids": ids(N, T)}),
    "directions.Flipped": lambda: {"model": splitter()},
    "directions.Flipped.forward": lambda: (directions.Flipped(splitter()), {"ids": ids(N, T)}),
    "directions.train_splitter": lambda: {"model": splitter(), "ids": ids(9), "ends": torch.ones(9), "steps": 1, "lr": 0.01, "batch_size": 2, "num_steps": 3, "seed": 0},
    "directions.states_with_lookahead": lambda: {"splitter": splitter(), "ids": ids(6), "future": 1, "context": 2},
    "environment.setup": lambda: {"seed": 0},
    "environment.budget": lambda: {"full": 130, "quick": 3},
    "environment.finding": lambda: {"verdict": "Verified: it holds"},
    "forecasting.mend_hours": lambda: {"rows": weather_rows()},
    "forecasting.hours_on_circle": lambda: {"times": pd.date_range("2013-01-01", periods=5, freq="h")},
    "forecasting.forecaster_inputs": lambda: {"measured": rand(T, 2, 3), "clock": rand(T, 2)},
    "forecasting.future_values": lambda: {"series": rand(T, 2), "horizons": [1, 2]},
    "forecasting.only_hours": lambda: {"truth": rand(T, 2, 2), "horizons": [1, 2], "start": 0, "stop": 2},
    "baselines.persistence_baseline": lambda: {"series": rand(T, 2), "horizons": [1, 2]},
    "baselines.same_hour_baseline": lambda: {"series": rand(30, 2), "horizons": [1, 2], "season": 24},
    "forecasting.series_scale": lambda: {"series": rand(T, 2, D), "stop": 2},
    "forecasting.mean_error": lambda: {"forecast": rand(T, 2, 2), "truth": rand(T, 2, 2)},
    "forecasting.skill": lambda: {"error": rand(2), "reference": rand(2)},
    "forecasting.windows": lambda: {"inputs": rand(T, D), "num_lags": 2},
    "forecasting.ridge_forecast": lambda: {"inputs": rand(9, D), "targets": rand(9, 2, 2), "num_lags": 2, "alpha": 1.0},
    "forecasting.Forecaster": lambda: {"rnn_layer": nn.GRU(D, H), "shape": [2], "drop_in": 0.1, "drop_out": 0.1},
    "forecasting.Forecaster.forward": lambda: (forecaster(), {"inputs": rand(T, N, D), "state": None}),
    "forecasting.cut_series": lambda: {"series": rand(9, 2, D), "num_pieces": 3},
    "forecasting.train_forecaster": lambda: {"model": forecaster(), "inputs": rand(8, 2, D), "targets": rand(8, 2, 2), "loss": nn.functional.mse_loss, "epochs": 1, "lr": 1e-2, "num_pieces": 2, "chunk": 2},
    "forecasting.run_forecaster": lambda: {"model": forecaster(), "inputs": rand(T, 2, D)},
    "forecasting.pinball": lambda: {"forecasts": rand(T, 3), "truth": rand(T), "quantiles": torch.tensor([0.1, 0.5, 0.9])},
    "forecasting.coverage": lambda: {"low": rand(T, 2, 2), "high": rand(T, 2, 2) + 1, "truth": rand(T, 2, 2)},
    "forecasting.adapt_intervals": lambda: {"low": rand(9, 2), "middle": rand(9, 2), "high": rand(9, 2), "truth": rand(9, 2), "horizon": 1, "aim": 0.8, "gamma": 0.02},
    "forecasting.ForecastStream": lambda: {"model": forecasting.Forecaster(nn.GRU(8, H), [2]), "mean": rand(8), "std": torch.ones(8)},
    "forecasting.ForecastStream.step": lambda: (forecasting.ForecastStream(forecasting.Forecaster(nn.GRU(8, H), [2]), rand(8), torch.ones(8)).step, {"measured": rand(2, 3), "clock": rand(2)}),
    "forecasting.forecast_surprise": lambda: {name: rand(T, 2) for name in ("low", "middle", "high", "truth")},
    "forecasting.surprise_sums": lambda: {"surprises": rand(T, 2), "slack": 0.5},
    "forecasting.mackey_glass": lambda: {"num_points": 5, "tau": 3, "start": 1.2, "steps": 2},
    "forecasting.free_run": lambda: {"model": forecasting.Forecaster(nn.GRU(1, H), [1]), "series": rand(T, N), "length": 2},
    "gates.lstm_gates": lambda: {"X": rand(N, D), "H": rand(N, H), "params": gate_params(4)},
    "gates.lstm_step": lambda: {"X": rand(N, D), "state": lstm_state(), "params": gate_params(4)},
    "gates.gru_step": lambda: {"X": rand(N, D), "H": rand(N, H), "params": gate_params(3)},
    "gates.scan": lambda: {"step": gates.gru_step, "inputs": rand(T, N, D), "state": rand(N, H), "params": gate_params(3)},
    "gates.lstm": lambda: {"inputs": rand(T, N, D), "state": lstm_state(), "params": gate_params(4, True)},
    "gates.gru": lambda: {"inputs": rand(T, N, D), "H": rand(N, H), "params": gate_params(3, True)},
    "gates.gated_params": lambda: {"num_gates": 3, "sizes": [V, H], "options": {"sigma": 0.1}},
    "gates.lstm_params": lambda: {"sizes": [V, H], "options": {"sigma": 0.1}},
    "gates.gru_params": lambda: {"sizes": [V, H], "options": {"sigma": 0.1}},
    "gates.ScratchLSTM": lambda: {"vocab_size": V, "num_hiddens": H, "device": "cpu", "options": {}},
    "gates.ScratchLSTM.begin_state": lambda: (gates.ScratchLSTM(V, H).begin_state, {"batch_size": 2, "device": "cpu"}),
    "gates.ScratchGRU": lambda: {"vocab_size": V, "num_hiddens": H, "device": "cpu", "options": {}},
    "gates.from_torch": lambda: {"layer": nn.LSTM(D, H, 2), "which": "l1"},
    "gates.set_forget_bias": lambda: {"lstm": nn.LSTM(D, H), "bias": 1.0},
    "gates.half_life": lambda: {"bias": 1.0},
    "memory_tasks.remember_first": lambda: {"batch_size": 2, "delay": 3, "generator": generator()},
    "memory_tasks.add_two": lambda: {"batch_size": 2, "length": 4, "generator": generator()},
    "gradients.detach": lambda: {"state": lstm_state()},
    "gradients.clip_gradients": lambda: {"params": with_gradients().parameters(), "theta": 1.0},
    "gradients.cross_entropy": lambda: {"logits": rand(T, V), "targets": ids(T)},
    "gradients.squared_error": lambda: {"outputs": rand(T, 2), "targets": rand(T, 2)},
    "gradients.bptt": lambda: {"inputs": rand(T, N, D), "targets": ids(T * N), "H": rand(N, H), "params": rnn_params(5), "loss": gradients.cross_entropy},
    "gradients.linear_unit": lambda: {"a": rand(H)},
    "gradients.tanh_unit": lambda: {"a": rand(H)},
    "gradients.relu_unit": lambda: {"a": rand(H)},
    "gradients.gaussian_matrix": lambda: {"num_hiddens": H, "radius": 0.9, "generator": generator()},
    "gradients.orthogonal_matrix": lambda: {"num_hiddens": H, "scale": 0.9, "generator": generator()},
    "gradients.shift_matrix": lambda: {"num_hiddens": H, "scale": 0.9, "generator": generator()},
    "gradients.jacobian_products": lambda: {"W_hh": rand(H, H), "drive": rand(T, H), "h": rand(H), "activation": gradients.tanh_unit},
    "gradients.gradient_by_lag": lambda: {"run": lambda drive: drive.sum(0), "drive": rand(T, N, H)},
    "gradients.truncated_gradient": lambda: {"model": model(), "X": ids(N, T), "Y": ids(N, T), "num_steps": 2},
    "gradients.backward_bytes": lambda: {"forward": lambda: rand(3).requires_grad_().exp(), "params": []},
    "layers.num_directions": lambda: {"rnn_layer": nn.GRU(D, H)},
    "layers.zero_state": lambda: {"rnn_layer": nn.GRU(D, H), "batch_size": 2, "device": "cpu"},
    "layers.end_state": lambda: {"rnn_layer": nn.GRU(D, H), "state": rand(1, N, H)},
    "layers.LanguageModel": lambda: {"rnn_layer": nn.GRU(D, H), "vocab_size": V, "embedding": nn.Embedding(V, D), "dropout": 0.1},
    "layers.LanguageModel.begin_state": lambda: (language_model().begin_state, {"batch_size": 2, "device": "cpu"}),
    "layers.LanguageModel.forward": lambda: (language_model(), {"ids": ids(N, T), "state": rand(1, N, H)}),
    "layers.copy_weights": lambda: {"source": model(), "target": language_model(nn.RNN)},
    "layers.ManyToOne": lambda: {"rnn_layer": nn.GRU(D, H), "num_outputs": 2, "embedding": nn.Embedding(V, D)},
    "layers.ManyToOne.forward": lambda: (layers.ManyToOne(nn.GRU(D, H), 2), {"inputs": rand(N, T, D), "lengths": torch.tensor([3, 1])}),
    "layers.FastRNN": lambda: {"vocab_size": V, "num_hiddens": H, "device": "cpu", "options": {}},
    "layers.FastRNN.forward": lambda: (layers.FastRNN(V, H), {"ids": ids(N, T), "state": rand(N, H)}),
    "lettering.font_families": lambda: {"first": "DejaVu Sans"},
    "lettering.drawable": lambda: {"text": "time", "first": "DejaVu Sans"},
    "lettering.literal_text": lambda: {"text": "time", "first": "DejaVu Sans"},
    "lettering.visible_text": lambda: {"characters": "time"},
    "lettering.token_label": lambda: {"token": "t", "first": "DejaVu Sans"},
    "lettering.write_letters": lambda: {"axes": axes(), "places": [(0, 0)], "tokens": ["a"], "size": 10, "colour": "#222222"},
    "lettering.letters_below": lambda: {"axes": axes(), "characters": "time", "size": 10},
    "memory_tasks.task_results": lambda: {"rows": [{"task": "add the two marked numbers", "cell": "GRU", "length": 2, "lr": 0.1, "right": 0.5}], "task": "add the two marked numbers", "cell": "GRU"},
    "memory_tasks.learn": lambda: {"cell": "GRU", "task": "remember the first symbol", "length": 2, "seed": 0, "max_steps": 1, "lr": 0.01, "num_hiddens": 3, "device": "cpu"},
    "plots.enlarge_figures": lambda: {"zoom": 1.0},
    "plots.new_figure": lambda: {"width": 3.0, "height": 2.0, "rows": 1, "columns": 1, "options": {}},
    "plots.stacked_axes": lambda: {"height": 2.0, "height_ratios": [1, 2], "left": 0.1, "right": 0.9, "bottom": 0.1, "hspace": 0.3},
    "plots.narrow_bars": lambda: {"axes": axes(), "places": [0, 1], "heights": [1.0, 2.0], "style": {}},
    "plots.png": lambda: {"fig": Figure(figsize=(1, 1))},
    "plots.show": lambda: {"fig": plots.new_figure(1, 1)[0], "alt": "a picture"},
    "plots.perplexity_axis": lambda: {"axes": axes(), "lowest": 1.0, "highest": 40.0},
    "plots.landmark_lines": lambda: {"axes": axes(), "landmarks": {"unigram": 17.0}},
    "plots.live_picture": lambda: {"picture": plots.LiveCurve},
    "plots.curve_figure": lambda: {"history": history()},
    "plots.accuracy_figure": lambda: {"progress": history(training.Progress)},
    "pretrained.train_shakespeare": lambda: {"model": language_model(), "train_ids": ids(64 * 49 + 1), "valid_ids": ids(32 * 50 + 1), "epochs": 1, "options": {}},
    "regularised.train_regularised": lambda: {"model": poet(), "train_ids": ids(41), "valid_ids": ids(32 * 50 + 1), "passes": 1, "rows": 2, "num_steps": 5, "lr": 1e-3},
    "pretrained.time_machine_model": lambda: {"layer_class": nn.GRU, "num_hiddens": H},
    "pretrained.load_or_train": lambda: {"model": language_model(), "train": history, "ids": [1, 2], "checkpoint": None},
    "pretrained.load_model": lambda: {"name": "time_machine_gru"},
    "pretrained.load": lambda: {"name": "time_machine_gru"},
    "pretrained.save": lambda: {"path": "mine.safetensors", "model": language_model(), "history": history(), "ids": [1, 2]},
    "pretrained.fingerprint": lambda: {"ids": [1, 2]},
    "beyond.linear_recurrence": lambda: {"a": rand(T, N, D), "b": rand(T, N, D), "h": rand(N, D)},
    "beyond.combine": lambda: {"earlier": (rand(T, D), rand(T, D)), "later": (rand(T, D), rand(T, D))},
    "beyond.doubling_scan": lambda: {"a": rand(T, N, D), "b": rand(T, N, D), "h": rand(N, D)},
    "beyond.MinGRU": lambda: {"num_units": D},
    "beyond.MinGRU.begin_state": lambda: (beyond.MinGRU(D).begin_state, {"batch_size": 2}),
    "beyond.MinGRU.forward": lambda: (beyond.MinGRU(D), {"inputs": rand(T, N, D), "state": rand(N, D)}),
    "beyond.wkv_step": lambda: {"k": rand(N, D), "v": rand(N, D), "state": (rand(N, D), rand(N, D), rand(N, D)), "decay": rand(D).exp(), "bonus": rand(D)},
    "beyond.wkv": lambda: {"k": rand(T, N, D), "v": rand(T, N, D), "state": (rand(N, D), rand(N, D), rand(N, D)), "decay": rand(D).exp(), "bonus": rand(D)},
    "beyond.wkv_parallel": lambda: {"k": rand(T, N, D), "v": rand(T, N, D), "decay": rand(D).exp(), "bonus": rand(D)},
    "beyond.TimeMixing": lambda: {"num_units": D},
    "beyond.TimeMixing.begin_state": lambda: (beyond.TimeMixing(D).begin_state, {"batch_size": 2}),
    "beyond.TimeMixing.forward": lambda: (beyond.TimeMixing(D), {"inputs": rand(T, N, D), "state": beyond.TimeMixing(D).begin_state(N)}),
    "beyond.GRUMixer.begin_state": lambda: (beyond.GRUMixer(D, D).begin_state, {"batch_size": 2}),
    "beyond.LocalAttention": lambda: {"num_units": 4, "window": 3, "num_heads": 2},
    "beyond.LocalAttention.begin_state": lambda: (beyond.LocalAttention(4, 3, 2).begin_state, {"batch_size": 2}),
    "beyond.LocalAttention.forward": lambda: (beyond.LocalAttention(4, 3, 2), {"inputs": rand(T, N, 4), "state": beyond.LocalAttention(4, 3, 2).begin_state(N)}),
    "beyond.StepEmbedding": lambda: {"num_units": D, "longest": 9},
    "beyond.StepEmbedding.begin_state": lambda: (beyond.StepEmbedding(D, 9).begin_state, {"batch_size": 2}),
    "beyond.StepEmbedding.forward": lambda: (beyond.StepEmbedding(D, 9), {"inputs": rand(T, N, D), "state": torch.zeros(N, dtype=torch.int64)}),
    "beyond.Block": lambda: {"mixer": beyond.MinGRU(D), "num_units": D},
    "beyond.Block.begin_state": lambda: (beyond.Block(beyond.MinGRU(D), D).begin_state, {"batch_size": 2}),
    "beyond.Block.forward": lambda: (beyond.Block(beyond.MinGRU(D), D), {"inputs": rand(T, N, D), "state": rand(N, D)}),
    "beyond.MixedModel": lambda: {"vocab_size": V, "num_units": D, "parts": [beyond.MinGRU(D)]},
    "beyond.MixedModel.begin_state": lambda: (beyond.MixedModel(V, D, beyond.MinGRU(D)).begin_state, {"batch_size": 2, "device": "cpu"}),
    "beyond.MixedModel.forward": lambda: (beyond.MixedModel(V, D, beyond.MinGRU(D)), {"ids": ids(N, T), "state": (rand(N, D),)}),
    "beyond.selective_scan": lambda: {"x": rand(T, N, D), "step": rand(T, N, D).exp(), "A": -rand(D, 2).exp(), "B": rand(T, N, 2), "C": rand(T, N, 2), "h": rand(N, D, 2)},
    "beyond.matrix_memory": lambda: {"q": rand(T, N, D), "k": rand(T, N, D), "v": rand(T, N, D), "keep": rand(T, N, 1), "write": rand(T, N, 1), "state": (rand(N, D, D), rand(N, D))},
    "scratch.rnn_params": lambda: {"vocab_size": V, "num_hiddens": H, "device": "cpu", "dtype": torch.float64, "input_scale": 1.0, "sigma": 0.01},
    "scratch.rnn": lambda: {"inputs": rand(T, N, D), "H": rand(N, H), "params": rnn_params(5)},
    "scratch.ScratchRNN": lambda: {"vocab_size": V, "num_hiddens": H, "device": "cpu", "options": {}},
    "scratch.ScratchRNN.begin_state": lambda: (model().begin_state, {"batch_size": 2, "device": "cpu"}),
    "scratch.ScratchRNN.forward": lambda: (model(), {"ids": ids(N, T), "state": rand(N, H)}),
    "scratch.unroll": lambda: {"model": model(), "batches": batches()},
    "scratch.train_epoch": lambda: with_optimizer(model(), batches=batches(), clip=1.0),
    "scratch.mean_nll": lambda: {"model": model(), "batches": batches()},
    "scratch.perplexity": lambda: {"model": model(), "batches": batches()},
    "scratch.total": lambda: {"values": [torch.tensor(1.0)]},
    "scratch.safe_exp": lambda: {"nats": 1.0},
    "environment.evaluating": lambda: {"model": model()},
    "scratch.next_token_probabilities": lambda: {"logits": rand(V), "temperature": 1.0, "top_k": 2},
    "scratch.representable": lambda: {"value": 1.0, "dtype": torch.float32},
    "scratch.generate": lambda: {"model": model(), "vocab": VOCAB, "prefix": "ab", "num_tokens": 2, "temperature": 1.0, "top_k": 2, "seed": 0},
    "environment.new_generator": lambda: {"seed": 0},
    "sentiment.tokenize_review": lambda: {"text": "A good film"},
    "sentiment.review_vocab": lambda: {"texts": ["a good film"], "size": 10},
    "sentiment.encode": lambda: {"text": "a good film", "vocab": WORDS},
    "sentiment.head": lambda: {"ids": ids(5), "length": 2},
    "sentiment.tail": lambda: {"ids": ids(5), "length": 2},
    "sentiment.both_ends": lambda: {"ids": ids(5), "length": 2},
    "sentiment.pad": lambda: {"rows": [[2, 3], [4]], "length": 0},
    "sentiment.bucket_order": lambda: {"lengths": [2, 1, 3], "batch_size": 2, "generator": generator(), "stretch": 2},
    "sentiment.Buckets": lambda: {"rows": [[2, 3], [4]], "labels": [0, 1], "batch_size": 2, "seed": 0},
    "sentiment.hold_out_blocks": lambda: {"reviews": reviews(), "num_valid": 1},
    "sentiment.BothWays": lambda: {"layer_class": nn.GRU, "input_size": D, "hidden_size": H},
    "sentiment.BothWays.forward": lambda: (sentiment.BothWays(nn.GRU, D, H), {"inputs": rand(T, N, D), "lengths": torch.tensor([3, 1])}),
    "sentiment.flip_padded": lambda: {"inputs": rand(T, N, D), "lengths": torch.tensor([3, 1])},
    "sentiment.read_padded": lambda: {"rnn_layer": nn.GRU(D, H, bidirectional=True), "inputs": rand(T, N, D), "lengths": torch.tensor([3, 1])},
    **{f"sentiment.{name}": lambda: {"outputs": rand(T, N, 4), "lengths": torch.tensor([3, 1])} for name in ("real_steps", "last_state", "both_ends_state", "mean_state", "max_state", "mean_and_max")},
    "sentiment.DropWords": lambda: {"p": 0.1, "unk": 0},
    "sentiment.DropWords.forward": lambda: (sentiment.DropWords(0.5), {"ids": ids(N, T)}),
    "sentiment.SentimentClassifier": lambda: {"embedding": nn.Embedding(V, D), "rnn_layer": nn.GRU(D, H), "readout": sentiment.mean_state, "dropout": 0.1},
    "sentiment.SentimentClassifier.forward": lambda: (classifier(), {"ids": ids(N, T), "lengths": torch.tensor([3, 1])}),
    "sentiment.score_reviews": lambda: {"model": classifier(), "rows": [[2, 3], [4]], "batch_size": 2},
    "sentiment.accuracy": lambda: {"logits": rand(2), "labels": [0, 1]},
    "sentiment.classification_loss": lambda: {"model": classifier(), "ids": ids(N, T), "lengths": torch.tensor([3, 1]), "labels": torch.tensor([0, 1])},
    "sentiment.train_steps": lambda: with_optimizer(classifier(), batches=review_batches(), scheduler=None, clip=1.0, loss=sentiment.classification_loss),
    "sentiment.new_classifier": lambda: {"vocab_size": V, "num_hiddens": H, "embed_size": D, "drop_words": 0.1, "options": {"dropout": 0.1}},
    "sentiment.use_vectors": lambda: {"embedding": nn.Embedding(V, D), "vectors": rand(V, D), "found": torch.ones(V, dtype=torch.bool)},
    "sentiment.new_optimizer": lambda: {"model": classifier(), "num_steps": 4, "lr": 1e-3, "embedding_lr": 1e-3},
    "serve.Server": lambda: {"step": numpy_step(), "vocab": VOCAB, "sessions": 2, "idle": 3.0, "title": "t"},
    "shipping.parts": lambda: {"state": lstm_state()},
    "shipping.from_parts": lambda: {"parts": lstm_state()},
    "shipping.Step": lambda: {"model": language_model()},
    "shipping.Step.forward": lambda: (shipping.Step(language_model()), {"inputs": ids(N), "state": [rand(1, N, H)]}),
    "shipping.VectorStep": lambda: {"model": forecaster()},
    "shipping.VectorStep.forward": lambda: (shipping.VectorStep(forecaster()), {"inputs": rand(N, D), "state": [rand(1, N, H)]}),
    "shipping.export_shapes": lambda: {"inputs": ids(N), "state": [rand(1, N, H)]},
    "shipping.in_onnx_order": lambda: {"weight": rand(3 * H, D), "num_hiddens": H},
    "shipping.onnx_weights": lambda: {"layer": nn.GRU(D, H), "level": 0},
    "shipping.onnx_forward": lambda: {"layer": nn.GRU(D, H), "weights": [], "X": rand(T, N, D), "state": None},
    "shipping.for_onnx": lambda: {"model": language_model()},
    "shipping.row_scales": lambda: {"W": rand(3, D), "bits": 8},
    "shipping.one_scale": lambda: {"W": rand(3, D), "bits": 8},
    "shipping.quantise": lambda: {"W": rand(3, D), "scale": torch.full((3, 1), 0.1)},
    "shipping.with_bits": lambda: {"model": language_model(), "bits": 4, "scales": shipping.row_scales},
    "shipping.named_weights": lambda: {"model": language_model()},
    "shipping.save_quantised": lambda: {"path": "q.safetensors", "model": language_model(), "tokens": VOCAB.tokens},
    "shipping.load_quantised": lambda: {"path": quantised()},
    "shipping.numpy_sigmoid": lambda: {"z": arrays(N, H)},
    "shipping.numpy_rnn": lambda: {"a": arrays(N, H), "b": arrays(N, H), "h": arrays(N, H)},
    "shipping.numpy_gru": lambda: {"a": arrays(N, 3 * H), "b": arrays(N, 3 * H), "h": arrays(N, H)},
    "shipping.numpy_lstm": lambda: {"a": arrays(N, 4 * H), "b": arrays(N, 4 * H), "h": arrays(N, H), "c": arrays(N, H)},
    "shipping.levels_of": lambda: {"weights": shipping.named_weights(language_model())},
    "shipping.NumpyStep": lambda: {"weights": shipping.named_weights(language_model())},
    "shipping.NumpyStep.begin_state": lambda: (numpy_step().begin_state, {"batch_size": 2}),
    "shipping.NumpyStep.__call__": lambda: (numpy_step(), {"x": np.array([1, 2]), "state": [arrays(1, N, H)]}),
    "sessions.SessionPool": lambda: {"step": numpy_step(), "state": numpy_step().begin_state(2)},
    "sessions.SessionPool.close": lambda: (opened().close, {"row": 1}),
    "text.clean": lambda: {"text": "The time traveller"},
    "text.tokenize": lambda: {"text": "The time traveller", "unit": "char"},
    "text.Vocab": lambda: {"tokens": list("abcab"), "min_freq": 1, "reserved": ("<pad>",)},
    "text.Vocab.decode": lambda: (VOCAB.decode, {"ids": [1, 2]}),
    "text.as_vocab": lambda: {"vocab": VOCAB},
    "text.as_tensor": lambda: {"values": [1, 2]},
    "text.sequential_pass": lambda: {"corpus": ids(20), "batch_size": 2, "num_steps": 3, "offset": 0},
    "text.random_pass": lambda: {"corpus": ids(20), "batch_size": 2, "num_steps": 3, "offset": 0, "generator": generator()},
    "text.Minibatch": lambda: {"X": ids(N, T), "Y": ids(N, T), "continues": False},
    "text.BatchPortions": lambda: {"batches": batches(), "num_batches": 2},
    "text.sequential_batches": lambda: {"corpus": ids(20), "batch_size": 2, "num_steps": 3, "offset": 0, "seed": 0},
    "text.random_batches": lambda: {"corpus": ids(20), "batch_size": 2, "num_steps": 3, "offset": 0, "seed": 0},
    "text.one_hot": lambda: {"ids": ids(N, T), "vocab_size": V, "dtype": torch.float32},
    "training.History": lambda: {"landmarks": {"unigram": 17.0}},
    "training.History.of": lambda: (history().of, {"rows": [history()[0]]}),
    "training.History.column": lambda: (history().column, {"key": "train"}),
    "training.History.first_epoch": lambda: (history().first_epoch, {"perplexity": 5.0, "key": "train"}),
    "training.History.to_csv": lambda: (training.History().to_csv, {"path": "history.csv"}),
    "training.Progress": lambda: {"landmarks": {"unigram": 17.0}},
    "training.fit": lambda: with_optimizer(model(), train_batches=batches(), epochs=1, valid_batches=batches(), valid_every=1, lr=None, clip=1.0, scheduler=None, sample=None, sample_every=1, landmarks={"unigram": 17.0}, history=None, report=quiet),
    "training.run_epoch": lambda: with_optimizer(model(), batches=batches(), clip=1.0),
    "training.fit_classifier": lambda: with_optimizer(classifier(), batches=review_batches(), epochs=1, valid=([[2], [3]], [0, 1]), rounds=1, history=None, report=quiet, options={}),
    "training.evaluate": lambda: {"model": classifier(), "rows": [[2], [3]], "labels": [0, 1]},
    **{f"explore.{cls.__module__.rpartition('.')[2]}.{cls.__name__}": cls.default_arguments for cls in explore.EXPLORERS
       if cls is not explore.OutputContract and inspect.signature(cls).parameters},
}
# fmt: on


def with_gradients():
    network = nn.Linear(2, 2)
    network(rand(3, 2)).sum().backward()
    return network


def weather_rows():
    times = pd.date_range("2013-01-01", periods=30, freq="h")
    columns = ("temp", "dewp", "wind_dir", "wind_speed", "pressure")
    return pd.DataFrame({"time_hour": times} | dict.fromkeys(columns, 50.0))


def quantised():
    shipping.save_quantised("quantised.safetensors", language_model(), VOCAB.tokens)
    return "quantised.safetensors"


def opened():
    there = pool()
    there.open()
    return there


def quiet(history, line, final):
    """Report nothing."""


# What the doors call after they have looked, once a step or deep inside a network: PyTorch's or NumPy's own error may
# come out of it; a hang, a warning or a crash may not.
INNER = {
    "attention": "shift_right Decoder TransformerEncoder TransformerDecoder MultiHead Positions AdditiveScore dot_scores attend "
    "AttentionDecoder EncoderDecoder Encoder.forward pair_loss pair_schedule until_eos extend_beams fewest_edits split_heads",
    "directions": "rnn_step both_ways Flipped.forward",
    "forecasting": "skill",
    "gates": "lstm_gates lstm_step gru_step scan",
    "gradients": "detach linear_unit tanh_unit relu_unit",
    "lettering": "*",
    "plots": "new_figure stacked_axes narrow_bars png show perplexity_axis landmark_lines",
    "beyond": "grown combine wkv_step MinGRU.begin_state MinGRU.forward TimeMixing.begin_state TimeMixing.forward "
    "GRUMixer.begin_state LocalAttention.begin_state LocalAttention.forward StepEmbedding.begin_state "
    "StepEmbedding.forward Block.begin_state Block.forward",
    "scratch": "total safe_exp representable",
    "sentiment": "bucket_order BothWays flip_padded read_padded real_steps last_state both_ends_state mean_state max_state "
    "mean_and_max DropWords classification_loss",
    "shipping": "parts from_parts Step.forward VectorStep export_shapes in_onnx_order onnx_weights onnx_forward quantise numpy_sigmoid "
    "numpy_rnn numpy_gru numpy_lstm levels_of",
    "text": "as_tensor sequential_pass random_pass Minibatch",
}


SAID = {  # other words for an argument
    "X": r"\bids?\b", "Y": r"\bids?\b|target", "ids": "letters", "inputs": r"\bids?\b", "measured": r"\bids\b", "message": "send|takes",
    "name": "corpus|checkpoint", "names": "corpus", "path": "source", "rnn_layer": "layer", "sizes": "vocab_size|num_hiddens",
    "source": r"\bids?\b", "corpus": r"\bids?\b", "state": r"\bh\b", "train_ids": "corpus", "valid_ids": "corpus",
    "vocab_size": r"\bid\b",
}  # fmt: skip


def is_inner(name):
    """Tell whether a public name is one that the doors call."""
    module, _, rest = name.partition(".")
    return any(inner in ("*", rest) or rest.startswith(f"{inner}.") for inner in INNER.get(module, "").split())


SERVED = "waits for clients or signals: tests/test_serve.py and tests/test_streams.py drive it"
SECONDS = "takes seconds: tests/test_shipping.py"
HOLDS = "holds what it is given"
LEFT_OUT = {
    "pages.fill_page": "fills the pages of the package",
    **dict.fromkeys(["attention.Pair", "attention.EncoderMemory", "data.imdb.Review", "data.texts.Corpus",
                     "memory_tasks.Task"], HOLDS),
    **dict.fromkeys(["sessions.step_sessions", "sessions.serve", "sessions.talk", "sessions.SessionPool.read", "serve.Page",
                     "serve.serve_until_stopped"], SERVED),
    **dict.fromkeys(["shipping.save_onnx", "shipping.export_step", "shipping.save_onnx_step", "shipping.OnnxStep",
                     "shipping.OnnxStep.__call__", "shipping.onnx_level"], SECONDS),
    **dict.fromkeys(["pretrained.phonemes_attention", "pretrained.shakespeare_lstm"],
                    "trains for minutes, with fixed numbers"),
    **dict.fromkeys(["plots.BookFigure", "plots.Picture", "training.watch"],
                    "is a part of a picture or of a training: tests/test_plots.py, tests/test_training.py"),
    "data.texts.decoded": "is called by load_text: tests/test_data.py",
    "baselines.Table": "is what both kinds of counts share; they are tried",
    "layers.FastRecurrence": "is called by FastRNN alone, which is tried",
    "beyond.GRUMixer": "is PyTorch's GRU",
    "text.Batches": "is made by sequential_batches and random_batches",
}  # fmt: skip
# Ask the network, or take seconds, with arguments that are right: tests/test_data*.py.
UNCALLED = {"data.imdb.load_imdb", "data.prefetch", "data.texts.load_text", "data.glove.load_glove"}
ANY_NETWORK = {"directions.perplexity_by_position"}  # takes whatever gives logits for ids, also without a begin_state


def public():
    """Return what the package offers by name and what takes arguments: functions, classes, and methods of classes."""
    found = {}
    for info in pkgutil.walk_packages(rnnlib.__path__, "rnnlib."):
        name = info.name.removeprefix("rnnlib.")
        if name.startswith(
            ("check", "guards", "drawings", "d2l_bridge", "data._places", "data.standins", "data.__main__")
        ):
            continue
        module = importlib.import_module(info.name)
        for key, value in vars(module).items():
            if key.startswith("_") or getattr(value, "__module__", "") != info.name:
                continue
            if name.startswith("explore"):  # the explorers; what else is there draws for them
                if value in explore.EXPLORERS:
                    found[f"{name}.{key}"] = value
            elif inspect.isclass(value):
                found[f"{name}.{key}"] = value
                if not name.startswith(("data", "plots", "serve")):
                    methods = {part: f for part, f in vars(value).items() if inspect.isfunction(f)}
                    shown = (part for part in methods if not part.startswith("_") or part == "__call__")
                    found |= {f"{name}.{key}.{part}": methods[part] for part in shown}
            elif inspect.isfunction(inspect.unwrap(value)):
                found[f"{name}.{key}"] = value
    return {name: part for name, part in found.items() if set(inspect.signature(part).parameters) - {"self"}}


def odd_values(good):
    """Yield values of other types and sizes, and the good one made small, NaN or moved to another device."""
    yield from (
        None,
        "odd",
        "",
        b"odd",
        -1,
        0,
        1,
        True,
        2.5,
        float("nan"),
        float("inf"),
        1j,
        [],
        [None],
        {},
        {"odd": 1},
    )
    yield from (object(), set(), torch.zeros(0), torch.tensor(1.0), np.array([]), torch.zeros(2, 3, device="meta"))
    if isinstance(good, torch.Tensor):
        yield from (good[None], good[:1] if good.dim() else good, good[:0] if good.dim() else good, good.to("meta"))
        yield from (
            good.detach().numpy(),
            good.tolist(),
            good.bool(),
            good.long(),
            good.double(),
            good.to(torch.complex64),
        )
        if good.is_floating_point():
            yield torch.full_like(good, torch.nan)
        elif good.dtype != torch.bool:
            yield from (good - 99, good + 99)
    elif isinstance(good, np.ndarray):
        yield from (
            good[None],
            good[:1],
            good[:0],
            good.astype(int),
            np.full(good.shape, np.nan),
            torch.from_numpy(good),
        )
    elif isinstance(good, (list, tuple)):
        yield from (good[:1], good[:0], iter(good), dict.fromkeys(range(len(good)), 0), [object() for _ in good])
        if any(isinstance(part, torch.Tensor) for part in good):
            yield from ([part.to("meta") for part in good], [part[..., None] for part in good], [*good, good[-1]])
    elif isinstance(good, nn.Module):
        yield from (nn.Linear(2, 2), nn.Identity(), type(good), nn.LSTM(D, H, batch_first=True))
        with contextlib.suppress(NotImplementedError):
            yield copy.deepcopy(good).to("meta")


class Hangs(Exception):
    """A call takes too long."""


def late(*_):
    raise Hangs


@contextlib.contextmanager
def in_time(seconds=20):
    """Let no call wait for ever, and no warning pass."""
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def used(result):
    """Use what a call gave as far as it can be: the first values of a generator, the inside of a context."""
    if isinstance(result, (types.GeneratorType, text.Batches, text.BatchPortions, sentiment.Buckets)):
        list(itertools.islice(result, 2))
    elif isinstance(result, contextlib.AbstractContextManager) and not isinstance(result, nn.Module):
        with result:
            pass


def good_call(name):
    """Return the good call of a public name."""
    entry = GOOD[name]()
    if isinstance(entry, dict):
        return Call(public()[name], **entry)
    function, arguments = entry
    return Call(function.forward if isinstance(function, nn.Module) else function, **arguments)


def names_argument(message, argument, call):
    """Tell whether a message names an argument, in its own or another word, or one that it doesn't go with."""
    stem = re.sub("(es|s)$", "", argument.split("_")[-1])
    words = [rf"(\b|mini){re.escape(stem)}", *(rf"\b{other}\b" for other in call.arguments), SAID.get(argument, "^$")]
    return any(re.search(word, message) for word in words)


def complaints(name):
    """Yield what is wrong with the answers of a public name to odd values of each argument."""
    parameters = inspect.signature(good_call(name).function).parameters
    for argument in good_call(name).arguments:
        kind = parameters[argument].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            continue
        call = good_call(name)
        there = call.arguments[argument]
        several = kind is inspect.Parameter.VAR_POSITIONAL
        for odd in odd_values(there[0] if several else there):
            try:
                with in_time():
                    used(call(**{argument: [odd, *there[1:]] if several else odd}))
            except (ValueError, TypeError) as error:
                if not is_inner(name) and not names_argument(str(error), argument, call):
                    yield f"{argument}={odd!r:.60}: {type(error).__name__}: {error}"
            except Exception as error:
                if isinstance(odd, nn.Linear) and name in ANY_NETWORK:
                    continue
                if not is_inner(name) or isinstance(error, Hangs):
                    yield f"{argument}={odd!r:.60}: {type(error).__name__}: {error}"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Write into a folder of its own, and leave threads and zoom as they were."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "series.csv").write_text("time,a\n2024-01-01 00:00,1\n2024-01-01 01:00,2\n")
    (tmp_path / "odd").write_text("no such thing")
    yield
    torch.set_num_threads(1)
    plots.enlarge_figures(1)


def test_every_public_function_has_a_good_call():
    there, told = set(public()), set(GOOD) | set(LEFT_OUT)
    assert not there - told, "write a good call of each into GOOD"
    assert not told - there, "are no longer public"
    assert not set(GOOD) & set(LEFT_OUT)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_call_is_answered(name):
    if name not in UNCALLED:
        with in_time():
            used(good_call(name)())


@pytest.mark.parametrize("name", GOOD)
def test_odd_values_give_a_result_or_are_named(name):
    assert list(complaints(name)) == []


@pytest.mark.parametrize("name", [name for name in GOOD if not is_inner(name) and name != "environment.budget"])
def test_no_size_is_negative_and_no_network_is_a_word(name):
    """A result is no answer to everything: these must be refused."""
    for argument, there in good_call(name).arguments.items():
        counted = isinstance(there, int) and not isinstance(there, bool)
        if counted or isinstance(there, nn.Module):
            with in_time(), pytest.raises((ValueError, TypeError)):
                used(good_call(name)(**{argument: -1 if counted else "odd"}))


# The sizes of tensors: right ones give a right value, all others are named

sizes = st.integers(0, 3)


@given(st.lists(sizes, max_size=4), st.lists(sizes, max_size=3), sizes, sizes)
@settings(max_examples=150, deadline=None)
def test_a_recurrence_takes_what_fits_and_names_the_rest(inputs, state, num_inputs, num_hiddens):
    shapes = (num_inputs, num_hiddens), (num_hiddens, num_hiddens), (num_hiddens,), (num_hiddens, 2), (2,)
    params = [rand(*shape) for shape in shapes]
    X, H = rand(*inputs), rand(*state)
    fits = len(inputs) == 3 and 0 not in (*inputs, num_hiddens) and inputs[2] == num_inputs
    if fits and state == [inputs[1], num_hiddens]:
        logits, last = scratch.rnn(X, H, params)
        for x in X:
            H = torch.tanh(x @ params[0] + H @ params[1] + params[2])
        torch.testing.assert_close(last, H)
        assert logits.shape == (inputs[0] * inputs[1], 2)
    else:
        with pytest.raises(ValueError, match=r"^(inputs|H|params) must be a tensor of real numbers of shape"):
            scratch.rnn(X, H, params)


@given(st.lists(sizes, max_size=3), st.lists(sizes, max_size=3), st.lists(sizes, max_size=3))
@settings(max_examples=150, deadline=None)
def test_a_linear_recurrence_takes_what_fits_and_names_the_rest(a, b, h):
    a, b, h = rand(*a), rand(*b), rand(*h)
    try:
        states = beyond.linear_recurrence(a, b, h)
    except ValueError as error:
        assert re.match(r"[abh] ", str(error))
        return
    for a_t, b_t, state in zip(a, b, states, strict=True):
        h = a_t * h + b_t
        torch.testing.assert_close(state, h)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers())))
@settings(max_examples=150, deadline=None)
def test_a_size_is_a_whole_number_of_at_least_one(value):
    right = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    try:
        guards.check_sizes(num_steps=value)
    except ValueError as error:
        assert not right and str(error).startswith(f"num_steps={value!r} must be a whole number")
    else:
        assert right


FORMS = {  # forms, tensors, and what is said of them; None where they fit
    "a letter is one size": ("X (N, D), H (N, H)", [(2, 3), (2, 5)], None),
    "and stays it": (
        "X (N, D), H (N, H)",
        [(2, 3), (3, 5)],
        r"H must be .* \(N, H\) with N = 2, D = 3, not .*\(3, 5\)",
    ),
    "a multiple": ("a (N, 3H), h (N, H)", [(2, 6), (2, 2)], None),
    "no multiple": ("a (N, 3H), h (N, H)", [(2, 6), (2, 3)], r"h must be .* with N = 2, H = 2"),
    "a number": ("wave (T, N, 1)", [(4, 2, 2)], r"wave must be .*\(T, N, 1\)"),
    "any sizes": ("a (T, …), b (…)", [(4, 2, 3), (2, 3)], None),
    "the same any sizes": ("a (T, …), b (…)", [(4, 2, 3), (3, 2)], "b must be"),
    "nothing": ("X (N, D)", [(0, 3)], "X must be"),
    "nothing, allowed": ("X (n, D)", [(0, 3)], None),
}


@pytest.mark.parametrize("case", FORMS)
def test_forms(case):
    form, shapes, message = FORMS[case]
    tensors = [rand(*shape) for shape in shapes]
    if message is None:
        guards.check_shapes(form, *tensors)
    else:
        with pytest.raises(ValueError, match=message):
            guards.check_shapes(form, *tensors)


def test_forms_hold_kinds_devices_and_dtypes():
    X, mask, rows = rand(2, 3), torch.ones(2, dtype=torch.bool), ids(2)
    guards.check_shapes("X (N, D), bool mask (N), whole rows (N), both (N) (N, D)", X, mask, rows, (X[:, 0], X))
    wrong = {
        "mask must be a tensor of True and False": ("X (N, D), bool mask (N)", X, rows),
        "rows must be a tensor of whole numbers": ("X (N, D), whole rows (N)", X, mask),
        "Y is on meta, X on cpu": ("X (N, D), Y (N, D)", X, X.to("meta")),
        r"Y is torch.float64, X torch.float32: convert it": ("X (N, D), Y (N, D)", X, X.double()),
        "both=.* must be a tuple or list of 2 tensors": ("both (N) (N, D)", [X]),
    }
    for message, call in wrong.items():
        with pytest.raises(ValueError, match=message):
            guards.check_shapes(*call)
