terraform {
  required_version = ">= 1.11"
  required_providers {
    google = {
      source = "hashicorp/google"
      # The first whose google_service_networking_connection is known to have REMOVE_PEERING.
      version = "~> 8.7"
    }
  }
}

provider "google" {
  project        = var.project_id
  region         = var.region
  default_labels = local.labels
}

# A person's own credentials may use the budget API only on behalf of a project:
# https://cloud.google.com/docs/authentication/troubleshoot-adc#user-creds-client-based.
provider "google" {
  alias                 = "on_behalf_of_the_project"
  project               = var.project_id
  region                = var.region
  default_labels        = local.labels
  user_project_override = true
  billing_project       = var.project_id
}
