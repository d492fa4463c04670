# Exactly what povstorm_client/cloud_run/terraform_outputs.py reads: terraform output -json > outputs.json.

output "project_id" {
  description = "The project."
  value       = var.project_id
}

output "region" {
  description = "The region of the bucket and the render jobs."
  value       = var.region
}

output "bucket" {
  description = "The bucket's name."
  value       = google_storage_bucket.render.name
}

output "render_image" {
  description = "The image that the render jobs run, with its tag."
  value       = local.render_image
}

output "renderer_service_account" {
  description = "The e-mail of what render containers are."
  value       = google_service_account.renderer.email
}

output "orchestrator_service_account" {
  description = "The e-mail of what flows are."
  value       = google_service_account.orchestrator.email
}

output "submitter_service_account" {
  description = "The e-mail of what starts flows as Cloud Run jobs."
  value       = google_service_account.submitter.email
}

output "render_jobs" {
  description = "The render jobs, ascending by memory."
  value = [
    # Keys sort as text, so memory is padded.
    for key in sort([for name, job in var.render_jobs : format("%06d/%s", job.memory_mib, name)]) : {
      name                 = google_cloud_run_v2_job.render[split("/", key)[1]].name
      vcpus                = var.render_jobs[split("/", key)[1]].vcpus
      memory_mib           = var.render_jobs[split("/", key)[1]].memory_mib
      parallelism          = local.parallelism[split("/", key)[1]]
      max_retries          = var.render_jobs[split("/", key)[1]].max_retries
      task_timeout_seconds = var.render_jobs[split("/", key)[1]].task_timeout_seconds
    }
  ]
}
