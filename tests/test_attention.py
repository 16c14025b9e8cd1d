"""Encoder, decoder, attention: equal to torch.nn and to loops, blind to padding, the same in one call or by steps."""

import datetime
import itertools
import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import attention, data
from rnnlib.attention import BOS, EOS, LETTERS, PAD, PHONEMES
from rnnlib.data import cmudict, dates, texts

V, E, H = 9, 5, 6


def new_model(kind="dot", vocab_size=V):
    """Return a small untrained model in double precision, with logits large enough to tell tokens apart."""
    torch.manual_seed(0)
    if kind == "transformer":
        encoder, decoder = attention.TransformerEncoder(vocab_size, 8), attention.TransformerDecoder(vocab_size, 8)
    else:
        encoder = attention.Encoder(vocab_size, E, H)
        decoder = {
            "none": lambda: attention.Decoder(vocab_size, E, H),
            "dot": lambda: attention.AttentionDecoder(vocab_size, E, H),
            "additive": lambda: attention.AttentionDecoder(vocab_size, E, H, score=attention.AdditiveScore(H)),
        }[kind]()
    model = attention.EncoderDecoder(encoder, decoder).double().eval()
    with torch.no_grad():
        model.decoder.readout.weight *= 6
    return model


every_kind = pytest.mark.parametrize("kind", ["none", "dot", "additive", "transformer"])


def sources():
    """Return three rows of unlike length, and the decoder's targets."""
    source = torch.tensor([[4, 5, 6, 7, 8], [5, 4, PAD, PAD, PAD], [8, 8, 7, PAD, PAD]])
    target = torch.tensor([[4, 5, EOS, PAD], [6, EOS, PAD, PAD], [7, 7, 8, EOS]])
    return source, target


# Words and pairs


def test_special_tokens_have_their_ids():
    for vocab in (LETTERS, PHONEMES):
        assert vocab[["<pad>", "<bos>", "<eos>"]] == [PAD, BOS, EOS] == [1, 2, 3]
    assert (len(LETTERS), len(PHONEMES)) == (30, 43)
    assert LETTERS.decode([4, 29]) == ["a", "z"]


def test_words_of_letters_alone_without_stress():
    lines = "hello HH AH0 L OW1\nhello(2) HH EH0 L OW1\na AH0\nit's IH1 T S\naalto AA1 L T OW2 # finnish\n# remark\n\n"
    ways = attention.spoken_words(cmudict._parse(lines))
    assert ways == {"hello": [["HH", "AH", "L", "OW"], ["HH", "EH", "L", "OW"]], "aalto": [["AA", "L", "T", "OW"]]}


def test_stand_in_has_the_phonemes_of_the_dictionary():
    words = attention.spoken_words(cmudict._parse(texts._shipped(texts.INVENTED)))
    assert len(words) == 6000
    assert {phoneme for ways in words.values() for way in ways for phoneme in way} <= set(PHONEMES)


def test_the_true_dictionary(capsys):
    dictionary = data.load_cmudict()
    if "written" in capsys.readouterr().out or len(dictionary) < 100_000:
        pytest.skip("the true file is not on this machine")
    words = attention.spoken_words(dictionary)
    assert len(words) == 117_366
    assert words["tomato"] == [["T", "AH", "M", "EY", "T", "OW"], ["T", "AH", "M", "AA", "T", "OW"]]
    assert {phoneme for ways in words.values() for way in ways for phoneme in way} == set(PHONEMES.tokens[4:])


