"""Link to what a page shows just now, as a code that phones in a room read, and as text to copy."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlencode, urlsplit, urlunsplit

import segno
import streamlit as st

from dashboard import door

_BORDER = 4
"""Modules of white around a code: readers need them, in a dark theme most."""
_HERE = Path(__file__)
# Streamlit's own button for copying does nothing at an address without https, as that of a machine in a room is.
_COMPONENT = st.components.v2.component(
    "beft_link",
    html='<img alt="QR code of the link below"><label>Link<input readonly></label>'
    '<button type="button">Copy the link</button><span role="status"></span>',
    css=_HERE.with_suffix(".css").read_text(encoding="utf-8"),
    js=_HERE.with_suffix(".js").read_text(encoding="utf-8"),
)


def offer_link() -> None:
    """Draw the button that opens the code and the link."""
    if st.button(
        "Link",
        key="deck-link",
        icon=":material/qr_code_2:",
        type="tertiary",
        help="A code for phones, and the link to copy, to what is seen here",
    ):
        _shown()


@st.dialog("This page on your own screen", width="large", icon=":material/qr_code_2:")
def _shown() -> None:
    link = address_of_browser(st.context.url, {name: st.query_params.get_all(name) for name in st.query_params})
    if link is None:
        st.error("The browser has not said at which address it is. Its address bar has the link.")
        return
    if reaches_this_machine_only(link):
        st.warning(
            "Phones cannot reach this address: it leads to this machine alone. Start the dashboard at one that they "
            "reach, `--server.address NAME --server.allowedHosts NAME` with this machine's name or address in their "
            "network, and open it by that name; set `BEFT_TOKEN` first, so that not everybody there can use it.",
            icon=":material/smartphone:",
        )
    _COMPONENT(key="deck-copy", data={"link": link, "code": code(link)})
    if door.token():
        st.caption("Whoever opens it is asked for the token of this server: the link does not carry it.")


def address_of_browser(url: str | None, query: Mapping[str, list[str]]) -> str | None:
    """Write the whole address that a browser is at; None where it did not say.

    ``url``: address of the page without parameters, as the browser has it; ``query``: parameters, all of their values.
    """
    if url is None:
        return None
    at = urlsplit(url)
    return urlunsplit((at.scheme, at.netloc, at.path or "/", urlencode(query, doseq=True), ""))


def reaches_this_machine_only(link: str) -> bool:
    """Say whether the host of an address is the machine itself for whoever asks (localhost, 127.0.0.0/8, ::1)."""
    host = urlsplit(link).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def code(link: str) -> str:
    """Draw an address as a QR code, black on white in every theme: an SVG without a size, as a data URI."""
    return segno.make(link, error="m", micro=False).svg_data_uri(
        border=_BORDER, dark="#000", light="#fff", omitsize=True
    )
