"""terraform, as who it would be at Google: who may not do what it is asked to is refused.

Google's provider takes GOOGLE_OAUTH_ACCESS_TOKEN, or else the application default credentials
(registry.terraform.io/providers/hashicorp/google/latest/docs/guides/provider_reference). The stub
provider asks nobody; the rest is the real terraform's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.emulators.iam.project import GoogleProject
from tests.emulators.iam.tokens import email_of, member_of

# In the project's folder: whom Google was asked as, a line each.
RAN_AS = "terraform-ran-as.txt"
_ASKS_GOOGLE = ("apply", "destroy", "import", "plan", "refresh")
# Of all that terraform/ makes, what nobody but an owner may.
_NEEDED = "resourcemanager.projects.setIamPolicy"


def main() -> None:
    """Check who runs terraform, and let it run."""
    if any(word in _ASKS_GOOGLE for word in sys.argv[1:]):
        project = GoogleProject(Path(os.environ["GOOGLE_PROJECT_FOLDER"]))
        policy = project.policy
        member = _member()
        if member is None:
            sys.exit("Error: Attempted to load application default credentials: none were found")
        with (project.folder / RAN_AS).open("a", encoding="utf-8") as file:
            file.write(f"{member}\n")
        if not policy.allows(member, _NEEDED, f"projects/{policy.project}"):
            sys.exit(f"Error: Error 403: {email_of(member)} lacks '{_NEEDED}', forbidden")
    command = [os.environ["REAL_TERRAFORM"], *sys.argv[1:]]
    sys.exit(subprocess.run(command, check=False).returncode)


def _member() -> str | None:
    if token := os.environ.get("GOOGLE_OAUTH_ACCESS_TOKEN"):
        return member_of(token)
    file = Path.home() / ".config" / "gcloud" / "application_default_credentials.json"
    if not file.is_file():
        return None
    address = json.loads(file.read_text())["service_account_impersonation_url"]
    return "serviceAccount:" + address.rpartition("/")[2].partition(":")[0]


if __name__ == "__main__":
    main()