@pytest.mark.parametrize("block", [1, 5])
def test_split_holds_out_blocks_of_neighbours(block):
    words = [f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrst"]
    train, valid, test = data.split_dictionary(words[::-1], 20, 30, block)
    assert (len(train), len(valid), len(test)) == (50, 20, 30)
    assert sorted([*train, *valid, *test]) == words
    for part in (valid, test):
        for start in range(0, len(part), block):
            first = words.index(part[start])
            assert part[start : start + block] == words[first : first + block]
    assert data.split_dictionary(words, 20, 30, block)[1] == valid, "the order of the words doesn't matter"
    assert data.split_dictionary(words, 20, 30, block, seed=1)[1] != valid


def test_bad_input_is_named_with_the_remedy():
    with pytest.raises(ValueError, match=r"'C' is not in this vocabulary of 'a', 'b', .*another case or alphabet"):
        attention.make_pair("Cab", ["K"], LETTERS, PHONEMES)
    with pytest.raises(ValueError, match=r"3 words are too few to hold out 4 of them"):
        data.split_dictionary(["a", "b", "c"], 2, 2)
    with pytest.raises(ValueError, match=r"the source has shape \(2, 3\): a beam is for one row \(1, S\)"):
        attention.beam_search(new_model(), torch.full((2, 3), 4), 2, 5)
    with pytest.raises(ValueError, match="width=0 must be a whole number of at least 1"):
        attention.beam_search(new_model(), torch.full((1, 3), 4), 0, 5)
    with pytest.raises(ValueError, match="max_steps=0 must be"):
        attention.greedy(new_model(), torch.full((1, 3), 4), 0)
    with pytest.raises(ValueError, match="batches are empty"):
        attention.fit_pairs(new_model(), [])
    with pytest.raises(ValueError, match="pairs must be one or more pairs"):
        attention.exact_match(new_model(), [])


def test_pair_by_hand():
    source, target = attention.make_pair("cab", ["K", "AE", "B"], LETTERS, PHONEMES)
    assert source.tolist() == [6, 4, 5]
    assert target.tolist() == [*PHONEMES[["K", "AE", "B"]], EOS]


def test_shift_by_hand():
    target = torch.tensor([[5, 6, EOS], [7, EOS, PAD]])
    assert attention.shift_right(target).tolist() == [[BOS, 5, 6], [BOS, 7, EOS]]


def test_batches_hold_every_pair_once_an_epoch():
    pairs = attention.random_pairs(50, 1, 9, torch.Generator().manual_seed(0))
    batches = list(attention.pair_batches(pairs, 8, 2, seed=3))
    assert len(batches) == 14 and {len(source) for source, _ in batches} == {8, 2}
    seen = [row[row != PAD].tolist() for source, _ in batches for row in source]
    assert sorted(seen) == sorted(2 * [pair.source.tolist() for pair in pairs])
    written = [row for _, target in batches for row in attention.until_eos(target)]
    assert written == seen, "sources and targets belong together"


def test_random_strings_copy_themselves():
    pairs = attention.random_pairs(300, 2, 4, torch.Generator().manual_seed(0))
    assert {len(pair.source) for pair in pairs} == {2, 3, 4}
    assert {int(i) for pair in pairs for i in pair.source} == set(range(4, 14))
    assert all(pair.target.tolist() == [*pair.source.tolist(), EOS] for pair in pairs)


def test_dates_by_hand():
    day = datetime.date(2024, 6, 3)
    written = [dates.write(day, form) for form in dates.FORMS]
    assert written[:6] == ["3 june 2024", "june 3, 2024", "3.6.2024", "03.06.2024", "jun 3 2024", "03 jun 2024"]
    assert "mon, 3 june 2024" in written and "the 3 of june 2024" in written
    assert len(set(written)) == len(dates.FORMS) == 13
    assert set("".join(written)) <= set(dates.SIGNS)


def test_no_two_days_are_written_alike():
    days = dates.draw_days(3000)
    assert len(set(days)) == 3000
    written = [(dates.write(day, form), day) for day in days for form in dates.FORMS]
    assert len({text for text, _ in written}) == len({*written})


# Encoder and decoder


def test_encoder_is_a_bidirectional_gru_on_packed_rows():
    torch.manual_seed(0)
    encoder = attention.Encoder(V, E, H).double()
    gru = nn.GRU(E, H, bidirectional=True).double()
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        gru.get_parameter(name).data = encoder.rnn.ahead.get_parameter(name).data
        gru.get_parameter(f"{name}_reverse").data = encoder.rnn.back.get_parameter(name).data
    source, _ = sources()
    lengths = torch.tensor([5, 2, 3])
    packed = nn.utils.rnn.pack_padded_sequence(encoder.embedding(source.T), lengths, enforce_sorted=False)
    outputs, h_n = gru(packed)
    outputs = nn.utils.rnn.pad_packed_sequence(outputs)[0].transpose(0, 1)  # (N, S, 2H), zeros in the padding
    keys, mask, state = encoder(source)
    assert mask.tolist() == (source != PAD).tolist()
    torch.testing.assert_close(keys[mask], encoder.to_keys(outputs)[mask])
    torch.testing.assert_close(state[0], torch.tanh(encoder.to_state(torch.cat([h_n[0], h_n[1]], dim=1))))


@every_kind
def test_all_steps_in_one_call_equal_one_step_after_another(kind):
    model = new_model(kind)
    source, target = sources()
    inputs = attention.shift_right(target)
    together = model(source, inputs)
    memory, state, steps = model.encoder(source), None, []
    for ids in inputs.split(1, dim=1):
        logits, state, _ = model.decoder(ids, memory, state)
        steps.append(logits)
    torch.testing.assert_close(torch.cat(steps, dim=1), together, rtol=0, atol=1e-10)


@every_kind
def test_a_row_means_the_same_alone_and_beside_longer_ones(kind):
    model = new_model(kind)
    source, target = sources()
    together = model(source, attention.shift_right(target))
    for row, length in enumerate((5, 2, 3)):
        steps = int((target[row] != PAD).sum())
        alone = model(source[row : row + 1, :length], attention.shift_right(target[row : row + 1, :steps]))
        torch.testing.assert_close(together[row, :steps], alone[0], rtol=0, atol=1e-10)


@every_kind
def test_nothing_after_the_end_changes_loss_or_gradient(kind):
    """More padding on both sides, and other ids in place of what the decoder reads after the end."""
    model = new_model(kind)
    source, target = sources()

    def loss_and_gradients(source, target):
        model.zero_grad()
        loss = attention.pair_loss(model, source, target)
        loss.backward()
        return [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]

    first = loss_and_gradients(source, target)
    second = loss_and_gradients(F.pad(source, (0, 3), value=PAD), F.pad(target, (0, 2), value=PAD))
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    model.zero_grad()
    inputs = attention.shift_right(target)
    inputs[(inputs == EOS) | (inputs == PAD)] = 7
    F.cross_entropy(model(source, inputs).flatten(0, 1), target.flatten(), ignore_index=PAD).backward()
    for a, p in zip(first[1:], (p for p in model.parameters() if p.grad is not None), strict=True):
        torch.testing.assert_close(a, p.grad, rtol=0, atol=1e-10)


def test_loss_is_the_mean_over_real_tokens():
    model = new_model()
    source, target = sources()
    log_p = model(source, attention.shift_right(target)).log_softmax(-1)
    real = [(n, t) for n in range(3) for t in range(4) if target[n, t] != PAD]
    expected = -sum(log_p[n, t, target[n, t]] for n, t in real) / len(real)
    torch.testing.assert_close(attention.pair_loss(model, source, target), expected)


# Attention


def test_additive_scores_are_a_triple_loop():
    torch.manual_seed(0)
    score = attention.AdditiveScore(H).double()
    queries, keys = torch.randn(2, 3, H).double(), torch.randn(2, 4, H).double()
    expected = torch.empty(2, 3, 4).double()
    for n, t, s in itertools.product(range(2), range(3), range(4)):
        both = score.W_q.weight @ queries[n, t] + score.W_k.weight @ keys[n, s] + score.W_k.bias
        expected[n, t, s] = score.v.weight[0] @ torch.tanh(both)
    torch.testing.assert_close(score(queries, keys), expected, rtol=0, atol=1e-12)


def test_attend_is_pytorchs_attention_with_scale_one():
    torch.manual_seed(0)
    queries, keys = torch.randn(3, 2, H).double(), torch.randn(3, 5, H).double()
    mask = sources()[0] != PAD
    mixtures, weights = attention.attend(attention.dot_scores(queries, keys), keys, mask)
    expected = F.scaled_dot_product_attention(queries, keys, keys, attn_mask=mask[:, None], scale=1.0)
    torch.testing.assert_close(mixtures, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2).double())
    assert not weights.masked_select(~mask[:, None]).any(), "padding gets a weight of exactly 0"


