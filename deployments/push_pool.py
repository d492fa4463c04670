"""Store the submitter's key where Prefect Cloud can read it, and print a push pool's template.

``python deployments/push_pool.py KEY_FILE > pool.json``, as docs/deploy.md has it. A block with a
file's path would be read where the flow is started from, where there is no such file; and a pool
uses the block that its template refers to: so does Prefect's own provisioner
(prefect/infrastructure/provisioners/cloud_run.py).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from prefect_gcp import GcpCredentials

BLOCK = "povstorm-submitter"
# In the project's Secret Manager; it holds the key by which flows talk to Prefect Cloud.
API_KEY_SECRET = "prefect-api-key"  # noqa: S105 - its name


def main(key_file: str) -> None:
    """Save the block, replacing one of its name; print the pool's base job template."""
    key = json.loads(Path(key_file).read_text(encoding="utf-8"))
    block = GcpCredentials(service_account_info=key, project=key["project_id"])
    document_id = block.save(BLOCK, overwrite=True)
    template = json.loads(Path(__file__).with_name("pools").joinpath("cloud-run.json").read_text())
    variables = template["variables"]["properties"]
    variables["credentials"]["default"] = {"$ref": {"block_document_id": str(document_id)}}
    variables["prefect_api_key_secret"]["default"] = {
        "secret": API_KEY_SECRET,
        "version": "latest",
    }
    print(json.dumps(template, indent=2))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python deployments/push_pool.py KEY_FILE > pool.json")
    main(sys.argv[1])
