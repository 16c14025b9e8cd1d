"""The classic faults, each planted in a copy of the library: the test that guards against it must turn red."""

import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).resolve().parent
LIBRARY = TESTS.parent / "rnnlib"


class Fault(NamedTuple):
    """A piece of the source in a file of the library, what is put in its place, and the test that must fail."""

    file: str
    right: str
    wrong: str
    test: str


FAULTS = {
    "the gates of a GRU as PyTorch has them, in ONNX": Fault(
        "shipping.py",
        "3: (1, 0, 2),",
        "3: (0, 1, 2),",
        "test_shipping.py::test_gates_in_the_order_of_onnx_by_hand",
    ),
    "the reset gate before the product, in ONNX": Fault(
        "shipping.py",
        'facts["linear_before_reset"] = 1',
        'facts["linear_before_reset"] = 0',
        "test_shipping.py::test_onnx_sequence_takes_any_batch_and_length[GRU]",
    ),
    "the reset gate before the sum, in NumPy": Fault(
        "shipping.py",
        "n = np.tanh(a_n + r * b_n)",
        "n = np.tanh(r * (a_n + b_n))",
        "test_shipping.py::test_numpy_step_is_the_model[GRU]",
    ),
    "weights cut off in place of rounded": Fault(
        "shipping.py",
        "torch.round(W / scale)",
        "torch.trunc(W / scale)",
        "test_shipping.py::test_error_is_below_half_a_step_everywhere",
    ),
    "a row of zeros is divided by": Fault(
        "shipping.py",
        ".clamp(min=torch.finfo(W.dtype).tiny)",
        "",
        "test_shipping.py::test_error_is_below_half_a_step_everywhere",
    ),
    "a new session goes on from a stranger's state": Fault(
        "sessions.py",
        "part[:, row] = 0",
        "part[:, row] += 0",
        "test_sessions.py::test_rows_are_used_again_and_begin_at_zero",
    ),
    "a client that left is answered": Fault(
        "sessions.py",
        "[job for job in jobs if not job[2].done()]",
        "[job for job in jobs]",
        "test_sessions.py::test_a_client_that_leaves_does_not_touch_the_next_owner_of_its_row",
    ),
    "states by place in the batch": Fault(
        "sessions.py",
        "part[:, rows] = new",
        "part[:, : len(rows)] = new",
        "test_sessions.py::test_many_sessions_are_answered_as_if_alone",
    ),
    "the row of a client that vanished is lost": Fault(
        "serve.py",
        "            self.pool.close(self.row)\n",
        "",
        "test_serve.py::test_clients_that_vanish_leave_nothing_behind",
    ),
    "a suggestion moves the state": Fault(
        "serve.py",
        "            part[:, self.row] = before\n        self.scores = scores",
        "            pass\n        self.scores = scores",
        "test_serve.py::test_suggestion_and_writing_are_those_of_the_network",
    ),
    "Y is not shifted, sequential": Fault(
        "text.py",
        "corpus[offset + 1 : offset + 1 + num_tokens]",
        "corpus[offset : offset + num_tokens]",
        "test_text.py::test_every_minibatch_has_the_shape_and_y_is_x_shifted",
    ),
    "Y is not shifted, random": Fault(
        "text.py",
        "corpus[X], corpus[X + 1]",
        "corpus[X], corpus[X]",
        "test_text.py::test_every_minibatch_has_the_shape_and_y_is_x_shifted",
    ),
    "no <unk> at 0": Fault(
        "text.py",
        'list(tokens), ["<unk>", *reserved]',
        "list(tokens), [*reserved]",
        "test_text.py::test_vocabulary_by_hand",
    ),
    "<pad> shares the id of <unk>": Fault(
        "text.py",
        "{token: i for i, token in enumerate(self.tokens)}",
        "{token: max(0, i - len(reserved)) for i, token in enumerate(self.tokens)}",
        "test_text.py::test_reserved_tokens_come_first_and_once",
    ),
    "W_hh is transposed": Fault(
        "scratch.py",
        "H = torch.tanh(X @ W_xh + H @ W_hh + b_h)  # (N, H)\n        outputs",
        "H = torch.tanh(X @ W_xh + H @ W_hh.T + b_h)  # (N, H)\n        outputs",
        "test_scratch.py::test_is_the_rnn_of_torch",
    ),
    "one-hot rows are batch first": Fault(
        "text.py",
        "ids = ids.T.long().unsqueeze(-1)",
        "ids = ids.long().unsqueeze(-1)",
        "test_scratch.py::test_rows_do_not_mix",
    ),
    "no slope of tanh in BPTT": Fault(
        "gradients.py",
        "(D[t] + dH) * (1 - after[t] ** 2)",
        "(D[t] + dH)",
        "test_gradients.py::test_equals_autograd_for_any_shape",
    ),
    "clipping per tensor": Fault(
        "gradients.py",
        "g.mul_(scale)",
        "g.mul_(torch.clamp(theta / (g.norm() + 1e-6), max=1.0))",
        "test_training.py::test_a_step_is_at_most_the_clip_long",
    ),
    "the state is not detached": Fault(
        "scratch.py",
        "model(X.to(device), detach(state))",
        "model(X.to(device), state)",
        "test_training.py::test_state_is_carried_along_sequential_batches_and_cut",
    ),
    "the state starts afresh along sequential batches": Fault(
        "scratch.py",
        'if state is None or not getattr(minibatch, "continues", False):',
        "if True:",
        "test_training.py::test_state_is_carried_along_sequential_batches_and_cut",
    ),
    "the state is carried along random batches": Fault(
        "scratch.py",
        'if state is None or not getattr(minibatch, "continues", False):',
        "if state is None:",
        "test_training.py::test_state_starts_afresh_for_other_batches",
    ),
    "targets are batch first": Fault(
        "scratch.py",
        "yield logits, Y.T.reshape(-1)",
        "yield logits, Y.reshape(-1)",
        "test_training.py::test_targets_are_time_first",
    ),
    "perplexity averages exponentials": Fault(
        "scratch.py",
        "return safe_exp(mean_nll(model, batches))",
        "return mean(sum(safe_exp(mean_nll(model, [one])) for one in batches), len(batches))",
        "test_training.py::test_losses_are_averaged_before_the_exponential",
    ),
    "small minibatches weigh as much as large ones": Fault(
        "scratch.py",
        'reduction="sum"))\n            counts.append((targets != -100).sum())',
        'reduction="mean"))\n            counts.append(torch.tensor(1))',
        "test_training.py::test_every_token_counts_the_same",
    ),
    "dropout while measuring": Fault(
        "environment.py",
        "model.eval()",
        "pass",
        "test_training.py::test_dropout_is_off_while_measuring_and_restored",
    ),
    "gradients that are no numbers reach the weights": Fault(
        "guards.py",
        "if not torch.isfinite(norm):",
        "if False:",
        "test_training.py::test_diverged_training_stops_with_finite_weights",
    ),
    "a resumed training forgets its moments": Fault(
        "training.py",
        "optimizer = history.optimizer if optimizer is None else optimizer",
        "optimizer = None if optimizer is None else optimizer",
        "test_training.py::test_stop_and_resume_is_one_long_run",
    ),
    "temperature is inverted": Fault(
        "scratch.py",
        "(logits - largest) / T, -1)",
        "(logits - largest) * T, -1)",
        "test_scratch.py::test_temperature_by_hand",
    ),
    "the prefix is read again for every token": Fault(
        "scratch.py",
        "torch.tensor([written[-1:]], device=device)",
        "torch.tensor([ids + written], device=device)",
        "test_scratch.py::test_every_token_is_read_exactly_once",
    ),
    "two gates of the LSTM are swapped": Fault(
        "gates.py",
        "C = F_t * C + I_t * C_tilde",
        "C = I_t * C + F_t * C_tilde",
        "test_gates.py::test_equals_torch_at_length_one_and_batch_one",
    ),
    "the reset gate moves before the product": Fault(
        "gates.py",
        "R_t * (H @ W_hh + b_hh))",
        "(R_t * H) @ W_hh + b_hh)",
        "test_gates.py::test_equals_torch_at_length_one_and_batch_one",
    ),
    "the forget bias is set twice": Fault(
        "gates.py",
        "parameter[forget] = 0.0",
        "parameter[forget] = bias",
        "test_gates.py::test_forget_bias_is_set_once_in_every_layer_and_direction",
    ),
    "the forget bias of the first layer alone": Fault(
        "gates.py",
        'name.startswith("bias_ih")',
        'name == "bias_ih_l0"',
        "test_gates.py::test_forget_bias_is_set_once_in_every_layer_and_direction",
    ),
    "the backward reader reads forward": Fault(
        "directions.py",
        "scan(step, inputs.flip(0), states[1], params[1])",
        "scan(step, inputs, states[1], params[1])",
        "test_directions.py::test_is_the_bidirectional_layer_of_torch",
    ),
    "backward states are not flipped back": Fault(
        "directions.py",
        "torch.cat([ahead, back.flip(0)], dim=-1)",
        "torch.cat([ahead, back], dim=-1)",
        "test_directions.py::test_is_the_bidirectional_layer_of_torch",
    ),
    "backward logits are not flipped back": Fault(
        "directions.py",
        "flipped.unflatten(0, ids.T.shape).flip(0)",
        "flipped.unflatten(0, ids.T.shape)",
        "test_directions.py::test_adding_two_readouts_is_reading_out_both_states",
    ),
    "the final state is that of the first layer": Fault(
        "layers.py",
        "H[-num_directions(rnn_layer) :]",
        "H[: num_directions(rnn_layer)]",
        "test_directions.py::test_final_state_of_a_layer_without_padding",
    ),
    "the final state is output[:, -1]": Fault(
        "check/directions.py",
        "output[rows, lengths - 1, :H], output[:, 0, H:]",
        "output[:, -1, :H], output[:, -1, H:]",
        "test_check.py::test_solution_passes[state_at_length]",
    ),
    "windows of different lengths are not packed": Fault(
        "directions.py",
        "pack_padded_sequence(rows, lengths.cpu(), enforce_sorted=False)",
        "pack_padded_sequence(rows, 0 * lengths.cpu() + len(rows), enforce_sorted=False)",
        "test_directions.py::test_lookahead_is_reading_each_window_alone",
    ),
    "reviews: <pad> shares the id of <unk>": Fault(
        "sentiment.py",
        "UNK, PAD = 0, 1",
        "UNK, PAD = 0, 0",
        "test_sentiment.py::test_vocabulary_has_two_special_tokens",
    ),
    "the first words of a review are kept": Fault(
        "sentiment.py",
        "return ids[-length:]",
        "return ids[:length]",
        "test_sentiment.py::test_truncation",
    ),
    "films on both sides of the split": Fault(
        "sentiment.py",
        "train += group[:-num_valid]",
        "train += group[num_valid:]",
        "test_sentiment.py::test_split_holds_out_the_last_ids_of_each_class",
    ),
    "the backward reader starts in the padding": Fault(
        "sentiment.py",
        "source = torch.where(t < lengths, lengths - 1 - t, t)  # (T, N)",
        "source = (len(inputs) - 1 - t).expand(-1, len(lengths))",
        "test_sentiment.py::test_flipping_equals_packing_in_outputs_and_gradients",
    ),
    "the mean counts the padding": Fault(
        "sentiment.py",
        ".sum(dim=0) / lengths[:, None]",
        ".mean(dim=0)",
        "test_sentiment.py::test_readouts_by_hand",
    ),
    "the maximum reads the padding": Fault(
        "sentiment.py",
        "outputs.masked_fill(~real, -torch.inf).amax",
        "outputs.amax",
        "test_sentiment.py::test_readouts_by_hand",
    ),
    "logits come back in order of length": Fault(
        "sentiment.py",
        "        result[chunk] = model",
        "        result[start : start + len(chunk)] = model",
        "test_sentiment.py::test_training_learns_and_keeps_the_best",
    ),
    "the last weights are kept, not the best": Fault(
        "training.py",
        'model.load_state_dict(kept["state"])',
        "pass",
        "test_sentiment.py::test_the_best_weights_come_back",
    ),
    "a weight drop that does nothing": Fault(
        "regularised.py",
        "parametrize.register_parametrization(rnn_layer, name, nn.Dropout(p))",
        "nn.Dropout(p)(getattr(rnn_layer, name))",
        "test_regularised.py::test_weight_drop_drops_and_is_drawn_anew",
    ),
    "a locked mask that is drawn at each step": Fault(
        "regularised.py",
        "torch.full_like(inputs[:1], 1 - self.p)",
        "torch.full_like(inputs, 1 - self.p)",
        "test_regularised.py::test_locked_dropout_drops_the_same_units_at_all_steps_and_others_in_each_row",
    ),
    "a policy gradient with the wrong sign": Fault(
        "mazes.py",
        "actor = -log_p * surprise",
        "actor = log_p * surprise",
        "test_mazes.py::test_the_policy_gradient_is_that_of_the_expected_reward",
    ),
    "returns of what came before": Fault(
        "mazes.py",
        "for reward in reversed(rewards.unbind()):",
        "for reward in rewards.unbind():",
        "test_mazes.py::test_returns_by_hand",
    ),
    "a scan with the order swapped": Fault(
        "beyond.py",
        "(a1, b1), (a2, b2) = earlier, later",
        "(a2, b2), (a1, b1) = earlier, later",
        "test_beyond.py::test_loop_and_scan_are_equal_with_their_gradients",
    ),
    "the scan forgets its first state": Fault(
        "beyond.py",
        "b = torch.cat([(a[0] * h + b[0])[None], b[1:]])",
        "b = torch.cat([b[:1], b[1:]])",
        "test_beyond.py::test_scan_goes_on_from_a_state",
    ),
    "RWKV fades its state once too often": Fault(
        "beyond.py",
        "high = torch.maximum(top, k + bonus)  #",
        "top = top - decay\n    high = torch.maximum(top, k + bonus)  #",
        "test_beyond.py::test_wkv_in_three_forms",
    ),
    "RWKV hands on the first input, not the last": Fault(
        "beyond.py",
        "(inputs[-1], *average)",
        "(inputs[0], *average)",
        "test_beyond.py::test_all_at_once_is_step_by_step",
    ),
    "a window that keeps one step too few": Fault(
        "beyond.py",
        "k[1 - self.window :], v[1 - self.window :]",
        "k[2 - self.window :], v[2 - self.window :]",
        "test_beyond.py::test_all_at_once_is_step_by_step",
    ),
    "noise words are not weighted": Fault(
        "../benchmarks/pretraining.py",
        "wrong = wrong - (self.num_noise * self.noise[others]).log()",
        "wrong = wrong * 1",
        "test_sentiment.py::test_sampled_softmax_tends_to_the_full_one",
    ),
    "a forecast of the hour before": Fault(
        "forecasting.py",
        "later = series[h:]",
        "later = series[h - 1 :]",
        "test_forecasting.py::test_future_by_hand",
    ),
    "training looks across the border": Fault(
        "forecasting.py",
        "made = slice(max(start - h, 0), max(stop - h, 0))",
        "made = slice(start, stop)",
        "test_forecasting.py::test_parts_share_no_hour_and_lose_none",
    ),
    "a scaler has seen the test": Fault(
        "forecasting.py",
        "known = series[:stop].flatten(0, -2)",
        "known = series.flatten(0, -2)",
        "test_forecasting.py::test_a_scaler_that_peeks_flatters_on_a_trend",
    ),
    "a part holds the whole year": Fault(
        "forecasting.py",
        "part = torch.full_like(truth, torch.nan)",
        "part = truth.clone()",
        "test_forecasting.py::test_october_flatters",
    ),
    "features look an hour ahead": Fault(
        "forecasting.py",
        "others = (measured.sum(dim=1, keepdim=True) - measured) / (S - 1)",
        "others = (measured.sum(dim=1, keepdim=True) - measured).roll(-1, 0) / (S - 1)",
        "test_forecasting.py::test_changing_the_future_changes_no_forecast",
    ),
    "what is wrong is judged by the day after": Fault(
        "forecasting.py",
        "rolling(24, min_periods=12).median().shift()",
        "rolling(24, min_periods=12).median().shift(-24)",
        "test_forecasting.py::test_mending_looks_at_no_later_hour",
    ),
    "missing hours leave no row": Fault(
        "forecasting.py",
        'rows.set_index("time_hour").asfreq("h")  # a missing hour comes as NaN',
        'rows.set_index("time_hour")',
        "test_forecasting.py::test_mend_by_hand",
    ),
    "a hurricane is left": Fault(
        "forecasting.py",
        "miles.mask(miles > 150)",
        "miles",
        "test_forecasting.py::test_mend_by_hand",
    ),
    "a temperature in another unit is left": Fault(
        "forecasting.py",
        '(hours[["temp", "dewp"]].mask(wrong) - 32)',
        '(hours[["temp", "dewp"]] - 32)',
        "test_forecasting.py::test_mend_by_hand",
    ),
    "a wind blows to where it comes from": Fault(
        "forecasting.py",
        "west, south = -speed * np.sin(angle), -speed * np.cos(angle)",
        "west, south = speed * np.sin(angle), speed * np.cos(angle)",
        "test_forecasting.py::test_mend_by_hand",
    ),
    "persistence says what comes next": Fault(
        "baselines.py",
        "return series[..., None].expand(",
        "return series.roll(-1, 0)[..., None].expand(",
        "test_forecasting.py::test_persistence_lags_by_its_horizon",
    ),
    "windows by time reach into each other": Fault(
        "explore/forecasting.py",
        "gap = -(-(self.length + self.horizon) // step)",
        "gap = -(-self.horizon // step)",
        "test_explore_forecasting.py::test_windows_of_the_honest_division_share_no_hour",
    ),
    "a trader is judged on what it learned": Fault(
        "forecasting.py",
        "made = slice(max(start - h, 0), max(stop - h, 0))",
        "made = slice(0, max(stop - start, 1))",
        "test_forecasting.py::test_no_skill_on_a_random_walk",
    ),
    "the same hour comes from the future": Fault(
        "baselines.py",
        "back = -h % season",
        "back = max(season - h, 0)",
        "test_forecasting.py::test_baselines_by_hand",
    ),
    "windows begin at their row": Fault(
        "forecasting.py",
        "forecast[num_lags - 1 :] = rows.unflatten",
        "forecast[: len(X)] = rows.unflatten",
        "test_forecasting.py::test_ridge_is_that_of_scikit_learn_on_windows_written_by_hand",
    ),
    "the forecaster's state starts afresh with every chunk": Fault(
        "forecasting.py",
        "forecasts, state = model(x, state)  # (chunk, N, K, …)",
        "forecasts, state = model(x)",
        "test_forecasting.py::test_state_is_carried_between_chunks_and_cut",
    ),
    "pieces are cut across": Fault(
        "forecasting.py",
        "return cut.transpose(0, 1).flatten(1, 2)",
        "return cut.flatten(0, 1).unflatten(0, (length, num_pieces)).flatten(1, 2)",
        "test_forecasting.py::test_pieces_run_side_by_side",
    ),
    "the sides of the pinball loss are swapped": Fault(
        "forecasting.py",
        "torch.maximum(quantiles * miss, (quantiles - 1) * miss)",
        "torch.maximum((1 - quantiles) * miss, -quantiles * miss)",
        "test_forecasting.py::test_pinball_is_smallest_at_the_quantile",
    ),
    "intervals adapt to hours that have not come": Fault(
        "forecasting.py",
        "if t >= horizon:  # the hour for which this one was made has come\n            s = t - horizon",
        "if t >= 1:\n            s = t - 1",
        "test_forecasting.py::test_adaptation_looks_at_no_hour_that_has_not_come",
    ),
    "the stream forgets what it has read": Fault(
        "forecasting.py",
        "forecasts, self.state = self.model(",
        "self.state = None\n        forecasts, _ = self.model(",
        "test_forecasting.py::test_stream_is_the_forecaster_on_the_whole_series",
    ),
    "a series is read with day and month swapped": Fault(
        "data/series.py",
        'format="ISO8601"',
        'format="mixed"',
        "test_data_series.py::test_what_is_wrong_gets_one_sentence",
    ),
    "another file passes for the weather": Fault(
        "data/weather.py",
        "    _places.check_sha256(content, SHA256)\n",
        "",
        "test_data_weather.py::test_what_is_not_the_true_file_is_not_used",
    ),
    "the decoder reads what it must write": Fault(
        "attention.py",
        "torch.full_like(target[:, :1], BOS), target[:, :-1]",
        "target[:, :1], target[:, 1:]",
        "test_attention.py::test_shift_by_hand",
    ),
    "no <eos>": Fault(
        "attention.py",
        "torch.tensor([*target_vocab[list(target)], EOS])",
        "torch.tensor(target_vocab[list(target)])",
        "test_attention.py::test_pair_by_hand",
    ),
    "no mask on the source": Fault(
        "attention.py",
        "scores.masked_fill(~mask[:, None], -math.inf)",
        "scores * 1",
        "test_attention.py::test_a_row_means_the_same_alone_and_beside_longer_ones",
    ),
    "the mask is turned round": Fault(
        "attention.py",
        "scores.masked_fill(~mask[:, None], -math.inf)",
        "scores.masked_fill(mask[:, None], -math.inf)",
        "test_attention.py::test_attend_is_pytorchs_attention_with_scale_one",
    ),
    "the loss counts the padding": Fault(
        "attention.py",
        "target.flatten(), ignore_index=PAD)",
        "target.flatten())",
        "test_attention.py::test_loss_is_the_mean_over_real_tokens",
    ),
    "the decoder sees the future": Fault(
        "attention.py",
        "device=ids.device).triu(1)",
        "device=ids.device).triu(2)",
        "test_attention.py::test_transformer_does_not_see_the_future",
    ),
    "the decoder forgets its state between steps": Fault(
        "attention.py",
        "state = memory.state if state is None else state  # (1, N, H)",
        "state = memory.state",
        "test_attention.py::test_all_steps_in_one_call_equal_one_step_after_another",
    ),
    "a beam keeps the states of other texts": Fault(
        "attention.py",
        "state = state[:, parents[~ended]]",
        "state = state[:, : len(ids)]",
        "test_attention.py::test_beam_as_wide_as_the_space_finds_the_best_of_all",
    ),
    "heads are divided by the root of the whole width": Fault(
        "attention.py",
        "math.sqrt(Q.shape[-1])",
        "math.sqrt(queries.shape[-1])",
        "test_attention.py::test_heads_equal_pytorchs_whose_mask_is_the_opposite",
    ),
    "the first way to say a word counts, not the closest": Fault(
        "attention.py",
        "for answer in answers)",
        "for answer in answers[:1])",
        "test_attention.py::test_mistakes_by_hand",
    ),
}


