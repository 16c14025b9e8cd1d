"""What the book refuses, and in which words: a ``check_…`` returns nothing and changes nothing.

Each raises a ValueError that names the value and the remedy. Values of tensors are looked at where that is free: on the
CPU, and not while a program is being recorded (compiled, exported or traced).
"""

from rnnlib.guards.fits import check_batches, check_optimizer, check_rate, check_repeatable, check_scheduler
from rnnlib.guards.networks import (
    IGNORED,
    check_gated,
    check_ids,
    check_input_size,
    check_inputs,
    check_layer,
    check_lengths,
    check_lstm,
    check_minibatch,
    check_range,
    check_reader,
    check_same_network,
    check_state,
    shapes,
    tensors,
)
from rnnlib.guards.numbers import (
    Diverged,
    check_counted,
    check_finite,
    check_known,
    check_positive,
    check_sizes,
    is_positive,
    is_whole,
    recording,
)
from rnnlib.guards.reviews import check_blocks, check_labelled, check_labels, check_rows, check_texts, check_vocab_size
from rnnlib.guards.texts import (
    check_corpus,
    check_flat,
    check_ids_to_decode,
    check_iterable,
    check_length,
    check_logits,
    check_num_tokens,
    check_prefix,
    check_reserved,
    check_temperature,
    check_token,
    check_top_k,
    check_unit,
    check_vocab,
    check_whole_numbers,
    check_words,
)
