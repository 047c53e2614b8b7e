"""Upload of a folder to the Hub through its own client, whose token is taken from where that client keeps it."""

from __future__ import annotations

from typing import Any

from beft_core.errors import UserError
from beft_core.files.hub import hub_answers, offline_mode
from beft_core.files.safe_io import read_bounded
from beft_core.publishing.card import CARD
from beft_core.publishing.folder import MAX_CARD, HubFolder

CONFLICT = 409
"""Answer of the Hub to who makes a repository that exists."""


def upload(folder: HubFolder, repo: str, *, public: bool = False) -> str:
    """Upload the files of a folder as one commit to a repository of models; return the repository's address.

    A new one is private unless ``public``. One that exists gets a new commit if it is as private as was asked for; its
    other files stay.

    Raises:
        UserError: no token, no answer from the Hub, a card or a token that it refuses, or a repository that is public
            where a private one was asked for, or the reverse. The folder stays.
    """
    import huggingface_hub
    from huggingface_hub import CommitOperationAdd, HfApi, ModelCard
    from huggingface_hub.errors import HfHubHTTPError

    kept = f"{folder.path} is kept"
    try:
        token = huggingface_hub.get_token()
    except Exception as error:  # of an exchange of tokens with another service, which the client asks where it is set
        raise UserError(
            f"got no token of the Hub ({error}); {kept}", "a token that may write", "hf auth login"
        ) from None
    if token is None:
        raise UserError(
            f"got no token of the Hub; {kept}",
            "a token that may write, as the Hub's own client keeps it",
            "hf auth login, or HF_TOKEN, then the same again",
        )
    if not hub_answers():
        why = "HF_HUB_OFFLINE is set" if offline_mode() else "the Hub cannot be reached"
        raise UserError(f"got --upload, but {why}; {kept}", "a network", "the same again")
    api = HfApi(token=token)
    try:
        card = read_bounded(folder.path / CARD, MAX_CARD, follow=False).decode("utf-8", "replace")
        ModelCard(card).validate()
        address = _repository(api, repo, public)
        api.create_commit(
            repo,
            [CommitOperationAdd(name, folder.path / name) for name, _ in folder.files],
            commit_message="Upload a fine-tune of the BEFT lab",
        )
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        right = " (the token may not write there)" if status in (401, 403) else ""
        raise UserError(f"got an answer of the Hub to {repo}: {_told(error)}{right}; {kept}", "an upload") from None
    except ValueError as error:  # what the Hub says of the card
        if isinstance(error, UserError):
            raise
        raise UserError(f"got {CARD}, which the Hub refuses ({error}); {kept}", "a card that it takes") from None
    except (OSError, RuntimeError, _transport_errors()) as error:  # the connection broke, or what sends large files
        raise UserError(
            f"got no upload to {repo} ({error}); {kept}", "a working connection", "the same again"
        ) from None
    return address


def _repository(api: Any, repo: str, public: bool) -> str:
    """Make a repository, or check that the one that exists is as private as asked for; return its address."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return str(api.create_repo(repo, private=not public, repo_type="model"))
    except HfHubHTTPError as error:
        if getattr(error.response, "status_code", None) != CONFLICT:
            raise
    private = bool(api.model_info(repo).private)
    if private == public:
        is_, asked = ("private", "--public") if private else ("public", "no --public")
        raise UserError(
            f"got {repo}, which exists and is {is_}, with {asked}",
            "a new repository, or one that is as private as asked for",
            "without --public" if private else "--public, or another name",
        )
    return f"{api.endpoint}/{repo}"


def _transport_errors() -> type[Exception]:
    """Find the class of what goes wrong on the way, of the HTTP library that this release of the Hub's client has."""
    from huggingface_hub.errors import HfHubHTTPError

    own: type[Exception] = next(one for one in HfHubHTTPError.__mro__[1:] if one.__name__ == "HTTPError")
    return own


def _told(error: Exception) -> str:
    """Say what the Hub answered, in a line."""
    said = getattr(error, "server_message", None) or str(error)
    return " ".join(str(said).split())[:200]