def test_decoder_hands_out_the_weights_it_has_used():
    model = new_model()
    source, target = sources()
    memory = model.encoder(source)
    logits, _, weights = model.decoder(attention.shift_right(target), memory)
    queries, _ = model.decoder.read(attention.shift_right(target), memory, None)
    context = weights @ memory.keys
    joint = torch.tanh(model.decoder.join(torch.cat([context, queries], -1)))
    torch.testing.assert_close(model.decoder.readout(joint), logits)


def copied(num_heads):
    """Return a layer of PyTorch and ours with its weights."""
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(8, num_heads, batch_first=True).double().eval()
    nn.init.normal_(theirs.in_proj_bias)
    ours = attention.MultiHead(8, num_heads).double()
    for name, weight, bias in zip("qkv", theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3), strict=True):
        layer = getattr(ours, f"W_{name}")
        layer.weight.data, layer.bias.data = weight.data, bias.data
    ours.W_o.load_state_dict(theirs.out_proj.state_dict())
    return theirs, ours


@pytest.mark.parametrize("num_heads", [1, 2, 4])
def test_heads_equal_pytorchs_whose_mask_is_the_opposite(num_heads):
    theirs, ours = copied(num_heads)
    queries, keys = torch.randn(3, 4, 8).double(), torch.randn(3, 5, 8).double()
    mask = sources()[0] != PAD  # (N, S)
    expected, _ = theirs(queries, keys, keys, key_padding_mask=~mask)
    torch.testing.assert_close(ours(queries, keys, mask[:, None, None]), expected, rtol=0, atol=1e-12)
    causal = torch.ones(5, 5).tril().bool()
    expected, _ = theirs(keys, keys, keys, attn_mask=~causal)
    torch.testing.assert_close(ours(keys, keys, causal), expected, rtol=0, atol=1e-12)


