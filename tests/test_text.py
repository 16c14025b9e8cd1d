"""Cleaning, tokens, vocabulary and minibatches, against code that works another way."""

import collections
import itertools
import re
import unicodedata

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from rnnlib import text
from rnnlib.text import Vocab, random_batches, sequential_batches

TOKENS = st.lists(st.text(max_size=3), min_size=1, max_size=60)


# Cleaning and tokens


def test_clean_by_hand():
    assert text.clean("  The Time Machine,\nby H. G. Wells [1898]\n") == "the time machine by h g wells"
    assert text.clean("It's 8 o'clock--already?") == "it s o clock already"
    assert text.clean("him\nwas") == "him was"
    assert text.clean("1898!") == text.clean("") == ""


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("Café naïve", "café naïve"),
        ("Cafe\u0301 NAI\u0308VE", "café naïve"),  # the same letters, written as two characters each
        ("风急天高，猿啸哀。", "风急天高 猿啸哀"),
        ("Привет, Мир! 1898", "привет мир"),
        ("हिन्दी में", "हिन्दी में"),  # vowel signs belong to their letters
        ("Große Straße", "große straße"),
    ],
)
def test_clean_keeps_the_letters_of_any_alphabet(raw, cleaned):
    assert text.clean(raw) == cleaned


@given(st.text(max_size=19))
def test_clean_against_a_walk_over_the_characters(raw):
    lower = unicodedata.normalize("NFC", raw.lower())
    kept = "".join(c if c.isalpha() or unicodedata.category(c).startswith("M") else " " for c in lower)
    assert text.clean(raw) == " ".join(kept.split())


def test_clean_is_the_rule_of_d2l_on_english():
    raw = "The Time Machine,\r\nby H. G. Wells [1898]; it's 8 o'clock--already? " * 3
    assert text.clean(raw) == re.sub("[^A-Za-z]+", " ", raw).strip().lower()


@pytest.mark.parametrize("raw", ["3.14159 " * 9, "01001110 " * 99 + "ab", "…!?" * 20])
def test_clean_refuses_almost_nothing(raw):
    with pytest.raises(ValueError, match=r"clean keeps letters alone: of [\d,]+ visible characters \d are left"):
        text.clean(raw)


def test_clean_says_what_it_dropped(capsys):
    text.clean("The price: 12 shillings, 30 pence.")
    assert capsys.readouterr().out == "clean keeps letters alone: of 29 visible characters 22 are left\n"
    text.clean("The price was twelve shillings and thirty pence.")
    assert capsys.readouterr().out == ""


@given(st.text(max_size=19))
def test_clean_twice_is_clean_once(raw):
    once = text.clean(raw)
    assert text.clean(once) == once


@given(st.text(max_size=9), st.text(max_size=9))
def test_clean_line_by_line_needs_spaces_between_the_lines(first, second):
    parts = [part for part in (text.clean(first), text.clean(second)) if part]
    assert text.clean(f"{first}\n{second}") == " ".join(parts)


def test_tokenize():
    assert text.tokenize("a bc") == ["a", " ", "b", "c"]
    assert text.tokenize(" a  bc\n", unit="word") == ["a", "bc"]
    assert text.tokenize("") == text.tokenize("", "word") == []
    with pytest.raises(ValueError, match="unit='byte' is not known: use 'char' or 'word'"):
        text.tokenize("a", "byte")


# Vocabulary


def test_vocabulary_by_hand():
    vocab = Vocab("abracadabra")
    assert vocab.tokens == ["<unk>", "a", "b", "r", "c", "d"]
    assert len(vocab) == 6
    assert vocab["a"] == 1
    assert vocab[["a", "z"]] == vocab[("a", "z")] == [1, 0]
    assert "a" in vocab and "<unk>" in vocab and "z" not in vocab
    assert vocab.decode([0, 5]) == vocab.decode(torch.tensor([0, 5])) == ["<unk>", "d"]
    assert vocab.decode([]) == []


def test_rare_tokens_become_unknown():
    vocab = Vocab("abracadabra", min_freq=2)
    assert vocab.tokens == ["<unk>", "a", "b", "r"]
    assert vocab["c"] == 0


