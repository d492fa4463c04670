resource "google_cloud_run_v2_job" "render" {
  for_each = var.render_jobs
  name     = "povstorm-render-${each.key}"
  location = var.region
  # It holds nothing.
  deletion_protection = false

  template {
    labels = local.labels
    # Each execution says how many tasks it has. Cloud Run's own parallelism stays unset: it may not
    # exceed an execution's tasks, and most have fewer (https://github.com/googleapis/google-cloud-node/issues/4908).
    # povstorm plans its waves by the output render_jobs instead.
    task_count = 1

    template {
      service_account       = google_service_account.renderer.email
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"
      max_retries           = each.value.max_retries
      timeout               = "${each.value.task_timeout_seconds}s"

      containers {
        image = local.render_image
        resources {
          limits = {
            cpu    = tostring(each.value.vcpus)
            memory = "${each.value.memory_mib}Mi"
          }
        }
      }
    }
  }

  depends_on = [terraform_data.images, google_project_service.apis]
}