def test_a_row_with_nothing_to_see():
    """Softmax of all minus infinity is no number by hand, and zero in PyTorch's function."""
    keys = torch.ones(1, 2, 4)
    mixtures, _ = attention.attend(torch.zeros(1, 1, 2), keys, torch.tensor([[False, False]]))
    assert mixtures.isnan().all()
    theirs = F.scaled_dot_product_attention(keys[:, :1], keys, keys, attn_mask=torch.tensor([[[False, False]]]))
    assert torch.equal(theirs, torch.zeros(1, 1, 4))


def test_transformer_does_not_see_the_future():
    model = new_model("transformer")
    source, target = sources()
    inputs = attention.shift_right(target)
    changed = inputs.clone()
    changed[:, 2:] = 8
    assert torch.equal(model(source, changed)[:, :2], model(source, inputs)[:, :2])
    assert not torch.equal(model(source, changed)[:, 2:], model(source, inputs)[:, 2:])


# Training and writing


def test_rate_by_hand():
    rate = [attention.pair_schedule(step, 100, warm_up=10, end=0.0) for step in range(101)]
    assert rate[0] == pytest.approx(0.1) and rate[4] == pytest.approx(0.5)
    assert rate[50] == pytest.approx(0.5) and rate[100] == pytest.approx(0)
    assert max(rate) <= 1


