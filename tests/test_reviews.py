"""Reviews as minibatches: nothing is lost, padding is no word, held-out reviews are blocks of ids."""

import collections

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnnlib import reviews
from rnnlib.reviews import PAD, UNK

Review = collections.namedtuple("Review", "id label rating text")
TEXTS = ["A GOOD film.<br /><br />Don't miss it...", "bad, bad film; it's long", "", "🙂", "the film the film"]


def test_tokens():
    assert reviews.tokenize_review("Don’t miss it...<br />They'll LOVE it!") == (
        ["do", "n't", "miss", "it", "...", "they", "'ll", "love", "it", "!"]
    )
    assert reviews.tokenize_review("café 7/10 🙂") == ["café", "7", "/", "10", "🙂"]
    assert reviews.tokenize_review("can't rock'n'roll") == ["ca", "n't", "rock", "'", "n", "'", "roll"]


def test_vocabulary_has_two_special_tokens():
    vocab = reviews.review_vocab(TEXTS, size=8)
    assert len(vocab) == 8
    assert (vocab["<unk>"], vocab["<pad>"], vocab["film"]) == (UNK, PAD, 2)
    assert UNK != PAD
    assert vocab["never seen"] == UNK


@pytest.mark.parametrize("text", ["", "   ", "<br />", "\n\t"])
def test_a_review_without_words_is_one_unknown(text):
    assert reviews.encode(text, reviews.review_vocab(TEXTS)).tolist() == [UNK]


def test_no_review_contains_padding():
    vocab = reviews.review_vocab(TEXTS)
    for text in [*TEXTS, "<pad> <unk>"]:
        assert PAD not in reviews.encode(text, vocab)


def test_truncation():
    ids = torch.arange(20)
    assert reviews.head(ids, 8).tolist() == list(range(8))
    assert reviews.tail(ids, 8).tolist() == list(range(12, 20))
    assert reviews.both_ends(ids, 8).tolist() == [0, 1, *range(14, 20)]
    for keep in (reviews.head, reviews.tail, reviews.both_ends):
        assert torch.equal(keep(ids, 20), ids)
        assert torch.equal(keep(ids, 50), ids)


def test_padding():
    ids, lengths = reviews.pad([torch.tensor([5, 6, 7]), torch.tensor([8])])
    assert ids.tolist() == [[5, 6, 7], [8, PAD, PAD]]
    assert lengths.tolist() == [3, 1]
    assert reviews.pad([torch.tensor([8])], length=3)[0].tolist() == [[8, PAD, PAD]]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=300), st.integers(1, 9), st.integers(0, 5))
def test_a_pass_deals_out_every_review_once(lengths, batch_size, seed):
    rows = [torch.full((length,), 2 + i) for i, length in enumerate(lengths)]
    buckets = reviews.Buckets(rows, torch.arange(len(rows)), batch_size, seed)
    seen = []
    batches = list(buckets)
    assert len(batches) == len(buckets)
    for ids, sizes, labels in batches:
        assert ids.shape[1] == sizes.max()
        for row, size, label in zip(ids, sizes, labels, strict=True):
            assert torch.equal(row[:size], rows[label])
            assert (row[size:] == PAD).all()
        seen += labels.tolist()
    assert sorted(seen) == list(range(len(rows)))


def test_batches_hold_reviews_of_like_length_in_a_new_order_each_pass():
    generator = torch.Generator().manual_seed(1)
    rows = [torch.ones(int(n), dtype=torch.int64) for n in torch.randint(1, 400, (2000,), generator=generator)]
    buckets = reviews.Buckets(rows, torch.arange(2000), 20)
    first, second = list(buckets), list(buckets)
    words = sum(len(row) for row in rows)
    assert sum(ids.numel() for ids, _, _ in first) < 1.05 * words
    assert [labels.tolist() for _, _, labels in first] != [labels.tolist() for _, _, labels in second]
    again = reviews.Buckets(rows, torch.arange(2000), 20)
    assert all(torch.equal(a[2], b[2]) for a, b in zip(first, again, strict=True)), "the seed fixes the order"


def test_buckets_name_bad_input():
    row = torch.tensor([2])
    with pytest.raises(ValueError, match="0 reviews and 0 labels"):
        reviews.Buckets([], [], 4)
    with pytest.raises(ValueError, match="2 reviews and 1 labels"):
        reviews.Buckets([row, row], [1], 4)
    with pytest.raises(ValueError, match="batch_size"):
        reviews.Buckets([row], [1], 0)


def test_split_holds_out_the_last_ids_of_each_class():
    rows = [Review(f"{['neg', 'pos'][label]}/{i}_1", label, 1, "x") for label in (0, 1) for i in range(10)]
    train, valid = reviews.hold_out_blocks(rows, num_valid=3)
    assert [r.id for r in valid] == ["neg/7_1", "neg/8_1", "neg/9_1", "pos/7_1", "pos/8_1", "pos/9_1"]
    assert sorted(train + valid) == sorted(rows)
    for bad in (0, 10, -2):
        with pytest.raises(ValueError, match=f"num_valid={bad} must be at least 1 and below 10"):
            reviews.hold_out_blocks(rows, bad)
    with pytest.raises(ValueError, match="num_valid=1 must be at least 1 and below 0"):
        reviews.hold_out_blocks([], 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reviews.head(torch.arange(3), -1), "length=-1 must be a whole number of at least 1"),
        (lambda: reviews.tail(torch.arange(3), 0), "length=0 must be"),
        (lambda: reviews.both_ends(torch.arange(3), 0), "length=0 must be"),
        (lambda: reviews.review_vocab("one review"), "texts='one review' is one review: give a list of them"),
        (lambda: reviews.review_vocab(TEXTS, size=2), "size=2 must be a whole number of at least 3"),
        (lambda: reviews.pad([]), "rows=0 must be"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("rows", [torch.full((3, 4), 2), torch.full((3, 4), 2).numpy()])
def test_buckets_take_rows_of_equal_length_as_one_array(rows):
    ((ids, lengths, labels),) = reviews.Buckets(rows, [0, 1, 1], 4)
    assert (ids.shape, lengths.tolist(), sorted(labels.tolist())) == ((3, 4), [4, 4, 4], [0, 1, 1])
