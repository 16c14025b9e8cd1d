"""Exercises of chapter 6: reading in both directions."""

import collections

import torch
from torch import nn

from rnnlib.check._frame import (
    Exercise,
    Wrong,
    corpus,
    expect_close,
    expect_shape,
    expect_something,
    expect_truth,
    kind,
    within,
)


def _draw_sizes(*highest):
    """Draw one whole number from 1 to each of these."""
    return [int(torch.randint(1, high + 1, ())) for high in highest]


# Two layers of one direction make a bidirectional one


def join_directions(ahead, back, X):
    forward, _ = ahead(X)  # (T, N, H)
    backward, _ = back(X.flip(0))  # (T, N, H), the last step first
    return torch.cat([forward, backward.flip(0)], dim=2)  # (T, N, 2H)


def _bidirectional_gru(ahead, back):
    """Return the bidirectional nn.GRU that two of one direction make."""
    layer = nn.GRU(ahead.input_size, ahead.hidden_size, bidirectional=True)
    weights = dict(ahead.state_dict())
    weights.update({f"{name}_reverse": weight for name, weight in back.state_dict().items()})
    layer.load_state_dict(weights)
    return layer


@torch.no_grad()
def _test_join_directions(answer):
    """From shapes to the bidirectional nn.GRU with the same weights, T = 1 and N = 1 included."""
    torch.manual_seed(0)  # the frame puts the reader\'s random state back
    for N, T, D, H in [(2, 5, 3, 4), (1, 1, 2, 3), *(_draw_sizes(3, 6, 4, 4) for _ in range(20))]:
        ahead, back = nn.GRU(D, H), nn.GRU(D, H)
        X = torch.randn(T, N, D)
        got = answer(ahead, back, X.clone())
        if isinstance(got, torch.Tensor) and got.shape == (2 * T, N, H) != (T, N, 2 * H):
            raise Wrong("the directions follow each other in time: lay them side by side, along the last axis")
        if isinstance(got, torch.Tensor) and got.shape == (T, N, H):
            raise Wrong(f"{(T, N, H)} came, the numbers of one direction: lay both side by side, {(T, N, 2 * H)}")
        expect_shape(got, (T, N, 2 * H))
        (forward, end), (backward, _) = ahead(X), back(X.flip(0))  # outputs (T, N, H) each
        slips = [
            (torch.cat([forward, backward], 2), "has the backward states in the order they were made: flip them back"),
            (torch.cat([forward, back(X)[0]], 2), "comes from two layers that both read forward: give one X.flip(0)"),
            (torch.cat([forward, back(X)[0].flip(0)], 2), "flips what comes out, but not what goes in: flip X too"),
            (torch.cat([backward.flip(0), forward], 2), "has the backward half first: the forward half comes first"),
            (
                torch.cat([forward, back(X.flip(0), end)[0].flip(0)], 2),
                "starts the backward reader with the forward one's last state: each starts from zeros",
            ),
            (
                torch.stack([forward, backward.flip(0)], 3).reshape(T, N, 2 * H),
                "has the numbers of both directions by turns: first all of the forward half, then the backward one",
            ),
            (
                torch.cat([forward, backward.flip(0, 2)], 2),
                "flips the numbers of the backward states too: flip along time alone",
            ),
            (torch.cat([forward, back(X.flip(1))[0]], 2), "flips the sequences of the minibatch: time is axis 0"),
        ]
        expect_close(got, _bidirectional_gru(ahead, back)(X)[0], f"the output for T = {T}, N = {N}", slips, 1e-5)