@pytest.mark.parametrize("kind", ["none", "dot", "additive", "transformer"])
def test_short_strings_are_learned(kind):
    generator = torch.Generator().manual_seed(0)
    model = new_model(kind, vocab_size=14).float()
    pairs = [attention.Pair(*pair) for pair in attention.random_pairs(6400, 1, 2, generator)]
    losses = attention.fit_pairs(model, list(attention.pair_batches(pairs, 64, 3)), lr=2e-2)
    assert losses[-10:].mean() < losses[:10].mean() / 2
    assert not model.training


def best_of_all(model, source, steps, vocab_size):
    """Return the likeliest of all texts of at most so many tokens, <eos> included, by trying them all."""
    found = []
    for length in range(steps + 1):
        for text in itertools.product([i for i in range(vocab_size) if i != EOS], repeat=length):
            target = [*text, EOS][:steps]
            logits = model(source, torch.tensor([[BOS, *target[:-1]]]))
            log_p = logits[0].log_softmax(-1)[torch.arange(len(target)), target].sum()
            found.append((float(log_p), list(text)))
    return max(found)


@every_kind
def test_beam_as_wide_as_the_space_finds_the_best_of_all(kind):
    model, source = new_model(kind, vocab_size=5), torch.tensor([[4, 0, 4]])
    with torch.no_grad():
        log_p, text = best_of_all(model, source, 3, 5)
    found = attention.beam_search(model, source, 5**3, 3)
    assert found[0][1] == text
    assert found[0][0] == pytest.approx(log_p, abs=1e-5)
    assert len(found) == 1 + 4 + 16 + 64, "each text once, those that were cut off without <eos>"
    assert sum(math.exp(p) for p, _ in found) == pytest.approx(1, abs=1e-5)
    assert found == sorted(found, reverse=True)


@every_kind
def test_beam_of_one_is_greedy(kind):
    model = new_model(kind)
    for row in ([4], [5, 6, 7], [8, 8, 4, 4, 6], [7, 5]):
        source = torch.tensor([row])
        (greedy,) = attention.until_eos(attention.greedy(model, source, 6))
        ((_, beam),) = attention.beam_search(model, source, 1, 6)
        assert beam == greedy


def test_beam_can_find_what_greedy_misses():
    """Greedy takes the likelier first token, whose followers are many; the other's one follower is certain."""
    log_p = torch.tensor([[0.6, 0.4]]).log()
    scores, parents, tokens = attention.extend_beams(torch.zeros(1), log_p, 2)
    assert tokens.tolist() == [0, 1] and parents.tolist() == [0, 0]
    second = torch.tensor([[0.5, 0.5], [0.95, 0.05]]).log()
    scores, parents, tokens = attention.extend_beams(scores, second, 2)
    assert (parents[0], tokens[0]) == (1, 0)
    assert scores.exp().tolist() == pytest.approx([0.38, 0.3])


@every_kind
def test_greedy_writes_the_same_alone_and_together(kind):
    model = new_model(kind)
    source, _ = sources()
    together = attention.until_eos(attention.greedy(model, source, 7))
    alone = [attention.until_eos(attention.greedy(model, row[row != PAD][None], 7))[0] for row in source]
    assert together == alone


def test_greedy_ends_with_padding_and_stops_when_all_have_ended():
    class Script(nn.Module):
        """Write row n after a script, whatever is read."""

        def __init__(self, rows):
            super().__init__()
            self.rows = rows

        def encoder(self, source):
            return None

        def decoder(self, ids, memory, state):
            step = 0 if state is None else state
            logits = F.one_hot(torch.tensor([[row[step]] for row in self.rows]), V).float()
            return logits, step + 1, None

    written = attention.greedy(Script([[5, EOS, 6, 6, 6], [7, 8, EOS, 6, 6]]), torch.zeros(2, 1).long(), 5)
    assert written.tolist() == [[5, EOS, PAD], [7, 8, EOS]]
    assert attention.until_eos(written) == [[5], [7, 8]]
    written = attention.greedy(Script([[5, 6, 7]]), torch.zeros(1, 1).long(), 2)
    assert attention.until_eos(written) == [[5, 6]], "no <eos>: the text is cut off"


