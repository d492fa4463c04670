# povstorm.json, blobs/, shared/, jobs/, results/ and estimates/: povstorm_client/storage/layout.py says what is where.
resource "google_storage_bucket" "render" {
  #checkov:skip=CKV_GCP_62:Who wrote what is in the jobs themselves; access logs would cost more than the frames' storage
  #checkov:skip=CKV_GCP_78:Objects are written once and checked; what is deleted by mistake is restored from soft delete
  name                        = coalesce(var.bucket_name, "${var.project_id}-render")
  location                    = var.region
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  soft_delete_policy {
    retention_duration_seconds = var.soft_delete_days * 24 * 3600
  }

  dynamic "lifecycle_rule" {
    for_each = { for prefix, days in var.retention_days : prefix => days if days > 0 }
    content {
      action {
        type = "Delete"
      }
      condition {
        age            = lifecycle_rule.value
        matches_prefix = ["${lifecycle_rule.key}/"]
      }
    }
  }

  # The sources that Cloud Build was sent.
  dynamic "lifecycle_rule" {
    for_each = var.build_images ? ["builds/"] : []
    content {
      action {
        type = "Delete"
      }
      condition {
        age            = 7
        matches_prefix = [lifecycle_rule.value]
      }
    }
  }

  depends_on = [google_project_service.apis]
}

# A condition on a bucket's policy can tell objects by their names, but not what is listed, which is
# asked of the bucket. A managed folder has a policy of its own, for listing too:
# https://cloud.google.com/storage/docs/managed-folders.
resource "google_storage_managed_folder" "listed_by_renderer" {
  for_each = toset(local.listed_by_renderer)
  bucket   = google_storage_bucket.render.name
  name     = each.value
  # Of the folder's policy alone: the objects stay.
  force_destroy = true
}
