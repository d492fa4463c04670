locals {
  apis = concat(
    [
      "artifactregistry", "cloudquotas", "cloudresourcemanager", "iam", "iamcredentials", "logging",
      "monitoring", "run", "storage",
    ],
    var.build_images ? ["cloudbuild"] : [],
    var.billing_account != null ? ["billingbudgets"] : [],
    var.prefect_server ? ["compute", "secretmanager", "servicenetworking", "sqladmin"] : [],
  )
}

resource "google_project_service" "apis" {
  for_each = toset(local.apis)
  service  = "${each.value}.googleapis.com"
  # Something else in the project may use it.
  disable_on_destroy = false
}

# Read when the APIs are there, which an empty project does not have.
data "google_project" "this" {
  project_id = var.project_id
  depends_on = [google_project_service.apis]
}
