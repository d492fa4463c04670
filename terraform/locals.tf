locals {
  labels = merge({ app = "povstorm" }, var.labels)

  version    = regex("(?m)^version = \"([^\"]+)\"", file("${path.module}/../pyproject.toml"))[0]
  tag        = coalesce(var.render_image_tag, local.version)
  repository = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}"

  render_image = "${local.repository}/render:${local.tag}"
  flow_image   = "${local.repository}/flow:${local.tag}"

  # https://cloud.google.com/run/docs/configuring/jobs/memory-limits; jobs have at least 512 MiB.
  memory_mib_for_vcpus = {
    "1" = { least = 512, most = 4096 }
    "2" = { least = 512, most = 8192 }
    "4" = { least = 2048, most = 16384 }
    "6" = { least = 4096, most = 24576 }
    "8" = { least = 4096, most = 32768 }
  }

  # All of Cloud Run shares a region's quota. Kept free of it: for a flow that is a job
  # (deployments/pools/), and for the Prefect server, people's way to it and the worker.
  kept_free = {
    vcpus      = 1 + (var.prefect_server ? 3.5 : 0)
    memory_gib = 2 + (var.prefect_server ? 2.25 : 0)
  }

  # Tasks of a size that run at once: given, or what the rest of the quota has room for.
  parallelism = { for name, job in var.render_jobs : name => coalesce(
    job.parallelism,
    min(10000, max(1, floor(min(
      (var.region_quota.vcpus - local.kept_free.vcpus) / job.vcpus,
      (var.region_quota.memory_gib - local.kept_free.memory_gib) * 1024 / job.memory_mib,
    )))),
  ) }

  # Tasks that Cloud Run starts a second time find what the first has stored.
  tasks_are_retried = anytrue([for job in values(var.render_jobs) : job.max_retries > 0])
}