# The measure


def test_mistakes_by_hand():
    assert attention.fewest_edits(["K", "AE", "T"], [["K", "AE", "T"]]) == (0, 3)
    assert attention.fewest_edits(["K", "AH", "T", "S"], [["K", "AE", "T"]]) == (2, 3)
    assert attention.fewest_edits([], [["K", "AE", "T"]]) == (3, 3)
    ways = [["T", "AH", "M", "EY", "T", "OW"], ["T", "AH", "M", "AA", "T", "OW"]]
    assert attention.fewest_edits(["T", "AH", "M", "AA", "T", "OW"], ways) == (0, 6), "the closest way counts"


def test_rates_by_hand():
    guesses, answers = [["K", "AE", "T"], ["D"]], [[["K", "AE", "T"]], [["D", "AO", "G"], ["D", "AA"]]]
    assert attention.word_and_error_rate(guesses, answers) == (0.5, 1 / 5)


# What the long runs found (python -m benchmarks.attention), as the chapter says it


def recorded(topic, **wanted):
    path = Path(__file__).resolve().parent.parent / "rnnlib" / "results" / "attention.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return [row for row in rows if ({"topic": topic} | wanted).items() <= row.items()]


def test_recorded_dates_are_all_right_with_attention_and_few_without():
    for row in recorded("days", model="dot"):
        assert row["dates right"] == 100 and row["seconds"] <= 30
    assert {row["seed"] for row in recorded("days", model="dot")} == {0, 1, 2}
    assert all(row["dates right"] < 50 for row in recorded("days", model="none"))


def test_recorded_copies_of_length_18_need_attention():
    found = {}
    for kind in ("dot", "none"):
        found[kind] = [row["18"] for row in recorded("copying", model=kind, hidden=64, source="as it is")]
        assert len(found[kind]) == 3, "three seeds"
    assert min(found["dot"]) >= 0.9 and max(found["none"]) <= 0.05


def test_recorded_words_gain_most_where_they_are_long():
    for split in ("random", "blocks"):
        for with_it in recorded("words", model="dot", split=split):
            (without,) = recorded("words", model="none", split=split, seed=with_it["seed"], hidden=96)
            gains = [with_it[bin] - without[bin] for bin in ("2-4", "7-8", "11-16")]
            assert gains == sorted(gains) and gains[-1] > 20
            assert with_it["seconds"] <= 120


def test_recorded_beams_gain_little_and_errors_are_the_models():
    rows = recorded("beam")
    assert rows[-1]["width"] == 10 and rows[-1]["words right"] - rows[0]["words right"] < 1
    assert rows[-1]["search errors"] <= 0.02 * rows[-1]["wrong"]


def test_recorded_faults_have_their_symptoms():
    rows = {row["run"]: row for row in recorded("faults")}
    assert rows["input not shifted"]["training loss"] < 0.01 and rows["input not shifted"]["words right"] < 1
    assert rows["no <eos>"]["phoneme error"] > 100
    assert rows["no mask on the source"]["phoneme error"] > rows["right"]["phoneme error"] + 3
    assert rows["loss over padding"]["training loss"] < rows["right"]["training loss"]


def test_recorded_best_writes_seven_of_ten_words():
    rows = recorded("best", part="test")
    assert max(row["words right"] for row in rows) >= 70
    for way in ("greedy", "beam of 3"):
        medium, large, together = (
            recorded("best", part="test", model=m, way=way)[0] for m in ("medium", "large", "together")
        )
        assert medium["words right"] < large["words right"] < together["words right"]


def test_recorded_reader_from_the_left_gains_by_a_source_turned_round():
    for seed in (0, 1, 2):
        (as_it_is,) = recorded("copying", model="one way", source="as it is", seed=seed)
        (backwards,) = recorded("copying", model="one way", source="backwards", seed=seed)
        assert all(backwards[length] > as_it_is[length] for length in ("4", "6", "8"))