def test_reserved_tokens_come_first_and_once():
    vocab = Vocab(["b", "<pad>", "a", "b", "<unk>"], min_freq=2, reserved=("<pad>", "<eos>"))
    assert vocab.tokens == ["<unk>", "<pad>", "<eos>", "b"]
    assert vocab["<pad>"] != vocab["<unk>"]


def test_tokens_may_come_from_a_generator():
    assert Vocab(c for c in "aab").tokens == ["<unk>", "a", "b"]


@given(TOKENS)
def test_decode_undoes_the_vocabulary(tokens):
    vocab = Vocab(tokens)
    assert vocab.decode(vocab[tokens]) == tokens
    assert vocab.decode(torch.tensor(vocab[tokens])) == tokens
    assert vocab[vocab.tokens] == list(range(len(vocab)))


@given(TOKENS, st.integers(0, 4))
def test_counts_and_order_against_a_plain_count(tokens, min_freq):
    vocab = Vocab(tokens, min_freq)
    counts = {token: tokens.count(token) for token in tokens}
    kept = {token for token, count in counts.items() if count >= min_freq}
    assert set(vocab.tokens) == kept | {"<unk>"}
    ranks = [(-counts[token], tokens.index(token)) for token in vocab.tokens[1:]]
    assert ranks == sorted(ranks), "most frequent first, equals in order of appearance"


def test_counts_against_scikit_learn():
    feature_extraction = pytest.importorskip("sklearn.feature_extraction.text")
    words = text.tokenize(text.clean("The mill at Saxby Quay: the time machine, the tide, and a mill; a time."), "word")
    counter = feature_extraction.CountVectorizer(token_pattern=r"\S+")
    counts = np.asarray(counter.fit_transform([" ".join(words)]).todense())[0]
    found = dict(zip(counter.get_feature_names_out(), counts.tolist(), strict=True))
    assert collections.Counter(words) == found
    assert set(Vocab(words, min_freq=2).tokens) == {"<unk>"} | {word for word, count in found.items() if count >= 2}


def load_d2l():
    from rnnlib import d2l_bridge

    try:
        return d2l_bridge.load_d2l()
    except ImportError as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("min_freq", [0, 2])
def test_same_ids_as_d2l(min_freq):
    d2l = load_d2l()
    tokens = list(text.clean("The Time Traveller smiled at the tide mill, for so it will be convenient to call it."))
    ours, theirs = Vocab(tokens, min_freq, ("<pad>",)), d2l.Vocab(tokens, min_freq, ["<pad>"])
    assert ours.tokens == theirs.idx_to_token
    assert ours[[*tokens, "?"]] == theirs[[*tokens, "?"]]
    assert ours.decode([3, 1, 2]) == theirs.to_tokens([3, 1, 2])


def test_same_random_windows_as_d2l():
    """Up to their order: d2l shuffles with another generator."""
    import random

    d2l = load_d2l()
    corpus = list(range(100, 200))
    random.seed(3)
    offset = random.Random(3).randint(0, 4)  # the offset that d2l is going to draw
    theirs = {tuple(x) + tuple(y) for X, Y in d2l.seq_data_iter_random(corpus, 1, 5) for x, y in rows(X, Y)}
    ours = {tuple(x) + tuple(y) for X, Y in random_batches(corpus, 1, 5, offset=offset) for x, y in rows(X, Y)}
    assert ours == theirs


@pytest.mark.parametrize(
    ("tokens", "options", "message"),
    [
        ([], {}, "the text has no tokens: give Vocab at least one"),
        ("", {}, "is the cleaned text empty"),
        ([["a"], ["b"]], {}, "one flat list of tokens, not a list of lines: join the lines first"),
        ("ab", {"reserved": ("<pad>", "<pad>")}, "repeats a token"),
        ("ab", {"reserved": ("<unk>",)}, "names '<unk>', which has id 0 already"),
        ("ab", {"reserved": "<pad>"}, r"'<pad>' must be a tuple of tokens, such as reserved=\('<pad>',\)"),
        ("ab", {"reserved": None}, "reserved=None must be a tuple of tokens"),
        (5, {}, r"tokens=5 is a int: it must be a list of tokens, such as tokenize\(text\)"),
        (torch.tensor([1, 2]), {}, "a Tensor is no token"),
    ],
)
def test_vocabulary_errors(tokens, options, message):
    with pytest.raises(ValueError, match=message):
        Vocab(tokens, **options)


