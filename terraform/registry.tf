resource "google_artifact_registry_repository" "images" {
  #checkov:skip=CKV_GCP_84:The images are built of public sources and hold no secret; Google's own keys encrypt them
  repository_id = "povstorm"
  location      = var.region
  format        = "DOCKER"
  description   = "The images that render frames and run flows"

  cleanup_policy_dry_run = false
  cleanup_policies {
    id     = "keep-the-newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 5
    }
  }
  cleanup_policies {
    id     = "delete-the-untagged"
    action = "DELETE"
    condition {
      tag_state  = "UNTAGGED"
      older_than = "7d"
    }
  }
  cleanup_policies {
    id     = "delete-the-old"
    action = "DELETE"
    condition {
      tag_state  = "ANY"
      older_than = "90d"
    }
  }

  depends_on = [google_project_service.apis]
}