JOIN_DIRECTIONS = Exercise(
    name="join_directions",
    chapter=6,
    stars=1,
    test=_test_join_directions,
    solution=join_directions,
    section="Two readers",
    wrong={
        "not flipped back": (
            lambda ahead, back, X: torch.cat([ahead(X)[0], back(X.flip(0))[0]], 2),
            "flip them back",
        ),
        "both forward": (lambda ahead, back, X: torch.cat([ahead(X)[0], back(X)[0]], 2), "both read forward"),
        "input not flipped": (
            lambda ahead, back, X: torch.cat([ahead(X)[0], back(X)[0].flip(0)], 2),
            "but not what goes in",
        ),
        "halves swapped": (
            lambda ahead, back, X: torch.cat([back(X.flip(0))[0].flip(0), ahead(X)[0]], 2),
            "the forward half comes first",
        ),
        "batch flipped": (
            lambda ahead, back, X: torch.cat([ahead(X)[0], back(X.flip(1))[0]], 2),
            "flips the sequences of the minibatch",
        ),
        "one after the other": (
            lambda ahead, back, X: torch.cat([ahead(X)[0], back(X.flip(0))[0].flip(0)], 0),
            "along the last axis",
        ),
        "one direction": (lambda ahead, back, X: ahead(X)[0], "the numbers of one direction"),
        "state handed over": (
            lambda ahead, back, X: torch.cat([ahead(X)[0], back(X.flip(0), ahead(X)[1])[0].flip(0)], 2),
            "with the forward one's last state",
        ),
        "by turns": (
            lambda ahead, back, X: torch.stack([ahead(X)[0], back(X.flip(0))[0].flip(0)], 3).flatten(2),
            "of both directions by turns",
        ),
    },
    hints=(
        "A layer returns its outputs and its last state; you need the outputs, (T, N, H).",
        "The backward layer gets X.flip(0). Its first output then belongs to the last time step.",
        "Flip its outputs with .flip(0) too, then join both with torch.cat(..., dim=2).",
    ),
)


# The final state


def final_state(h_n):
    return torch.cat([h_n[-2], h_n[-1]], dim=1)  # (N, 2H)


def _test_final_state(answer):
    """From one layer to several, N = 1 included."""
    torch.manual_seed(0)  # the frame puts the reader\'s random state back
    for layers, N, H in [(2, 3, 4), (1, 2, 3), (3, 1, 2), *(_draw_sizes(3, 4, 4) for _ in range(20))]:
        h_n = torch.randn(2 * layers, N, H)
        got = answer(h_n.clone())
        if isinstance(got, torch.Tensor) and got.shape in ((N, H), (2, N, H)):
            raise Wrong(f"the shape is {tuple(got.shape)}: join both directions side by side, (N, 2H) = {(N, 2 * H)}")
        if isinstance(got, torch.Tensor) and got.shape == (2 * N, H) != (N, 2 * H):
            raise Wrong(f"the shape is {tuple(got.shape)}: the states lie one below the other, join them along axis 1")
        expect_shape(got, (N, 2 * H))
        slips = [
            (torch.cat([h_n[-1], h_n[-2]], 1), "has the backward state first"),
            (torch.cat([h_n[0], h_n[1]], 1), "is that of the first layer: count from the end of h_n"),
            (torch.cat([h_n[-1], h_n[-1]], 1), "holds the backward state twice"),
            (torch.cat([h_n[-2], h_n[-2]], 1), "holds the forward state twice"),
            (
                torch.cat([h_n[layers - 1], h_n[-1]], 1),
                "takes h_n for all forward states and then all backward ones: it goes layer by layer",
            ),
            (
                torch.cat([h_n[0], h_n[-1]], 1),
                "mixes the first layer's forward state with the last layer's backward one",
            ),
            (
                h_n[-2:].reshape(N, 2 * H),
                "mixes the sequences: reshape reads on row by row, torch.cat joins along an axis",
            ),
        ]
        if N > 1 or layers > 1:  # with a single row of one layer most slips are right by luck
            expect_close(got, torch.cat([h_n[-2], h_n[-1]], 1), f"the state with {layers} layers", slips)


