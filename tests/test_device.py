"""The pretend GPU of ``make test-device``: it computes what the CPU computes, and refuses what a GPU refuses."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from torch.utils import backend_registration

pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this release of PyTorch can't register a device from Python",
)

START = """
import rnnlib, torch
from torch import nn
device = rnnlib.setup(0)
layer, X = nn.LSTM(3, 4).to(device), torch.randn(5, 2, 3).to(device)  # X: (T, N, D)
"""

REFUSED = {  # what is tried: what the error says
    "torch.ones(2, device=device) + torch.ones(2)": "same device, but add got .* on pretend:0, .* on cpu",
    "torch.ones(2, device=device).add_(torch.ones(2))": "same device",
    "nn.Embedding(4, 3).to(device)(torch.tensor([1, 2]))": "same device",
    "nn.Linear(3, 4)(X)": "same device",
    "torch.ones(4)[torch.tensor([1]).to(device)]": "same device",
    "torch.ones(4, device=device).index_put_((torch.tensor([1]),), torch.ones(1))": "same device",
    "nn.functional.cross_entropy(torch.ones(2, 3, device=device), torch.tensor([1, 2]))": "same device",
    "torch.ones(2, device=device).numpy()": "to numpy",
    "torch.ones(2, device=device).double()": "float64",
    "torch.randn(2, device=device, generator=torch.Generator())": "device type for generator",
    "layer(X.cpu())": "not at the same device",
    "layer(X, (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)))": "not at the same device",
    "layer(X, 2 * [torch.zeros(1, 2, 8, device=device)[..., ::2]])": "hx is not contiguous",
    "layer.eval()(X)[0].sum().backward()": "only be called in training mode",
    "first = torch.autograd.grad(layer.train()(X)[0].pow(2).sum(), layer.weight_hh_l0, create_graph=True)[0]\n"
    "first.sum().backward()": "once_differentiable",
    # wrong ids and targets are told at the door, before they are on the device
    "from rnnlib import scratch, text, training\n"
    "reader, W = scratch.ScratchRNN(5, 6, device), torch.tensor([[1, 2, 9]])\n"
    "training.fit(reader, [(W, W % 5)], 1)": "^id 9 is outside 0 to 4: was the text coded with another vocabulary",
    "scratch.perplexity(reader, [(W % 5, W)])": "^target 9 is outside 0 to 4",
    "scratch.generate(reader, text.Vocab('abcd'), 'xyz', 3)": "tokens that the model has never seen",
}

DONE = {  # what is tried: what comes out
    "str(device)": "'pretend:0'",
    "(torch.ones(2, device=device) + torch.tensor(1.0)).tolist()": "[2.0, 2.0]",
    "torch.ones(4, device=device)[torch.tensor([1, 2])].tolist()": "[1.0, 1.0]",
    "torch.arange(3, device=device).tolist(), torch.tensor([7], device=device).tolist()": "([0, 1, 2], [7])",
    "torch.manual_seed(3).initial_seed() and torch.equal(torch.randn(3), torch.randn(3, device=device).cpu())": "False",
    "float((layer(X)[0].cpu() - nn.LSTM.forward(layer.cpu(), X.cpu())[0]).abs().max()) < 1e-3": "True",
    # the lengths of a batch stay on the CPU, where packing wants them, and a model takes them over
    "from rnnlib import sentiment\n"
    "class Mean(nn.Module):\n"
    "    def __init__(self):\n"
    "        super().__init__()\n"
    "        self.table = nn.Embedding(5, 1)\n"
    "    def forward(self, ids, lengths):\n"
    "        return sentiment.mean_state(self.table(ids.T), lengths.to(ids.device))[:, 0]\n"
    "sentiment.score_reviews(Mean().to(device), [torch.tensor([1, 2]), torch.tensor([3])]).shape": "torch.Size([2])",
    # a network of the book trains to the numbers that it has on the CPU
    "from rnnlib import scratch, text\n"
    "here = scratch.ScratchRNN(5, 6, device)\n"
    "there = scratch.ScratchRNN(5, 6)\n"
    "there.load_state_dict({name: p.cpu() for name, p in here.state_dict().items()})\n"
    "batches = text.sequential_batches(torch.arange(200) ** 2 % 5, 4, 7, offset=0)\n"
    "losses = [scratch.train_epoch(m, batches, torch.optim.SGD(m.parameters(), lr=0.5))[0] for m in (here, there)]\n"
    "abs(losses[0] - losses[1]) < 1e-4, here.params[0].device.type": "(True, 'pretend')",
}


@pytest.fixture(scope="module")
def outcomes():
    """What each source did on the pretend GPU: {source: (error, value)} from one kernel."""
    sources = [START, *REFUSED, *DONE]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(Path(__file__).parent))
        client = NotebookClient(notebook, timeout=120, kernel_name="pretend_gpu", allow_errors=True)
        client.execute()
    found = {}
    for cell in notebook.cells:
        errors = [output.evalue for output in cell.outputs if output.output_type == "error"]
        values = [o.data["text/plain"] for o in cell.outputs if o.output_type == "execute_result"]
        found[cell.source] = (errors or [None])[0], (values or [None])[0]
    assert found[START][0] is None, found[START][0]
    return found


@pytest.mark.parametrize("source", REFUSED)
def test_what_a_gpu_refuses_is_refused(outcomes, source):
    error, value = outcomes[source]
    assert error is not None, f"no error, but {value}"
    assert re.search(REFUSED[source], error)


@pytest.mark.parametrize("source", DONE)
def test_what_a_gpu_does_is_done(outcomes, source):
    assert outcomes[source] == (None, DONE[source])
