# A Prefect server of one's own: one, since Prefect keeps in a server's memory what its services have
# yet to record of task runs, who listens, and which concurrency slots are taken
# (https://docs.prefect.io/v3/advanced/self-hosted). It answers inside the network alone, to who knows
# its login: the worker and flows, and prefect_people.tf for persons.

locals {
  prefect_version = regex("(?m)^prefect==(\\S+)", file("${path.module}/../constraints.txt"))[0]
}

resource "google_service_account" "prefect" {
  count        = var.prefect_server ? 1 : 0
  account_id   = "povstorm-prefect"
  display_name = "povstorm Prefect server"
  description  = "Reaches the Prefect server's database, and nothing else"
  depends_on   = [google_project_service.apis]
}

resource "google_project_iam_member" "prefect_reaches_database" {
  for_each = toset(var.prefect_server ? ["roles/cloudsql.client", "roles/cloudsql.instanceUser"] : [])
  project  = var.project_id
  role     = each.value
  member   = google_service_account.prefect[0].member
}

resource "google_cloud_run_v2_service" "prefect" {
  count    = var.prefect_server ? 1 : 0
  name     = "povstorm-prefect-internal"
  location = var.region
  ingress  = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  # Inside the network nobody can add Google's tokens to Prefect's calls.
  invoker_iam_disabled = true
  deletion_protection  = false

  template {
    service_account = google_service_account.prefect[0].email
    labels          = local.labels

    scaling {
      min_instance_count = 1
      max_instance_count = 1
    }
    # Each worker, flow and open page keeps some connections to the one instance, as long as they may be:
    # https://cloud.google.com/run/docs/triggering/websockets.
    max_instance_request_concurrency = 1000
    timeout                          = "3600s"

    vpc_access {
      egress = "PRIVATE_RANGES_ONLY"
      network_interfaces {
        network    = google_compute_network.prefect[0].id
        subnetwork = google_compute_subnetwork.prefect[0].id
      }
    }

    containers {
      name       = "server"
      image      = "docker.io/prefecthq/prefect:${local.prefect_version}-python3.11"
      command    = ["prefect"]
      args       = ["server", "start", "--host", "0.0.0.0", "--port", "4200"]
      depends_on = ["database"]

      ports {
        container_port = 4200
      }
      resources {
        limits = { cpu = "1", memory = "1Gi" }
        # Its services have work between requests.
        cpu_idle          = false
        startup_cpu_boost = true
      }
      startup_probe {
        period_seconds    = 10
        timeout_seconds   = 5
        failure_threshold = 24
        http_get {
          path = "/api/health"
          port = 4200
        }
      }

      dynamic "env" {
        for_each = {
          # The proxy adds the password, a token of an hour.
          PREFECT_API_DATABASE_CONNECTION_URL   = "postgresql+asyncpg://${urlencode(local.prefect_database_user)}@127.0.0.1:5432/${google_sql_database.prefect[0].name}"
          PREFECT_API_DATABASE_MIGRATE_ON_START = "true"
          PREFECT_SERVER_ANALYTICS_ENABLED      = "false"
          PREFECT_UI_API_URL                    = "${local.prefect_origin}/api"
          # By default, any page's.
          PREFECT_SERVER_CORS_ALLOWED_ORIGINS = local.prefect_origin
          # Google's load balancers keep connections for 600 s (of Cloud Run's none is told), and would
          # send a request into one that is closed after the default, 5 s:
          # https://cloud.google.com/load-balancing/docs/https#timeout-keepalive-backends.
          PREFECT_SERVER_API_KEEPALIVE_TIMEOUT = "620"
        }
        content {
          name  = env.key
          value = env.value
        }
      }
      env {
        name = "PREFECT_SERVER_API_AUTH_STRING"
        value_source {
          secret_key_ref {
            secret  = local.prefect_login_secret
            version = "latest"
          }
        }
      }
    }

    containers {
      name  = "database"
      image = "gcr.io/cloud-sql-connectors/cloud-sql-proxy:2.14.3"
      args = [
        "--private-ip", "--auto-iam-authn", "--structured-logs",
        "--health-check", "--http-address=0.0.0.0", "--http-port=9090",
        google_sql_database_instance.prefect[0].connection_name,
      ]
      resources {
        limits   = { cpu = "500m", memory = "256Mi" }
        cpu_idle = false
      }
      startup_probe {
        http_get {
          path = "/startup"
          port = 9090
        }
      }
    }
  }

  depends_on = [
    google_project_iam_member.prefect_reaches_database,
    google_secret_manager_secret_iam_member.reads_prefect_login,
    google_sql_user.prefect,
  ]
}
