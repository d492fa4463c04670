# The worker of the pool povstorm-cloud-run (deployments/prefect.yaml): starts a Cloud Run job for each
# flow run. It asks for work and is asked for nothing, so it is a worker pool, not a job or a service.
resource "google_cloud_run_v2_worker_pool" "prefect" {
  count               = var.prefect_server ? 1 : 0
  name                = "povstorm-prefect-worker"
  location            = var.region
  deletion_protection = false

  scaling {
    manual_instance_count = 1
  }

  template {
    service_account = google_service_account.submitter.email
    labels          = local.labels

    vpc_access {
      # The server's address is public, its ingress is not: the way there is through the network.
      egress = "ALL_TRAFFIC"
      network_interfaces {
        network    = google_compute_network.prefect[0].id
        subnetwork = google_compute_subnetwork.prefect[0].id
      }
    }

    containers {
      image   = local.flow_image
      command = ["prefect"]
      args    = ["worker", "start", "--pool", "povstorm-cloud-run", "--type", "cloud-run-v2"]
      env {
        name  = "PREFECT_API_URL"
        value = "${google_cloud_run_v2_service.prefect[0].uri}/api"
      }
      env {
        name = "PREFECT_API_AUTH_STRING"
        value_source {
          secret_key_ref {
            secret  = local.prefect_login_secret
            version = "latest"
          }
        }
      }
      resources {
        limits = { cpu = "1", memory = "512Mi" }
      }
    }
  }

  depends_on = [
    terraform_data.images,
    google_project_iam_member.submitter_runs_flows,
    google_secret_manager_secret_iam_member.reads_prefect_login,
  ]
}
