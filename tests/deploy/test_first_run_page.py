"""docs/first-run.md is typed from its first line to its last: nothing is left."""

from __future__ import annotations

from tests.deploy.conftest import PROJECT, ROOT
from tests.deploy.typed_page import Shell, shell_blocks
from tests.e2e.granted_cloud import GrantedCloud
from tests.terraform.terraform_command import resources_of

PAGE = ROOT / "docs" / "first-run.md"
BUCKET = f"{PROJECT}-render"


def test_from_nothing_to_a_film_and_back_to_nothing(shell: Shell, cloud: GrantedCloud):
    make, look, render = shell_blocks(PAGE, "## 1. Make the cluster", "## 4. Remove it all")
    (remove,) = shell_blocks(PAGE, "## 4. Remove it all", "If something is left that")
    machine = {path for path in shell.folder.rglob("*") if ".terraform" not in path.parts}

    made = shell.type(make)
    assert "Apply complete!" in made
    cloud.apply(resources_of(shell.type("tf show -json")))
    looked = shell.type(look)
    assert "FAILED" not in looked
    assert f"ok      storage: gs://{BUCKET} can be written, read and cleared" in looked
    shell.type(render)
    assert (shell.folder / "spiral_render" / "spiral.mp4").is_file()

    removed = shell.type(remove)

    assert "Destroy complete!" in removed
    login = shell.folder.parent / "home" / ".config" / "gcloud"
    assert not (login / "application_default_credentials.json").exists()
    left = {path for path in shell.folder.rglob("*") if ".terraform" not in path.parts} - machine
    # Terraform keeps what it has chosen of its provider.
    assert {path.name for path in left} <= {".terraform.lock.hcl"}
