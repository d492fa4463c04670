# A Prefect server of one's own, as two Cloud Run services on one database. "internal" is what the
# worker and flows use: it answers inside the network alone, to who knows Prefect's login, and runs
# Prefect's background services. "people" is what persons and povstorm on their machines use: it
# answers only who has roles/run.invoker (var.users), through `gcloud run services proxy`, and costs
# nothing while unused. Prefect's login would keep everybody out of it: the proxy puts Google's token
# in the header that has the login (https://github.com/GoogleCloudPlatform/cloud-run-proxy).

locals {
  prefect_version = regex("(?m)^prefect==(\\S+)", file("${path.module}/../constraints.txt"))[0]
  prefect_services = {
    internal = {
      name      = "povstorm-prefect-internal"
      ingress   = "INGRESS_TRAFFIC_INTERNAL_ONLY"
      without   = []
      instances = { least = 1, most = 1 }
      cpu_idle  = false
      has_login = true
    }
    people = {
      name      = "povstorm-prefect"
      ingress   = "INGRESS_TRAFFIC_ALL"
      without   = ["--no-services"]
      instances = { least = 0, most = 1 }
      cpu_idle  = true
      has_login = false
    }
  }
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
  for_each = var.prefect_server ? local.prefect_services : {}
  name     = each.value.name
  location = var.region
  ingress  = each.value.ingress
  # Inside the network nobody can add Google's tokens to Prefect's calls.
  invoker_iam_disabled = each.key == "internal"
  deletion_protection  = false

  template {
    service_account = google_service_account.prefect[0].email
    labels          = local.labels

    scaling {
      min_instance_count = each.value.instances.least
      max_instance_count = each.value.instances.most
    }

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
      args       = concat(["server", "start", "--host", "0.0.0.0", "--port", "4200"], each.value.without)
      depends_on = ["database"]

      ports {
        container_port = 4200
      }
      resources {
        limits            = { cpu = "1", memory = "1Gi" }
        cpu_idle          = each.value.cpu_idle
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
          PREFECT_API_DATABASE_MIGRATE_ON_START = tostring(each.key == "internal")
          PREFECT_SERVER_ANALYTICS_ENABLED      = "false"
          # Where a browser finds it through `gcloud run services proxy --port=4200`.
          PREFECT_UI_API_URL = "http://localhost:4200/api"
        }
        content {
          name  = env.key
          value = env.value
        }
      }
      dynamic "env" {
        for_each = each.value.has_login ? [local.prefect_login_secret] : []
        content {
          name = "PREFECT_SERVER_API_AUTH_STRING"
          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
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
        cpu_idle = each.value.cpu_idle
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

resource "google_cloud_run_v2_service_iam_member" "users_reach_prefect" {
  for_each = var.prefect_server ? var.users : []
  location = google_cloud_run_v2_service.prefect["people"].location
  name     = google_cloud_run_v2_service.prefect["people"].name
  role     = "roles/run.invoker"
  member   = each.value
}

# `gcloud run services proxy` asks for the service's address first (run.services.get).
resource "google_cloud_run_v2_service_iam_member" "users_find_prefect" {
  for_each = var.prefect_server ? var.users : []
  location = google_cloud_run_v2_service.prefect["people"].location
  name     = google_cloud_run_v2_service.prefect["people"].name
  role     = "roles/run.viewer"
  member   = each.value
}
