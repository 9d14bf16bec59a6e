"""A graph computes what its part does, with nothing in it of the files that it was made from."""

import torch

from nightforge.export import onnx_graph
from tests import tiny_graph


def test_a_graph_holds_its_own_weights_and_no_word_of_the_checkout() -> None:
    net, _, graph = tiny_graph.exported()
    held = sum(int(torch.tensor(t.dims).prod()) for t in graph.graph.initializer if t.data_type == t.FLOAT)
    own = sum(p.numel() for name, p in net.named_parameters() if name.split(".")[0] not in {"unused", "scale"})
    assert own <= held < own + 20, "other parts' weights are in it, or some of its own are missing"
    content = graph.SerializeToString()
    assert b".py" not in content and b"stack_trace" not in content
    assert len(content) < own * 4 + 5_000


def test_what_is_no_tensor_stays_as_it_was_called() -> None:
    net, _ = tiny_graph.watched()
    from nightforge import graphs

    z, y = torch.randn(2, 6), torch.tensor([1, 2])
    with torch.no_grad():
        wanted = net.decode(z, y, twice=True)
        part = graphs.find(net, lambda: net.decode(z, y, twice=True))["decode"]
    assert part.names == (None, None, "twice") and part.constants == {2: True}
    made = onnx_graph.graph(net, part, onnx_graph.SAMPLE).SerializeToString()
    torch.testing.assert_close(graphs.runner(made, None)(z, y, twice=True), wanted, rtol=1e-4, atol=1e-5)
