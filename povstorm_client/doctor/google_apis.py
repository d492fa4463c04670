"""GoogleApis: Google's REST APIs, as far as ``povstorm doctor`` reads a project by them.

project_checks.py asks it. Nothing is changed by it, and nothing is billed.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from povstorm_client.errors import CloudError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.auth.transport.requests import AuthorizedSession

# Terraform's variable for the token of a person: what the flow's account may not see, an owner may.
TOKEN_VARIABLE = "GOOGLE_OAUTH_ACCESS_TOKEN"  # noqa: S105 - its name
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_CALL_SECONDS = 20.0

Json = dict[str, Any]


class GoogleApis:
    """Reads as whoever TOKEN_VARIABLE names, else with the credentials, else the default ones.

    Methods return None for what is not there, and raise CloudError for what the caller may not
    know ("refused") and where there is no answer ("unclear").
    """

    def __init__(self, project_id: str, credentials: Credentials | None = None) -> None:
        self._project_id = project_id
        self._credentials = credentials
        self._unreachable: CloudError | None = None

    def get(self, api: str, path: str, **query: str) -> Json | None:
        """What ``https://API.googleapis.com/PATH`` shows."""
        return self._call("GET", api, path, params=dict(query))

    def ask(self, api: str, path: str, question: Json, **query: str) -> Json | None:
        """The answer to a question that is posted, as ``…:testIamPermissions``."""
        return self._call("POST", api, path, json=question, params=dict(query))

    @property
    def caller(self) -> str:
        """The service account's e-mail that is asked as; "" for a person, whom no login names."""
        return str(getattr(self._session.credentials, "service_account_email", ""))

    def _call(self, verb: str, api: str, path: str, **options: Json) -> Json | None:
        import requests
        from google.auth import exceptions as auth

        # Ten checks without a network are to take no longer than one.
        if self._unreachable is not None:
            raise self._unreachable
        try:
            answer = self._session.request(  # type: ignore[no-untyped-call]
                verb, f"https://{api}.googleapis.com/{path}", timeout=_CALL_SECONDS, **options
            )
        except (requests.RequestException, auth.TransportError) as error:
            self._unreachable = CloudError(f"Google does not answer: {error}", "unclear")
            raise self._unreachable from error
        except auth.GoogleAuthError as error:
            raise CloudError(f"Google's credentials failed: {error}", "refused") from error
        if answer.status_code == requests.codes.not_found:
            return None
        if not answer.ok:
            raise CloudError(_words(answer), "unclear" if answer.status_code >= 500 else "refused")
        found: Json = answer.json()
        return found

    @functools.cached_property
    def _session(self) -> AuthorizedSession:
        import google.auth
        from google.auth import exceptions as auth
        from google.auth.transport.requests import AuthorizedSession
        from google.oauth2.credentials import Credentials

        if token := os.environ.get(TOKEN_VARIABLE):
            # A person's calls count towards the project's quota, not towards gcloud's own project.
            found: Any = Credentials(  # type: ignore[no-untyped-call]
                token, quota_project_id=self._project_id
            )
        elif self._credentials is not None:
            found = self._credentials
        else:
            try:
                found, _ = google.auth.default(scopes=[SCOPE])
            except auth.DefaultCredentialsError as error:
                raise CloudError(
                    "there are no Google credentials here: run `gcloud auth application-default "
                    "login`",
                    "refused",
                ) from error
        return AuthorizedSession(found)  # type: ignore[no-untyped-call]


def _words(answer: Any) -> str:  # noqa: ANN401 - a requests.Response
    """Google's own for a refusal, in one line."""
    try:
        message = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"HTTP {answer.status_code}"
    return " ".join(str(message).split())
