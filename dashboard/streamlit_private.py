"""Private names of Streamlit that the dashboard needs; no other module of it uses one.

Publicly a script draws controls and reads their values. What is missing there is said at each function.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import StopException, get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext
from streamlit.runtime.state.common import WidgetMetadata
from streamlit.runtime.state.query_params import parse_url_param

Stopped = StopException
"""Exception of ``st.stop()``; publicly nothing says that a script ends by it, and not by an error."""
Run = ScriptRunContext
"""Run of the script for one visitor."""


def current_run() -> Run | None:
    """Return the run that this thread draws; None outside of a server.

    ``st.context`` is public and knows the visitor's address and headers, but neither the page, nor whether the browser
    went back, nor whether only a fragment is drawn.
    """
    return get_script_run_ctx()


@dataclass(frozen=True)
class Control:
    """Control that is bound to a name of the address, with the value that it holds."""

    name: str
    """Name of the control in the address."""
    value: Any
    widget: WidgetMetadata[Any]

    @property
    def written(self) -> Any:
        """Value as the browser is sent it."""
        return self.widget.serializer(self.value)

    @property
    def default(self) -> Any:
        """Default as the browser is sent it."""
        return self.widget.serializer(self.widget.deserializer(None))

    @property
    def clearable(self) -> bool:
        """Whether a visitor can leave the control empty."""
        return bool(self.widget.clearable)

    def read(self, texts: Sequence[str]) -> Any:
        """Read texts of an address as Streamlit does, written again as the browser is sent it.

        Raises:
            ValueError, TypeError, IndexError: they stand for no value of this control.
        """
        parsed = parse_url_param(texts[0] if len(texts) == 1 else list(texts), self.widget.value_type)
        return self.widget.serializer(self.widget.deserializer(parsed))


@contextmanager
def address_of(run: Run) -> Iterator[Any]:
    """Lock the address as the server has it, for :func:`set_silently` and ``get_all``.

    ``st.query_params`` is public, and sends the whole address to the browser with every change.
    """
    with run.session_state.query_params() as params:
        yield params


def controls_in(run: Run, params: Any, drawn: frozenset[str] | None = None) -> Iterator[Control]:
    """Yield the controls that are bound to the address.

    ``drawn``: their identifiers, of :func:`drawn_in`; None for all that there were before this run. Publicly a control
    is bound (``bind="query-params"``) and nothing lists which ones are.
    """
    state = run.session_state._state
    for name in list(params._bindings_by_param):
        binding = params.get_binding_for_param(name)
        if binding is None or (drawn is not None and binding.widget_id not in drawn):
            continue
        widget = state.get_widget_metadata(binding.widget_id)
        if widget is not None and binding.widget_id in state:
            yield Control(name, state[binding.widget_id], widget)


def gone_from(params: Any, drawn: frozenset[str]) -> list[str]:
    """Name what is bound to controls that are not among the ``drawn``: at the end of a run of the whole script,
    Streamlit takes those names out of the address, and forgets that they ever were.
    """
    bindings = {name: params.get_binding_for_param(name) for name in params._bindings_by_param}
    return [name for name, binding in bindings.items() if binding is not None and binding.widget_id not in drawn]


def drawn_in(run: Run) -> frozenset[str]:
    """Return the identifiers of the controls that this run has drawn."""
    return run.shared.widget_ids_this_run.snapshot()


def values_in(params: Any) -> dict[str, list[str]]:
    """Return all of the address as the server has it. ``st.query_params`` leaves out what Streamlit itself uses."""
    return {name: params.get_all(name) for name in params._query_params}


def set_silently(params: Any, name: str, values: Sequence[str]) -> None:
    """Change a name of the address as the server has it, without telling the browser; no values take it out."""
    if values:
        params.set_with_no_forward_msg(name, values[0] if len(values) == 1 else list(values))
    else:
        params.discard_param_no_forward_msg(name)


def send_address(run: Run, text: str) -> None:
    """Have the browser show an address, though the server believes that it does; nothing happens where it is right."""
    message = ForwardMsg()
    message.page_info_changed.query_string = text
    run.query_string = text
    run.enqueue(message)


def release_uploads(files: Sequence[Any]) -> None:
    """Give back the memory of uploaded files at once. Publicly they are held until the tab is closed."""
    run = current_run()
    if run is not None and isinstance(run.uploaded_file_mgr, MemoryUploadedFileManager):
        for file in files:
            run.uploaded_file_mgr.remove_file(run.session_id, file.file_id)
