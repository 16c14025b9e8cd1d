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
        "scratch.py",
        "model.eval()",
        "pass",
        "test_training.py::test_dropout_is_off_while_measuring_and_restored",
    ),
    "gradients that are no numbers reach the weights": Fault(
        "guards/__init__.py",
        "if not torch.isfinite(norm):",
        "if False:",
        "test_training.py::test_diverged_training_stops_with_finite_weights",
    ),
    "a resumed training forgets its moments": Fault(
        "training.py",
        "optimizer = optimizer or history.optimizer or torch",
        "optimizer = optimizer or torch",
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
        "torch.tensor([ids[-1:]], device=device)",
        "torch.tensor([ids], device=device)",
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
    "noise words are not weighted": Fault(
        "../benchmarks/pretraining.py",
        "wrong = wrong - (self.num_noise * self.noise[others]).log()",
        "wrong = wrong * 1",
        "test_sentiment.py::test_sampled_softmax_tends_to_the_full_one",
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
        left_out = shutil.ignore_patterns("__pycache__", "checkpoints", "results")
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
