"""Answers to the exercises of chapter 6."""

import collections

import numpy as np
import torch
from torch import nn

from rnnlib import check

SOLUTIONS = {name: exercise.solution for name, exercise in check.catalogue().items()}


def joined(backward, forward=lambda ahead, X: ahead(X)[0], join=lambda parts: torch.cat(parts, 2)):
    """Return an answer that joins what two rules give."""
    return lambda ahead, back, X: join([forward(ahead, X), backward(back, X)])


def right_backward(back, X):
    return back(X.flip(0))[0].flip(0)


def join_by_library(ahead, back, X):
    layer = nn.GRU(ahead.input_size, ahead.hidden_size, bidirectional=True)
    for name, weight in ahead.named_parameters():
        layer.get_parameter(name).data = weight.data
    for name, weight in back.named_parameters():
        layer.get_parameter(f"{name}_reverse").data = weight.data
    return layer(X)[0]


def join_in_a_loop(ahead, back, X):
    T, N, _ = X.shape
    output, H = torch.empty(T, N, 2 * ahead.hidden_size), ahead.hidden_size
    state = None
    for t in range(T):
        output[t, :, :H], state = ahead(X[t : t + 1], state)
    state = None
    for t in reversed(range(T)):
        output[t, :, H:], state = back(X[t : t + 1], state)
    return output


def join_with_state_handed_over(ahead, back, X):
    output, state = ahead(X)
    return torch.cat([output, back(X.flip(0), state)[0].flip(0)], -1)


JOIN_DIRECTIONS = {
    "solution": (SOLUTIONS["join_directions"], "Right"),
    "library": (join_by_library, "Right"),
    "loop": (join_in_a_loop, "Right"),
    "index": (
        joined(lambda back, X: back(X[torch.arange(len(X) - 1, -1, -1)])[0][range(len(X) - 1, -1, -1)]),
        "Right",
    ),
    "float64": (lambda *arguments: join_in_a_loop(*arguments).double(), "Right"),
    "not flipped back": (joined(lambda back, X: back(X.flip(0))[0]), "flip them back"),
    "both forward": (joined(lambda back, X: back(X)[0]), "both read forward"),
    "flipped behind": (joined(lambda back, X: back(X)[0].flip(0)), "but not what goes in"),
    "sequences flipped": (joined(lambda back, X: back(X.flip(1))[0].flip(1)), "both read forward"),
    "sequences flipped once": (joined(lambda back, X: back(X.flip(1))[0]), "time is axis 0"),
    "numbers flipped too": (joined(lambda back, X: right_backward(back, X).flip(2)), "flip along time alone"),
    "backward first": (
        joined(right_backward, join=lambda parts: torch.cat(parts[::-1], 2)),
        "the forward half comes first",
    ),
    "along time": (joined(right_backward, join=torch.cat), "follow each other in time"),
    "stacked": (joined(right_backward, join=torch.stack), "should have shape (5, 2, 8), but (2, 5, 2, 4) came"),
    "by turns": (joined(right_backward, join=lambda parts: torch.stack(parts, 3).flatten(2)), "by turns"),
    "added": (joined(right_backward, join=sum), "the numbers of one direction"),
    "state handed over": (join_with_state_handed_over, "each starts from zeros"),
    "a pair": (joined(right_backward, join=tuple), "but a tuple of 2 came"),
}


def final_by_view(h_n):
    return h_n.view(-1, 2, *h_n.shape[1:])[-1].transpose(0, 1).flatten(1)


def final_by_einsum(h_n):
    return torch.einsum("knh->nkh", h_n[-2:]).reshape(h_n.shape[1], -1)