def test_a_vocabulary_can_be_looped_over():
    vocab = Vocab("abracadabra")
    assert list(vocab) == vocab.tokens
    assert sorted(vocab) == ["<unk>", "a", "b", "c", "d", "r"]


@pytest.mark.parametrize("tokens", [torch.tensor([1, 2]), np.array(["a"]), {"a"}, iter("ab")])
def test_a_collection_of_another_kind_is_no_token(tokens):
    with pytest.raises(ValueError, match=f"a {type(tokens).__name__} is no token: give one text, or a list or tuple"):
        Vocab("ab")[tokens]


@pytest.mark.parametrize("ids", [None, iter([1]), ["a"]])
def test_decoding_what_is_no_list_of_ids(ids):
    with pytest.raises(ValueError, match=r"ids to decode must be a flat list or a 1-D tensor of whole numbers, not"):
        Vocab("ab").decode(ids)


def test_numpy_sizes_are_whole_numbers():
    ((X, _),) = sequential_batches(range(7), np.int64(2), np.int64(3), offset=np.int64(0))
    assert X.shape == (2, 3)


def test_decode_errors():
    vocab = Vocab("ab")
    with pytest.raises(ValueError, match="id 3 of the ids is not in this vocabulary: its ids are 0 to 2"):
        vocab.decode([1, 3])
    with pytest.raises(ValueError, match="id -1 of the ids is not"):
        vocab.decode(torch.tensor([-1]))
    with pytest.raises(ValueError, match=r"of shape \(2, 2\): decode one row at a time"):
        vocab.decode(torch.zeros(2, 2, dtype=torch.long))
    with pytest.raises(ValueError, match=r"whole numbers, not torch\.float\d\d"):
        vocab.decode([0.5])


# Minibatches


def rows(X, Y):
    return zip(X.tolist(), Y.tolist(), strict=True)


SIZES = {"batch_size": st.integers(1, 5), "num_steps": st.integers(1, 7), "seed": st.integers(0, 9)}
OFFSETS = st.none() | st.integers(0, 9)
MAKERS = [sequential_batches, random_batches]


def make(maker, num_tokens, **options):
    """Return the minibatches of a corpus whose tokens are 100, 101, …, so that every id tells its position."""
    needed = options["batch_size"] * options["num_steps"] + 1
    needed += options["num_steps"] - 1 if options["offset"] is None else options["offset"]
    assume(num_tokens >= needed)
    return maker(range(100, 100 + num_tokens), **options)


@pytest.mark.parametrize("maker", MAKERS)
@given(num_tokens=st.integers(2, 150), offset=OFFSETS, **SIZES)
def test_every_minibatch_has_the_shape_and_y_is_x_shifted(maker, num_tokens, **options):
    batches = list(make(maker, num_tokens, **options))
    assert batches, "a corpus that is long enough gives at least one"
    for X, Y in batches:
        assert X.shape == Y.shape == (options["batch_size"], options["num_steps"])
        assert X.dtype == Y.dtype == torch.long
        assert torch.equal(Y, X + 1)
        assert torch.equal(X, X[:, :1] + torch.arange(options["num_steps"])), "a row is a piece of the text"


@given(num_tokens=st.integers(2, 150), offset=st.integers(0, 9), **SIZES)
def test_sequential_batches_tile_the_corpus(num_tokens, offset, batch_size, num_steps, seed):
    batches = list(
        make(sequential_batches, num_tokens, offset=offset, batch_size=batch_size, num_steps=num_steps, seed=seed)
    )
    read_row_by_row = torch.cat([X for X, _ in batches], dim=1).flatten()
    assert read_row_by_row.tolist() == list(range(100 + offset, 100 + offset + len(read_row_by_row)))
    unread = num_tokens - offset - len(read_row_by_row)
    assert 1 <= unread <= batch_size * num_steps, "the last target, and too little for another minibatch"
    for (X, _), (X_next, _) in itertools.pairwise(batches):
        assert torch.equal(X_next[:, 0], X[:, -1] + 1), "row i continues row i"


