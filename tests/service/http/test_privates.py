"""What we use of libraries that promise nothing of it: these fail before a request does, when a new version changes it.

pyproject.toml bounds uvicorn and onnxruntime from above for the same reason; raise the bounds when these pass.
"""

import asyncio
import inspect
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from userip.service.http.protocol import HardenedHttpProtocol

# By name: the arguments that we give, or take over.
METHODS = {
    "connection_made": ["self", "transport"],
    "connection_lost": ["self", "exc"],
    "data_received": ["self", "data"],
    "on_message_begin": ["self"],
    "on_header": ["self", "name", "value"],
    "on_headers_complete": ["self"],
    "on_body": ["self", "body"],
    "on_message_complete": ["self"],
    "on_response_complete": ["self"],
    "send_400_response": ["self", "msg"],
    "_start_asgi_task": ["self", "cycle", "app"],
    "_unset_keepalive_if_required": ["self"],
}
PROTOCOL = {"app", "loop", "parser", "transport", "flow", "cycle", "pipeline", "scope", "headers", "url",
            "expect_100_continue"}  # fmt: skip
CYCLE = {"scope", "disconnected", "message_event", "response_started", "response_complete", "keep_alive", "on_response",
         "body", "more_body", "waiting_for_100_continue", "default_headers"}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_methods_that_we_extend_are_as_we_know_them(name: str) -> None:
    """uvicorn's protocol has them, with the same arguments."""
    assert list(inspect.signature(getattr(HttpToolsProtocol, name)).parameters) == METHODS[name]


def test_fields_that_we_read_are_there() -> None:
    """Of a protocol before its first request, and of the cycle of a request."""

    async def scenario() -> tuple[Any, Any]:
        async def app(_: Scope, receive: Receive, __: Send) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        config = Config(app, http=HardenedHttpProtocol, log_config=None, interface="asgi3")
        config.load()
        state: Any = ServerState()
        protocol: Any = HardenedHttpProtocol(config, state, {}, asyncio.get_running_loop())
        protocol.connection_made(_Transport())
        protocol.data_received(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        cycle = protocol.cycle
        found = {name for name in PROTOCOL if hasattr(protocol, name)}, {name for name in CYCLE if hasattr(cycle, name)}
        assert isinstance(cycle, RequestResponseCycle)
        protocol.connection_lost(None)
        await asyncio.wait(state.tasks)
        return found

    assert asyncio.run(scenario()) == (PROTOCOL, CYCLE)


class _Transport(asyncio.Transport):
    """Takes whatever it is given."""

    def is_closing(self) -> bool:
        return False

    def write(self, data: object) -> None:
        """It goes nowhere."""

    def close(self) -> None:
        """Nothing is open."""


def test_graph_runs_below_the_checks_of_the_session() -> None:
    """`InferenceSession._sess.run(outputs, inputs, options)` gives what `InferenceSession.run` gives."""
    graph = helper.make_graph(
        [helper.make_node("Sigmoid", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array([-1.0, 0.0, 2.0], np.float32)
    below, above = session._sess.run(("y",), {"x": x}, None)[0], session.run(("y",), {"x": x})[0]
    np.testing.assert_array_equal(below, above)