def run_tests(tests, library):
    """Run tests on the library in a folder; return pytest's exit status and what it printed.

    Within this process, because importing PyTorch anew for every fault would take most of a minute.
    """
    for name in list(sys.modules):
        if name.split(".")[0] in ("rnnlib", "benchmarks", "conftest") or name.startswith("test_"):
            del sys.modules[name]
    path, output = sys.path[:], io.StringIO()
    sys.path.insert(0, str(library))
    try:
        with contextlib.redirect_stdout(output):
            plain = ["--tb=short", "--capture=sys", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:nbval"]
            status = pytest.main([*(str(TESTS / test) for test in tests), "-x", *plain])
        assert Path(sys.modules["rnnlib"].__file__).is_relative_to(library), "another copy of the library was tested"
    finally:
        sys.path[:] = path
    return int(status), output.getvalue()


def run_all(folder):
    """Run the tests on the library as it is, and each of them on a copy with its fault; return all results by name."""

    def copy_library(to):
        left_out = shutil.ignore_patterns("__pycache__", "checkpoints")
        for package in (LIBRARY, LIBRARY.parent / "benchmarks"):
            shutil.copytree(package, to / package.name, ignore=left_out)
        return to

    tests = sorted({fault.test for fault in FAULTS.values()})
    results = {"none": run_tests(tests, copy_library(folder / "healthy"))}
    for number, (name, fault) in enumerate(FAULTS.items()):
        library = copy_library(folder / str(number))
        path = library / "rnnlib" / fault.file
        path.write_text(path.read_text(encoding="utf-8").replace(fault.right, fault.wrong), encoding="utf-8")
        results[name] = run_tests([fault.test], library)
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Run all of it in another process, so that these tests keep their own library."""
    folder = tmp_path_factory.mktemp("planted")
    run = subprocess.run([sys.executable, __file__, folder], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FAULTS)
def test_source_has_the_place_for_the_fault_once(name):
    fault = FAULTS[name]
    source = (LIBRARY / fault.file).read_text(encoding="utf-8")
    assert source.count(fault.right) == 1, "the library has changed: find the new place for this fault"
    assert fault.wrong != fault.right


def test_without_a_fault_all_is_green(results):
    status, output = results["none"]
    assert status == pytest.ExitCode.OK, output


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_caught(results, name):
    status, output = results[name]
    assert status == pytest.ExitCode.TESTS_FAILED, f"not caught\n{output}"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "results.json").write_text(json.dumps(run_all(folder)), encoding="utf-8")