FINAL_STATE = {
    "solution": (SOLUTIONS["final_state"], "Right"),
    "view": (final_by_view, "Right"),
    "einsum": (final_by_einsum, "Right"),
    "hstack": (lambda h_n: torch.hstack(tuple(h_n[-2:])), "Right"),
    "loop": (lambda h_n: torch.stack([torch.cat([h_n[-2, n], h_n[-1, n]]) for n in range(h_n.shape[1])]), "Right"),
    "float64": (lambda h_n: torch.cat([*h_n[-2:].double()], dim=-1), "Right"),
    "backward first": (lambda h_n: torch.cat([h_n[-1], h_n[-2]], 1), "has the backward state first"),
    "first layer": (lambda h_n: torch.cat([h_n[0], h_n[1]], 1), "is that of the first layer"),
    "first and last": (lambda h_n: torch.cat([h_n[0], h_n[-1]], 1), "mixes the first layer's forward state"),
    "directions apart": (
        lambda h_n: torch.cat([h_n[h_n.shape[0] // 2 - 1], h_n[-1]], 1),
        "it goes layer by layer",
    ),
    "backward twice": (lambda h_n: torch.cat([h_n[-1], h_n[-1]], 1), "holds the backward state twice"),
    "reshaped": (lambda h_n: h_n[-2:].reshape(h_n.shape[1], -1), "reshape reads on row by row"),
    "backward alone": (lambda h_n: h_n[-1], "join both directions side by side"),
    "sum": (lambda h_n: h_n[-2] + h_n[-1], "join both directions side by side"),
    "both": (lambda h_n: h_n[-2:], "join both directions side by side"),
    "one below the other": (lambda h_n: torch.cat([h_n[-2], h_n[-1]]), "one below the other"),
    "all layers": (lambda h_n: torch.cat(list(h_n), 1), "should have shape (3, 8), but (3, 16) came"),
    "a pair": (lambda h_n: (h_n[-2], h_n[-1]), "but a tuple of 2 came"),
}


def halves_at(forward, backward):
    """Return an answer that takes each half at a step of its own."""

    def answer(output, lengths):
        rows, H, T = range(len(lengths)), output.shape[-1] // 2, output.shape[1]
        ahead, back = (step(lengths, T) + 0 * lengths for step in (forward, backward))
        return torch.cat([output[rows, ahead, :H], output[rows, back, H:]], 1)

    return answer


def end(lengths, T):
    return lengths - 1


def start(lengths, T):
    return 0


def last(lengths, T):
    return T - 1


def state_by_loop(output, lengths):
    rows = []
    for row, length in zip(output, lengths.tolist(), strict=True):
        ahead, back = row.chunk(2, dim=1)
        rows.append(torch.cat([ahead[length - 1], back[0]]))
    return torch.stack(rows)


def state_by_gather(output, lengths):
    ahead, back = output.chunk(2, dim=2)
    index = (lengths - 1)[:, None, None].expand(-1, 1, ahead.shape[2])
    return torch.cat([ahead.gather(1, index).squeeze(1), back[:, 0]], dim=1)


def state_by_einsum(output, lengths):
    ahead, back = output.chunk(2, dim=2)
    at_end = torch.nn.functional.one_hot(lengths - 1, output.shape[1]).to(output.dtype)
    return torch.hstack([torch.einsum("nth,nt->nh", ahead, at_end), back.select(1, 0)])


STATE_AT_LENGTH = {
    "solution": (SOLUTIONS["state_at_length"], "Right"),
    "loop": (state_by_loop, "Right"),
    "gather": (state_by_gather, "Right"),
    "einsum": (state_by_einsum, "Right"),
    "float64": (lambda output, lengths: state_by_loop(output.double(), lengths), "Right"),
    "last output": (lambda output, lengths: output[:, -1], "is output[:, -1]: zeros after a shorter sequence"),
    "first output": (lambda output, lengths: output[:, 0], "takes both halves at step 0"),
    "both at the end": (halves_at(end, end), "takes both halves at the end"),
    "the wrong way round": (halves_at(start, end), "the two halves the wrong way round"),
    "backward half at the last step": (halves_at(end, last), "takes the backward half at the last step"),
    "forward half at the last step": (halves_at(last, start), "has zeros in the forward half"),
    "one step early": (halves_at(lambda lengths, T: lengths - 2, start), "the forward half one step early"),
    "off by one": (halves_at(lambda lengths, T: lengths, start), "there is no step 5 of 5"),
    "off by one in a loop": (
        lambda output, lengths: torch.stack([output[n, length] for n, length in enumerate(lengths)]),
        "there is no step 5 of 5",
    ),
    "off by one, where there is a step": (
        halves_at(lambda lengths, T: lengths.clamp(max=T - 1), start),
        "has zeros in the forward half",
    ),
    "halves swapped": (
        lambda output, lengths: torch.cat(state_by_loop(output, lengths).chunk(2, 1)[::-1], 1),
        "has the backward half first",
    ),
    "all steps in every row": (
        lambda output, lengths: torch.cat([output[:, lengths - 1, :2], output[:, 0, 2:]], 1),
        "it takes all the steps in every row",
    ),
    "one half": (lambda output, lengths: state_by_loop(output, lengths)[:, : output.shape[2] // 2], "but (3, 2) came"),
    "mean": (lambda output, lengths: output.mean(1), "the state for lengths [5, 3, 2] should be"),
}


def believed_in_a_loop(sees):
    for s in range(len(sees)):
        for t in range(s + 1, len(sees)):
            if sees[s, t]:
                return False
    return True


MAY_BE_BELIEVED = {
    "solution": (SOLUTIONS["may_be_believed"], "Right"),
    "loop": (believed_in_a_loop, "Right"),
    "NumPy": (lambda sees: ~np.any(np.triu(sees.numpy(), 1)), "Right"),
    "a tensor": (lambda sees: ~sees.triu(1).any(), "Right"),
    "equal to its lower part": (lambda sees: torch.equal(sees, sees.tril()), "Right"),
    "rows": (lambda sees: all(not row[s + 1 :].any() for s, row in enumerate(sees)), "Right"),
    "by index": (lambda sees: all(t <= s for s, t in sees.nonzero().tolist()), "Right"),
    "einsum": (
        lambda sees: torch.einsum("st,st->", sees.int(), torch.ones(len(sees), len(sees)).triu(1).int()).item() == 0,
        "Right",
    ),
    "the answer allowed": (lambda sees: not sees.triu(2).any(), "lets output s see input s + 1"),
    "the answer allowed, in a loop": (
        lambda sees: not any(row[s + 2 :].any() for s, row in enumerate(sees)),
        "lets output s see input s + 1",
    ),
    "last input left out": (lambda sees: not sees[:-1, :-1].triu(1).any(), "leaves the last input out"),
    "the answer alone": (lambda sees: not sees.diagonal(1).any(), "looks only at input s + 1"),
    "own input": (lambda sees: not sees.triu().any(), "forbids output s its own input s"),
    "past": (lambda sees: not sees.tril(-1).any(), "forbids the past"),
    "transposed": (lambda sees: not sees.T.triu(1).any(), "forbids the past"),
    "all of the past": (lambda sees: torch.equal(sees, torch.ones_like(sees).tril()), "asks for all of the past"),
    "always": (lambda sees: True, "is True for a model that reads the answer"),
    "never": (lambda sees: False, "is False for a forward reader too"),
    "turned round": (lambda sees: bool(sees.triu(1).any()), "turn the answer round"),
    "first output alone": (lambda sees: not sees[0, 1:].any(), "the answer should be"),
    "a number": (lambda sees: int(not sees.triu(1).any()), "should be True or False, but an int came"),
    "a matrix": (lambda sees: ~sees.triu(1), "should be True or False, but a Tensor came"),
}


def flip_by_gather(ids, lengths):
    places = torch.arange(ids.shape[1])
    mirrored = lengths[:, None] - 1 - places
    return ids.gather(1, torch.where(mirrored >= 0, mirrored, places))


def flip_by_rows(ids, lengths):
    return torch.stack([torch.cat([row[:n].flip(0), row[n:]]) for row, n in zip(ids, lengths.tolist(), strict=True)])


def flip_by_lists(ids, lengths):
    return torch.tensor([row[:n][::-1] + row[n:] for row, n in zip(ids.tolist(), lengths.tolist(), strict=True)])


def flip_by_numpy(ids, lengths):
    flipped = ids.numpy().copy()
    for row, n in zip(flipped, lengths.numpy(), strict=True):
        row[:n] = row[:n][::-1].copy()
    return torch.from_numpy(flipped)


def flip_within(change):
    """Return an answer that flips another number of letters in each row."""
    return lambda ids, lengths: flip_by_rows(ids, change(lengths, ids.shape[1]))


def flip_in_place(ids, lengths):
    for row, n in zip(ids, lengths, strict=True):
        row[:n] = row[:n].flip(0)
    return ids


def real(ids, lengths):
    return torch.arange(ids.shape[1]) < lengths[:, None]


FLIP_PADDED = {
    "solution": (SOLUTIONS["flip_padded"], "Right"),
    "gather": (flip_by_gather, "Right"),
    "row by row": (flip_by_rows, "Right"),
    "lists": (flip_by_lists, "Right"),
    "NumPy": (flip_by_numpy, "Right"),
    "int32": (lambda ids, lengths: flip_by_rows(ids.int(), lengths), "Right"),
    "all flipped": (lambda ids, lengths: ids.flip(1), "begins with the padding"),
    "batch flipped": (lambda ids, lengths: ids.flip(0), "time is axis 1"),
    "both flipped": (lambda ids, lengths: ids.flip(0, 1), "the result for [[5, 6, 7, 8]"),
    "nothing": (lambda ids, lengths: ids.clone(), "nothing was flipped"),
    "one letter short": (flip_within(lambda lengths, T: lengths - 1), "leaves the last letter where it is"),
    "one letter too many": (flip_within(lambda lengths, T: (lengths + 1).clamp(max=T)), "one padding with the letters"),
    "within the longest": (
        lambda ids, lengths: flip_by_rows(ids, lengths.max().repeat(len(lengths))),
        "begins with the padding",
    ),
    "zeros behind": (lambda ids, lengths: flip_by_rows(ids, lengths) * real(ids, lengths), "leave it as it stands"),
    "cut": (lambda ids, lengths: ids.flip(1) * real(ids, lengths), "flip only the letters"),
    "rolled": (
        lambda ids, lengths: torch.stack([torch.cat([row[n:], row[:n]]) for row, n in zip(ids, lengths, strict=True)]),
        "flips nothing",
    ),
    "in place": (flip_in_place, "changes the ids that came in"),
    "a list": (lambda ids, lengths: list(flip_by_rows(ids, lengths)), "but a list of 2 came"),
}


def seen_by(change, differ=lambda after, before: (after != before).any(1)):
    """Return an answer with a rule for what an input becomes, and one for when an output has changed."""

    def answer(read, X):
        before, columns = read(X.clone()), []
        for t in range(len(X)):
            changed = X.clone()
            changed[t] = change(X[t])
            columns.append(differ(read(changed), before))
        return torch.stack(columns, 1)

    return answer


def seen_into_a_matrix(read, X):
    before = read(X)
    matrix = torch.zeros(len(before), len(X), dtype=torch.bool)
    for t in range(len(X)):
        other = torch.where(torch.arange(len(X))[:, None] == t, X + 2.0, X)
        for s, (new, old) in enumerate(zip(read(other), before, strict=True)):
            matrix[s, t] = not torch.equal(new, old)
    return matrix


def seen_by_noise(read, X):
    """Change each input several times, by random numbers."""
    found = [seen_by(lambda row: row + 1 + torch.rand_like(row))(read, X) for _ in range(3)]
    return torch.stack(found).any(0)


def seen_in_place(read, X):
    before, columns = read(X), []
    for t in range(len(X)):
        X[t] += 1
        columns.append((read(X) != before).any(1))
    return torch.stack(columns, 1)


def seen_by_gradient(read, X):
    with torch.enable_grad():
        X = X.clone().requires_grad_()
        rows = [torch.autograd.grad(row.sum(), X, retain_graph=True, allow_unused=True)[0] for row in read(X)]
    return torch.stack([torch.zeros(len(X)) if row is None else row.abs().sum(1) for row in rows]) > 0


def change_first(row):
    return torch.cat([row[:1] + 1, row[1:]])


WHO_SEES_WHAT = {
    "solution": (SOLUTIONS["who_sees_what"], "Right"),
    "into a matrix": (seen_into_a_matrix, "Right"),
    "not a number": (seen_by(lambda row: row * float("nan")), "Right"),
    "noise": (seen_by_noise, "Right"),
    "einsum": (
        seen_by(lambda row: row + 3, lambda after, before: torch.einsum("sk->s", (after != before).int()) > 0),
        "Right",
    ),
    "float64": (
        lambda read, X: seen_by(lambda row: row - 2)(lambda X: read(X.float()).double(), X.double()),
        "Right",
    ),
    "transposed": (lambda read, X: seen_into_a_matrix(read, X).T, "outputs are the rows"),
    "gradient": (seen_by_gradient, "a staircase has slope 0"),
    "a little change": (seen_by(lambda row: row + 1e-4), "change inputs by 1 or more"),
    "set to zero": (seen_by(torch.zeros_like), "misses an input that is 0 already"),
    "doubled": (seen_by(lambda row: 2 * row), "misses an input that is 0 already"),
    "first number alone": (seen_by(change_first), "change all the numbers of an input"),
    "all numbers of an output": (
        seen_by(lambda row: row + 1, lambda after, before: (after != before).all(1)),
        "if any of its numbers has",
    ),
    "first number of an output": (
        seen_by(lambda row: row + 1, lambda after, before: (after != before)[:, 0]),
        "if any of its numbers has",
    ),
    "all at once": (
        lambda read, X: (read(X + 1) != read(X)).any(1, keepdim=True).expand(-1, len(X)),
        "change one time step at a time",
    ),
    "in place": (seen_in_place, "leaves X changed"),
    "numbers": (lambda read, X: seen_into_a_matrix(read, X).double(), "answer yes or no"),
    "the unchanged ones": (lambda read, X: ~seen_into_a_matrix(read, X), "the matrix of a sum of all inputs so far"),
    "a list": (lambda read, X: seen_into_a_matrix(read, X).tolist(), "should be a tensor"),
}


def restored_by(windows):
    """Return an answer that puts in what stood most often in the widest of these windows, (left, right), met."""

    def answer(train_text, hidden_text):
        restored = list(hidden_text)
        hidden_train = train_text.translate(str.maketrans("aeiou", "_____"))
        for left, right in windows:
            counts = collections.defaultdict(collections.Counter)
            padded, hidden = (" " * left + text + " " * right for text in (hidden_train, hidden_text))
            for i, letter in enumerate(train_text):
                if letter in "aeiou":
                    counts[padded[i : i + left + right + 1]][letter] += 1
            for i, letter in enumerate(hidden_text):
                found = counts.get(hidden[i : i + left + right + 1]) if letter == "_" else None
                if found:
                    restored[i] = found.most_common(1)[0][0]
        return "".join(restored)

    return answer


def restored_by_words(train_text, hidden_text):
    """Put in the most frequent word that fits, and what a table says where none does."""
    counts = collections.defaultdict(collections.Counter)
    for word in train_text.split(" "):
        counts[word.translate(str.maketrans("aeiou", "_____"))][word] += 1
    by_table = restored_by(BOTH_SIDES)(train_text, hidden_text)
    words, start = [], 0
    for hidden in hidden_text.split(" "):
        by_word = counts[hidden].most_common(1)
        words.append(by_word[0][0] if by_word else by_table[start : start + len(hidden)])
        start += len(hidden) + 1
    return " ".join(words)


BOTH_SIDES = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3)]

RESTORE_VOWELS = {
    "solution": (SOLUTIONS["restore_vowels"], "Right"),
    "wider windows": (restored_by([*BOTH_SIDES, (3, 4), (4, 4)]), "Right"),
    "words": (restored_by_words, "Right"),
    "always e": (lambda train_text, hidden_text: hidden_text.replace("_", "e"), "The same vowel everywhere"),
    "always a": (lambda train_text, hidden_text: hidden_text.replace("_", "a"), "The same vowel everywhere"),
    "before": (restored_by([(n, 0) for n in range(4)]), "together they tell more"),
    "after": (restored_by([(0, n) for n in range(4)]), "together they tell more"),
    "narrow windows": (restored_by([(0, 0), (1, 1)]), "the goal is 85%"),
    "nothing": (lambda train_text, hidden_text: hidden_text, "_ is left in the text"),
    "another letter": (
        lambda train_text, hidden_text: restored_by(BOTH_SIDES)(train_text, hidden_text).replace("th", "ht"),
        "letters have changed that were not hidden",
    ),
    "one too short": (lambda train_text, hidden_text: hidden_text[:-1].replace("_", "e"), "as long as hidden_text"),
    "a list": (lambda train_text, hidden_text: list(hidden_text), "but a list of"),
}

ANSWERS = {
    "join_directions": JOIN_DIRECTIONS,
    "final_state": FINAL_STATE,
    "state_at_length": STATE_AT_LENGTH,
    "may_be_believed": MAY_BE_BELIEVED,
    "flip_padded": FLIP_PADDED,
    "who_sees_what": WHO_SEES_WHAT,
    "restore_vowels": RESTORE_VOWELS,
}