FINAL_STATE = Exercise(
    name="final_state",
    chapter=6,
    stars=1,
    test=_test_final_state,
    solution=final_state,
    section="The right final state",
    wrong={
        "one direction": (lambda h_n: h_n[-1], "join both directions side by side"),
        "order": (lambda h_n: torch.cat([h_n[-1], h_n[-2]], 1), "has the backward state first"),
        "first layer": (lambda h_n: torch.cat([h_n[0], h_n[1]], 1), "count from the end of h_n"),
        "two layers": (lambda h_n: torch.cat([h_n[0], h_n[-1]], 1), "mixes the first layer's forward state"),
        "reshaped": (lambda h_n: h_n[-2:].reshape(h_n.shape[1], -1), "mixes the sequences"),
        "backward twice": (lambda h_n: torch.cat([h_n[-1], h_n[-1]], 1), "holds the backward state twice"),
        "directions apart": (
            lambda h_n: torch.cat([h_n[len(h_n) // 2 - 1], h_n[-1]], 1),
            "it goes layer by layer",
        ),
        "one below the other": (lambda h_n: torch.cat([h_n[-2], h_n[-1]]), "one below the other"),
    },
    hints=(
        "h_n holds for each layer first the forward, then the backward state, the last layer at the end.",
        "So h_n[-2] is the forward and h_n[-1] the backward state of the last layer, (N, H) each.",
        "Join them along axis 1 with torch.cat.",
    ),
)


# The final state, found in the outputs


def state_at_length(output, lengths):
    rows = torch.arange(len(lengths))
    H = output.shape[2] // 2
    return torch.cat([output[rows, lengths - 1, :H], output[:, 0, H:]], dim=1)  # (N, 2H)


def _pick(output, forward_steps, backward_steps):
    """Take each half of the outputs (N, T, 2H) at a time step of its own for each row."""
    rows, H = torch.arange(len(output)), output.shape[2] // 2
    return torch.cat([output[rows, forward_steps, :H], output[rows, backward_steps, H:]], 1)  # (N, 2H)


def _test_state_at_length(answer):
    """From three sequences to minibatches of any lengths, N = 1 included."""
    torch.manual_seed(0)  # the frame puts the reader\'s random state back
    cases = [(5, 2, torch.tensor([5, 3, 2])), (3, 2, torch.tensor([3]))]
    for _ in range(20):
        N, T, H = _draw_sizes(4, 6, 3)
        lengths = torch.randint(1, T + 1, (N,))
        lengths[int(torch.randint(N, ()))] = T  # the longest sequence fills the minibatch
        cases.append((T, H, lengths))
    for T, H, lengths in cases:
        real = torch.arange(T) < lengths[:, None]  # (N, T)
        output = torch.randn(len(lengths), T, 2 * H) * real[:, :, None]  # zeros beyond the end, as after unpacking
        try:
            got = answer(output.clone(), lengths.clone())
        except RuntimeError as error:
            if "same number of dimensions" in str(error):
                raise Wrong(
                    f"output[:, lengths - 1] has shape {tuple(output[:, lengths - 1].shape)}: it takes all the "
                    "steps in every row; name the row of each step too, output[torch.arange(N), lengths - 1]"
                ) from None
            raise
        except IndexError as error:
            if f"index {T} is out of bounds" in str(error):
                raise Wrong(f"there is no step {T} of {T}: a row of length {T} ends at step {T - 1}") from None
            raise
        expect_shape(got, (len(lengths), 2 * H))
        ends, first, last = lengths - 1, torch.zeros_like(lengths), torch.full_like(lengths, T - 1)
        slips = [
            (output[:, -1], "is output[:, -1]: zeros after a shorter sequence, and one backward step at the longest"),
            (
                _pick(output, ends, ends),
                "takes both halves at the end: the backward half has read everything at step 0",
            ),
            (
                _pick(output, ends, last),
                "takes the backward half at the last step, where it has read one letter or padding alone: it has read "
                "everything at step 0",
            ),
            (_pick(output, ends - 1, first), "takes the forward half one step early: a row of length 3 ends at step 2"),
            (
                _pick(output, ends, first).roll(H, 1),
                "has the backward half first: the forward half comes first",
            ),
            (output[:, 0], "takes both halves at step 0: the forward half has read everything at lengths - 1"),
            (_pick(output, first, ends), "takes the two halves the wrong way round"),
            (
                _pick(output, lengths.clamp(max=T - 1), first),
                "has zeros in the forward half of a shorter sequence, the padding behind its end: its last letter is "
                "at step lengths - 1",
            ),
        ]
        expect_close(got, _pick(output, ends, first), f"the state for lengths {lengths.tolist()}", slips)


STATE_AT_LENGTH = Exercise(
    name="state_at_length",
    chapter=6,
    stars=2,
    test=_test_state_at_length,
    solution=state_at_length,
    section="With padding",
    wrong={
        "last output": (lambda output, lengths: output[:, -1], "zeros after a shorter sequence"),
        "both at the end": (
            lambda output, lengths: _pick(output, lengths - 1, lengths - 1),
            "the backward half has read everything at step 0",
        ),
        "both at the start": (
            lambda output, lengths: output[:, 0],
            "the forward half has read everything at lengths - 1",
        ),
        "wrong way round": (lambda output, lengths: _pick(output, 0 * lengths, lengths - 1), "the wrong way round"),
        "all steps in every row": (
            lambda output, lengths: torch.cat(
                [output[:, lengths - 1, : output.shape[2] // 2], output[:, 0, output.shape[2] // 2 :]], 1
            ),
            "it takes all the steps in every row",
        ),
        "one step late": (
            lambda output, lengths: _pick(output, lengths.clamp(max=output.shape[1] - 1), 0 * lengths),
            "the padding behind its end",
        ),
        "backward at the last step": (
            lambda output, lengths: _pick(output, lengths - 1, 0 * lengths + output.shape[1] - 1),
            "takes the backward half at the last step",
        ),
        "one step early": (lambda output, lengths: _pick(output, lengths - 2, 0 * lengths), "one step early"),
        "halves swapped": (
            lambda output, lengths: state_at_length(output, lengths).roll(output.shape[2] // 2, 1),
            "has the backward half first",
        ),
        "no such step": (lambda output, lengths: _pick(output, lengths, 0 * lengths), "there is no step 5 of 5"),
    },
    hints=(
        "The forward half is output[:, :, :H], the backward half output[:, :, H:]. When has each read everything?",
        "output[torch.arange(N), lengths - 1] picks one time step a row.",
        "Join output[rows, lengths - 1, :H] and output[:, 0, H:] along axis 1.",
    ),
)


# Debug: flipping with padding


def flip_padded(ids, lengths):
    flipped = ids.clone()
    for row, length in enumerate(lengths):
        flipped[row, :length] = ids[row, :length].flip(0)
    return flipped  # (N, T)


def _flip_and_cut(ids, lengths):
    return ids.flip(1) * (torch.arange(ids.shape[1]) < lengths[:, None])


def _flip_onto_zeros(ids, lengths):
    return flip_padded(ids, lengths) * (torch.arange(ids.shape[1]) < lengths[:, None])


def _flip_within(ids, lengths, change):
    """Flip each row within another number of letters than it has."""
    T = ids.shape[1]
    return flip_padded(ids, (lengths + change).clamp(min=0, max=T))


def _roll(ids, lengths):
    return torch.stack([torch.cat([row[:n].roll(1), row[n:]]) for row, n in zip(ids, lengths, strict=True)])


def _flip_in_place(ids, lengths):
    for row, length in enumerate(lengths):
        ids[row, :length] = ids[row, :length].flip(0)
    return ids


def _test_flip_padded(answer):
    """From two words to minibatches of any lengths, whose padding must stay at the end."""
    torch.manual_seed(0)  # the frame puts the reader\'s random state back
    lengths = torch.tensor([4, 2])
    cases = [(torch.tensor([[5, 6, 7, 8], [3, 2, pad, pad]]), lengths) for pad in (0, 1)]
    for _ in range(20):
        N, T = _draw_sizes(4, 6)
        lengths = torch.randint(1, T + 1, (N,))
        cases.append((torch.randint(1, 9, (N, T)) * (torch.arange(T) < lengths[:, None]), lengths))
    for ids, lengths in cases:
        given = ids.clone()
        got = answer(given, lengths.clone())
        if not torch.equal(given, ids):
            raise Wrong(
                "your function changes the ids that came in: work on ids.clone(), or who calls it finds them so"
            )
        expect_shape(got, ids.shape)
        right = torch.stack([torch.cat([row[:n].flip(0), row[n:]]) for row, n in zip(ids, lengths, strict=True)])
        kept = torch.stack([torch.cat([row[n:], row[:n]]) for row, n in zip(ids, lengths, strict=True)])
        slips = [
            (ids.flip(1), "begins with the padding, which the backward reader then reads first: keep it at the end"),
            (ids.flip(0), "has the sequences of the minibatch flipped: time is axis 1"),
            (kept, "moves the padding to the front and flips nothing"),
            (_flip_and_cut(ids, lengths), "is cut from a row flipped with its padding: flip only the letters"),
            (_flip_onto_zeros(ids, lengths), "has zeros for padding, whose id may be another: leave it as it stands"),
            (ids, "is what came in: nothing was flipped"),
            (_flip_within(ids, lengths, -1), "leaves the last letter where it is: a row has `length` letters to flip"),
            (_flip_within(ids, lengths, 1), "flips one padding with the letters: a row has `length` letters to flip"),
            (_roll(ids, lengths), "has its letters moved on by one, not reversed"),
        ]
        expect_close(got, right, f"the result for {ids.tolist()} with lengths {lengths.tolist()}", slips)


FLIP_PADDED = Exercise(
    name="flip_padded",
    chapter=6,
    stars=2,
    test=_test_flip_padded,
    solution=flip_padded,
    section="With padding",
    wrong={
        "all flipped": (lambda ids, lengths: ids.flip(1), "begins with the padding"),
        "batch flipped": (lambda ids, lengths: ids.flip(0), "time is axis 1"),
        "nothing flipped": (lambda ids, lengths: ids, "nothing was flipped"),
        "flipped and cut": (_flip_and_cut, "flip only the letters"),
        "zeros for padding": (_flip_onto_zeros, "leave it as it stands"),
        "in place": (_flip_in_place, "changes the ids that came in"),
        "one letter short": (lambda ids, lengths: _flip_within(ids, lengths, -1), "the last letter where it is"),
        "one letter too many": (lambda ids, lengths: _flip_within(ids, lengths, 1), "one padding with the letters"),
        "only moved": (
            lambda ids, lengths: torch.stack(
                [torch.cat([row[n:], row[:n]]) for row, n in zip(ids, lengths, strict=True)]
            ),
            "flips nothing",
        ),
    },
    hints=(
        "What does a backward reader of ids.flip(1) read first in a short row?",
        "Flip only ids[row, :length], and leave what follows in its place.",
        "Copy ids with .clone(), then go through the rows: flipped[row, :length] = ids[row, :length].flip(0).",
    ),
)


# May its perplexity be believed?


def may_be_believed(sees):
    return not sees.triu(1).any().item()


BELIEF_SLIPS = {
    "always": (lambda sees: True, "is True for a model that reads the answer: its perplexity is that of a copy"),
    "next one only": (
        lambda sees: not sees.diagonal(1).any().item(),
        "looks only at input s + 1: a model that looks further ahead, like the cloze model, does not copy, but its "
        "number is no perplexity of a language model",
    ),
    "own input": (
        lambda sees: not sees.triu(0).any().item(),
        "forbids output s its own input s: that one is known, the answer is input s + 1",
    ),
    "past forbidden": (
        lambda sees: not sees.tril(-1).any().item(),
        "forbids the past: the rows are outputs, the columns inputs, so the future is above the diagonal",
    ),
    "next one allowed": (
        lambda sees: not sees.triu(2).any().item(),
        "lets output s see input s + 1, which is the answer: a model that copies it would be believed",
    ),
    "last ones left out": (
        lambda sees: not sees[:-1, :-1].triu(1).any().item(),
        "leaves the last input out: output s may not see it either, unless s is the last",
    ),
    "never": (lambda sees: False, "is False for a forward reader too, which sees no input after its own"),
    "turned round": (lambda sees: bool(sees.triu(1).any()), "says when it may not be believed: turn the answer round"),
    "all of the past": (
        lambda sees: bool(torch.equal(sees, torch.ones_like(sees).tril())),
        "asks for all of the past: a model with a short memory is honest too",
    ),
}


def _dependencies():
    """Return what models see, by name: readers of known directions, then any that sees one input more or only one."""
    T = 5
    whole = torch.ones(T, T).bool()
    past = whole.tril()
    cases = {
        "a forward reader": past,
        "a reader of both directions": whole,
        "a backward reader": whole.triu(),
        "a bigram model": torch.eye(T).bool(),
        "a cloze model, which sees all but the answer": ~torch.eye(T).roll(1, 1).triu(1).bool(),
        "a model of the last three letters": past.triu(-2),
        "a model that ignores all inputs": ~whole,
        "a forward reader that sees the answer as well": whole.tril(1),
        "a model of one letter that sees it": torch.ones(1, 1).bool(),
    }
    for s in range(T):
        for t in range(T):
            one = torch.zeros(T, T).bool()
            one[s, t] = True
            if t > s:
                cases[f"a forward reader whose output {s} of {T} sees input {t} as well"] = past | one
            else:
                cases[f"a model whose output {s} sees input {t} alone"] = one
    return cases


def _test_may_be_believed(answer):
    """From readers of known directions to models that see a single input."""
    cases = _dependencies()
    got = {name: expect_truth(answer(sees.clone()), f"the answer for {name}") for name, sees in cases.items()}
    for slip, sentence in BELIEF_SLIPS.values():
        if list(got.values()) == [slip(sees) for sees in cases.values()]:
            raise Wrong(f"your function {sentence}")
    for name, sees in cases.items():
        if got[name] != may_be_believed(sees):
            raise Wrong(f"for {name} the answer should be {not got[name]}, but {got[name]} came")


MAY_BE_BELIEVED = Exercise(
    name="may_be_believed",
    chapter=6,
    stars=2,
    test=_test_may_be_believed,
    solution=may_be_believed,
    section="Mending the leak",
    wrong=BELIEF_SLIPS,
    hints=(
        "Output s guesses input s + 1. Which columns of row s must be False?",
        "Those from s + 1 on: the part of the matrix above its diagonal.",
        "sees.triu(1) keeps that part; .any() says whether anything is left in it.",
    ),
)


# Who sees what, without autograd


def who_sees_what(read, X):
    before = read(X)  # (S, K)
    columns = []
    for t in range(len(X)):
        changed = X.clone()
        changed[t] += 1.0
        columns.append((read(changed) != before).any(dim=1))  # (S,)
    return torch.stack(columns, dim=1)  # (S, T)


SECOND_NUMBER = "outputs of which only the second number depends on the input"
ZERO_ROW = "a running sum whose second input is all zeros"


@torch.no_grad()
def _test_who_sees_what(answer):
    """From running sums, whose dependencies are known, to recurrent layers, whose autograd is asked."""
    torch.manual_seed(0)  # the frame puts the reader\'s random state back
    known = {
        "a sum of all inputs so far": (lambda X: X.cumsum(0), torch.ones(4, 4).tril().bool()),
        "a sum of all inputs from here on": (lambda X: X.flip(0).cumsum(0).flip(0), torch.ones(4, 4).triu().bool()),
        "a copy of the input": (lambda X: X.clone(), torch.eye(4).bool()),
        "the last input alone": (lambda X: X[-1:], torch.tensor([[False, False, False, True]])),
        "the last feature": (lambda X: X[:, -1:], torch.eye(4).bool()),
        SECOND_NUMBER: (lambda X: torch.stack([0 * X[:, 0], X.sum(1)], 1), torch.eye(4).bool()),
        "whole numbers": (lambda X: X.floor(), torch.eye(4).bool()),  # no path for autograd
    }
    for name, (read, right) in known.items():
        _expect_dependencies(answer, read, 3 + torch.randn(4, 3), right, name)  # no number is near 0
    silent = (3 + torch.randn(4, 3)) * torch.tensor([[1.0], [0.0], [1.0], [1.0]])
    _expect_dependencies(answer, lambda X: X.cumsum(0), silent, torch.ones(4, 4).tril().bool(), ZERO_ROW)
    for two, T in [(False, 5), (True, 5), (True, 1)]:
        layer = nn.RNN(3, 2, bidirectional=two)
        right = torch.ones(T, T) if two else torch.ones(T, T).tril()
        _expect_dependencies(answer, lambda X, layer=layer: layer(X)[0], torch.randn(T, 3), right.bool(), "an nn.RNN")


def _expect_dependencies(answer, read, X, right, name):
    kept = X.clone()
    got = answer(read, X)
    if not torch.equal(X, kept):
        raise Wrong("your function leaves X changed: work on X.clone(), or each change stays for the next one")
    if isinstance(got, torch.Tensor) and got.shape == right.T.shape != right.shape:
        raise Wrong(f"the shape is {tuple(got.shape)}: outputs are the rows, inputs the columns")
    expect_shape(got, right.shape, f"the matrix of {name}")
    if got.dtype != torch.bool:
        raise Wrong(f"the entries are {got.dtype}: answer yes or no, torch.bool")
    slips = [(right.T, "has outputs and inputs the wrong way round: outputs are the rows")]
    if len(right) == len(right.T):
        slips.append((torch.eye(len(right)).bool(), "sees only the output at the changed step: compare all outputs"))
    nothing = torch.zeros_like(right)
    if name == ZERO_ROW:
        unseen = right & X.any(dim=1)  # without the column of the zeros
        slips.append((unseen, "misses an input that is 0 already: give each another value than it had, such as X + 1"))
    if name == "the last feature":
        slips.append((nothing, "finds no dependence: change all the numbers of an input, not only some"))
    if name == SECOND_NUMBER:
        slips.append((nothing, "finds no dependence: an output has changed if any of its numbers has, not only all"))
    if name == "whole numbers":
        flat = "finds nothing, since a staircase has slope 0: do without derivatives, change inputs by 1 or more"
        slips.append((nothing, flat))
    all_at_once = torch.ones_like(right).bool()
    slips.append((all_at_once, "says that everything depends on everything: change one time step at a time"))
    expect_close(got, right, f"the matrix of {name}", slips)


def _see_own_step(read, X):
    matrix = torch.zeros(len(read(X)), len(X), dtype=torch.bool)
    for t in range(min(matrix.shape)):
        changed = X.clone()
        changed[t] += 1.0
        matrix[t, t] = (read(changed)[t] != read(X)[t]).any()
    return matrix


def _when_all_change(read, X):
    columns = []
    for t in range(len(X)):
        changed = X.clone()
        changed[t] += 1.0
        columns.append((read(changed) != read(X)).all(1))
    return torch.stack(columns, 1)


def _ask_autograd(read, X):
    with torch.enable_grad():
        jacobian = torch.autograd.functional.jacobian(read, X)  # (S, K, T, D)
    return jacobian.abs().sum((1, 3)) > 0


def _change_first_feature(read, X):
    columns = []
    for t in range(len(X)):
        changed = X.clone()
        changed[t, 0] += 1.0
        columns.append((read(changed) != read(X)).any(1))
    return torch.stack(columns, 1)


def _change_all(read, X):
    return (read(X + 1.0) != read(X)).any(1)[:, None].expand(-1, len(X))


def _set_to_zero(read, X):
    columns = []
    for t in range(len(X)):
        changed = X.clone()
        changed[t] = 0.0
        columns.append((read(changed) != read(X)).any(1))
    return torch.stack(columns, 1)


def _change_in_place(read, X):
    before, columns = read(X), []
    for t in range(len(X)):
        X[t] += 1.0
        columns.append((read(X) != before).any(1))
    return torch.stack(columns, 1)


WHO_SEES_WHAT = Exercise(
    name="who_sees_what",
    chapter=6,
    stars=3,
    test=_test_who_sees_what,
    solution=who_sees_what,
    section="Who sees what",
    wrong={
        "transposed": (lambda read, X: who_sees_what(read, X).T, "outputs are the rows"),
        "own step only": (_see_own_step, "compare all outputs"),
        "all at once": (_change_all, "change one time step at a time"),
        "autograd": (_ask_autograd, "a staircase has slope 0"),
        "one feature": (_change_first_feature, "change all the numbers of an input"),
        "all numbers": (_when_all_change, "if any of its numbers has"),
        "set to zero": (_set_to_zero, "misses an input that is 0 already"),
        "in place": (_change_in_place, "leaves X changed"),
        "numbers": (lambda read, X: who_sees_what(read, X).float(), "answer yes or no"),
    },
    hints=(
        "Change one input, run the function again: which outputs are no longer the same?",
        "changed = X.clone(); changed[t] += 1; then (read(changed) != read(X)).any(dim=1) is one column.",
        "Collect the T columns in a list and return torch.stack(columns, dim=1).",
    ),
)


# Go further: vowels


def restore_vowels(train_text, hidden_text):
    hidden_train = "".join("_" if c in "aeiou" else c for c in train_text)
    restored = list(hidden_text)
    for left, right in [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3)]:  # ever wider windows
        counts = collections.defaultdict(collections.Counter)
        padded = " " * left + hidden_train + " " * right
        for i, letter in enumerate(train_text):
            if letter in "aeiou":
                counts[padded[i : i + left + 1 + right]][letter] += 1
        padded = " " * left + hidden_text + " " * right
        for i, letter in enumerate(hidden_text):
            window = padded[i : i + left + 1 + right]
            if letter == "_" and window in counts:
                restored[i] = counts[window].most_common(1)[0][0]
    return "".join(restored)


def _hide(text):
    return "".join("_" if letter in "aeiou" else letter for letter in text)


def _from_windows(shapes):
    """Restore by the widest of these windows, (left, right), that has been met."""

    def restore(train_text, hidden_text):
        hidden_train, restored = _hide(train_text), list(hidden_text)
        for left, right in shapes:
            counts = collections.defaultdict(collections.Counter)
            padded = " " * left + hidden_train + " " * right
            for i, letter in enumerate(train_text):
                if letter in "aeiou":
                    counts[padded[i : i + left + 1 + right]][letter] += 1
            padded = " " * left + hidden_text + " " * right
            for i, letter in enumerate(hidden_text):
                window = padded[i : i + left + 1 + right]
                if letter == "_" and window in counts:
                    restored[i] = counts[window].most_common(1)[0][0]
        return "".join(restored)

    return restore


BEFORE, AFTER = _from_windows([(n, 0) for n in range(5)]), _from_windows([(0, n) for n in range(5)])
VOWEL_SLIPS = {
    "always e": (_from_windows([(0, 0)]), "The same vowel everywhere: look at the letters around it"),
    "before": (BEFORE, "of the letters before a vowel"),
    "after": (AFTER, "and of those after it"),
    "nothing restored": (lambda train_text, hidden_text: hidden_text, "_ is left in the text: guess every vowel"),
}
VOWEL_GOAL = 0.85


def _test_restore_vowels(answer):
    """Measured on the last tenth of the text."""
    cut = corpus().index(" ", int(0.9 * len(corpus())))
    train_text, text = corpus()[:cut], corpus()[cut:]
    got, seconds = within(60, answer, train_text, _hide(text))
    expect_something(got)
    if not isinstance(got, str) or len(got) != len(text):
        came = f"one of {len(got)}" if isinstance(got, str) else kind(got)
        raise Wrong(f"return a text of {len(text)} letters, as long as hidden_text, but {came} came")
    if "_" in got:
        raise Wrong(VOWEL_SLIPS["nothing restored"][1])
    if _hide(got) != _hide(text):
        raise Wrong("letters have changed that were not hidden: replace each _ by a vowel, and nothing else")
    places = [i for i, letter in enumerate(text) if letter in "aeiou"]

    def share_right(restored):
        return sum(restored[i] == text[i] for i in places) / len(places)

    share = share_right(got)
    measured = f"{share:.1%} of {len(places)} held-out vowels, in {seconds:.0f} seconds; the goal is {VOWEL_GOAL:.0%}"
    if share >= VOWEL_GOAL:
        return f"Measured: {measured}."
    if len({got[i] for i in places}) == 1:
        raise Wrong(f"measured: {measured}. {VOWEL_SLIPS['always e'][1]}")
    before, after = (share_right(table(train_text, _hide(text))) for table in (BEFORE, AFTER))
    sides = f"A table of the letters before a vowel gets {before:.0%} and of those after it {after:.0%}"
    raise Wrong(f"measured: {measured}. {sides}; together they tell more")


RESTORE_VOWELS = Exercise(
    name="restore_vowels",
    chapter=6,
    stars=3,
    test=_test_restore_vowels,
    solution=restore_vowels,
    section="Baselines first",
    wrong=VOWEL_SLIPS,
    hints=(
        "The table of windows of this chapter needs little change: it counts vowels in place of word ends.",
        "Hide the vowels of train_text too, so that its windows look like those of hidden_text.",
        "Count which vowel stood in each window; let ever wider windows decide, up to three letters on each side.",
    ),
)


EXERCISES = (
    JOIN_DIRECTIONS,
    FINAL_STATE,
    STATE_AT_LENGTH,
    MAY_BE_BELIEVED,
    FLIP_PADDED,
    WHO_SEES_WHAT,
    RESTORE_VOWELS,
)