@given(num_tokens=st.integers(2, 150), offset=st.integers(0, 9), **SIZES)
def test_random_batches_are_disjoint(num_tokens, offset, batch_size, num_steps, seed):
    batches = list(
        make(random_batches, num_tokens, offset=offset, batch_size=batch_size, num_steps=num_steps, seed=seed)
    )
    read = torch.cat([X.flatten() for X, _ in batches]).tolist()
    assert len(set(read)) == len(read)
    assert all((X[:, 0] - 100 - offset).remainder(num_steps).eq(0).all() for X, _ in batches)
    windows = (num_tokens - offset - 1) // num_steps
    assert len(batches) == windows // batch_size, "all windows but those that don't fill a minibatch"


@given(num_tokens=st.integers(2, 150), offset=st.integers(0, 9), **SIZES)
def test_both_give_as_many_minibatches(num_tokens, offset, **sizes):
    one, other = (len(list(make(maker, num_tokens, offset=offset, **sizes))) for maker in MAKERS)
    assert one == other == (num_tokens - offset - 1) // (sizes["batch_size"] * sizes["num_steps"])


@pytest.mark.parametrize("maker", MAKERS)
def test_can_be_looped_over_again(maker):
    batches = maker(range(60), 2, 5, offset=0)
    first, second = (sorted(x for X, Y in batches for x in rows(X, Y)) for _ in range(2))
    assert first
    if maker is sequential_batches:
        assert first == second


@pytest.mark.parametrize("maker", MAKERS)
def test_default_offsets_vary_and_lie_below_num_steps(maker):
    batches = maker(range(200), 3, 5)
    offsets = {min(int(X.min()) for X, _ in batches) % 5 for _ in range(60)}
    assert offsets == {0, 1, 2, 3, 4}


def test_random_order_varies_from_pass_to_pass():
    batches = random_batches(range(200), 3, 5, offset=0)
    orders = {tuple(int(X[0, 0]) for X, _ in batches) for _ in range(5)}
    assert len(orders) == 5


@pytest.mark.parametrize("maker", MAKERS)
def test_seed_repeats_the_passes_and_leaves_the_global_generator_alone(maker):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    one, same, other = (maker(range(200), 3, 5, seed=seed) for seed in (1, 1, 2))
    passes = [[[X.tolist() for X, _ in batches] for _ in range(4)] for batches in (one, same, other)]
    assert passes[0] == passes[1] != passes[2]
    assert torch.equal(torch.rand(1), expected)


def test_only_sequential_batches_are_contiguous():
    assert sequential_batches(range(60), 2, 5).contiguous
    assert not random_batches(range(60), 2, 5).contiguous


def test_one_token_more_than_the_minibatch_is_enough():
    ((X, Y),) = sequential_batches([1, 2, 3, 4, 5, 6, 7], 2, 3, offset=0)
    assert X.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert Y.tolist() == [[2, 3, 4], [5, 6, 7]]


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    ("corpus", "options", "message"),
    [
        (range(9), {"batch_size": 0}, "batch_size=0 must be a whole number of at least 1"),
        (range(9), {"batch_size": 2.0}, "batch_size=2.0 must be a whole number"),
        (range(9), {"num_steps": -1}, "num_steps=-1 must be a whole number of at least 1"),
        (range(9), {"num_steps": True}, "num_steps=True must be a whole number of at least 1"),
        (None, {}, r"not None: turn tokens into ids with vocab\[tokens\]"),
        ({1, 2}, {}, r"not \{1, 2\}: turn tokens into ids"),
        (iter([1, 2]), {}, r"not <list_itera.*>: turn"),
        (range(9), {"offset": -1}, "offset=-1 must be None .* or a whole number from 0 on"),
        (range(9), {"offset": 0.5}, "offset=0.5 must be None"),
        (range(6), {"offset": 0}, "6 tokens is too short: batch_size=2 x num_steps=3 needs at least 7"),
        (range(7), {"offset": 1}, "needs at least 8"),
        (range(8), {}, "needs at least 9"),
        ([], {}, "a corpus of 0 tokens is too short"),
        (list("the time traveller"), {}, r"turn tokens into ids with vocab\[tokens\]"),
        ("the time traveller", {}, r"turn tokens into ids with vocab\[tokens\]"),
        ([[1, 2], [3, 4]], {}, r"not torch.int64 of shape \(2, 2\)"),
        (torch.rand(9), {}, r"not torch.float32 of shape \(9,\)"),
    ],
)
def test_batches_errors(maker, corpus, options, message):
    with pytest.raises(ValueError, match=message):
        maker(corpus, **({"batch_size": 2, "num_steps": 3} | options))
