variable "project_id" {
  description = "The Google Cloud project that the cluster is made in; it may be empty, with billing enabled."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is the id, not the name or number: 6 to 30 lowercase letters, digits and hyphens."
  }
}

variable "region" {
  description = "Where frames are rendered and stored, e.g. europe-west1. Prices differ: https://cloud.google.com/run/pricing."
  type        = string
  default     = "europe-west1"
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is a region such as europe-west1, not a zone (europe-west1-b) or a multi-region (EU)."
  }
}

variable "bucket_name" {
  description = "The bucket for jobs, frames and the cache; null: PROJECT_ID-render. Bucket names are unique in the world."
  type        = string
  default     = null
  validation {
    condition     = var.bucket_name == null || can(regex("^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "bucket_name has 3 to 63 lowercase letters, digits, hyphens and underscores, and no gs://."
  }
}

variable "retention_days" {
  description = <<-EOT
    Days after which objects are deleted, counted from when they were written; 0: never.
    jobs: frames, videos, statistics and logs. results: the cache of rendered frames. blobs and
    shared: uploaded files, and the sets of them that jobs see. estimates: what frames of a scene
    took. scenes/ is yours, and is never deleted.
  EOT
  type = object({
    jobs      = optional(number, 90)
    results   = optional(number, 60)
    blobs     = optional(number, 180)
    shared    = optional(number, 180)
    estimates = optional(number, 365)
  })
  default  = {}
  nullable = false
  validation {
    condition     = alltrue([for days in values(var.retention_days) : days >= 0 && days == floor(days)])
    error_message = "retention_days are whole days, or 0 to keep the objects."
  }
  validation {
    # An entry of the cache is written after its image, and ages are whole days: so it goes a day before.
    condition = var.retention_days.jobs == 0 || (
      var.retention_days.results > 0 && var.retention_days.results < var.retention_days.jobs
    )
    error_message = "retention_days.results must be less than retention_days.jobs: a cached result is worth nothing without its image, which lies in the job that rendered it."
  }
  validation {
    condition = alltrue([
      for days in [var.retention_days.blobs, var.retention_days.shared] :
      days == 0 || (var.retention_days.jobs > 0 && days >= var.retention_days.jobs)
    ])
    error_message = "retention_days.blobs and retention_days.shared must be at least retention_days.jobs: a job that is rendered again needs its files."
  }
}

variable "soft_delete_days" {
  description = "Days in which a deleted object can be restored, and is still paid for; 0: none, otherwise 7 to 90."
  type        = number
  default     = 7
  validation {
    condition = var.soft_delete_days == floor(var.soft_delete_days) && (
      var.soft_delete_days == 0 || (var.soft_delete_days >= 7 && var.soft_delete_days <= 90)
    )
    error_message = "soft_delete_days is 0 or from 7 to 90, as Cloud Storage has it."
  }
}

variable "render_jobs" {
  description = <<-EOT
    The sizes of task that render, by a short name. An execution cannot ask for more memory, so
    there is a Cloud Run job for each size: a frame that ran out of memory is tried on the next
    larger. parallelism: tasks of one size that povstorm has running at once, at most; null: as
    many as region_quota has room for beside a flow and the Prefect server. max_retries: by Cloud Run itself, of a lost task;
    povstorm retries frames in any case.
  EOT
  type = map(object({
    vcpus                = number
    memory_mib           = number
    parallelism          = optional(number)
    max_retries          = optional(number, 0)
    task_timeout_seconds = optional(number, 3600)
  }))
  default = {
    "2g" = { vcpus = 1, memory_mib = 2048 }
    "8g" = { vcpus = 2, memory_mib = 8192 }
  }
  nullable = false
  validation {
    condition     = length(var.render_jobs) > 0
    error_message = "render_jobs needs at least one size."
  }
  validation {
    condition     = alltrue([for name in keys(var.render_jobs) : can(regex("^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$", name))])
    error_message = "The names in render_jobs have at most 32 lowercase letters, digits and hyphens, e.g. 2g."
  }
  validation {
    condition     = alltrue([for job in values(var.render_jobs) : contains(keys(local.memory_mib_for_vcpus), tostring(job.vcpus))])
    error_message = "vcpus is 1, 2, 4, 6 or 8: https://cloud.google.com/run/docs/configuring/jobs/cpu."
  }
  validation {
    condition = alltrue([
      for job in values(var.render_jobs) : try(
        job.memory_mib >= local.memory_mib_for_vcpus[job.vcpus].least &&
        job.memory_mib <= local.memory_mib_for_vcpus[job.vcpus].most &&
        job.memory_mib == floor(job.memory_mib),
        true # A wrong number of vcpus has its own message.
      )
    ])
    error_message = "memory_mib does not go with vcpus: 1 vCPU has 512 to 4096 MiB, 2 have 512 to 8192, 4 have 2048 to 16384, 6 have 4096 to 24576, 8 have 4096 to 32768."
  }
  validation {
    condition     = length(distinct([for job in values(var.render_jobs) : job.memory_mib])) == length(var.render_jobs)
    error_message = "Each of render_jobs needs another memory_mib: a frame that ran out of memory is tried on the next larger."
  }
  validation {
    condition = alltrue([
      for job in values(var.render_jobs) :
      job.parallelism == null || try(
        job.parallelism >= 1 && job.parallelism <= 10000 && job.parallelism == floor(job.parallelism), false
      )
    ])
    error_message = "parallelism is a whole number from 1 to 10000."
  }
  validation {
    condition = alltrue([
      for job in values(var.render_jobs) :
      job.max_retries >= 0 && job.max_retries <= 10 && job.max_retries == floor(job.max_retries)
    ])
    error_message = "max_retries is a whole number from 0 to 10."
  }
  validation {
    condition = alltrue([
      for job in values(var.render_jobs) : job.task_timeout_seconds >= 60 &&
      job.task_timeout_seconds <= 604800 && job.task_timeout_seconds == floor(job.task_timeout_seconds)
    ])
    error_message = "task_timeout_seconds is a whole number from 60 to 604800 (168 hours)."
  }
}

variable "build_images" {
  description = "Whether apply builds the two images with gcloud and Cloud Build. If false, push them before (docs/deploy.md)."
  type        = bool
  default     = true
  nullable    = false
}

variable "render_image_tag" {
  description = "The tag of both images; null: povstorm's version, which `povstorm doctor` compares with the client's."
  type        = string
  default     = null
  validation {
    condition     = var.render_image_tag == null || can(regex("^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$", var.render_image_tag))
    error_message = "render_image_tag is a tag alone, e.g. 0.2.0, without the image's name."
  }
}

variable "users" {
  description = <<-EOT
    Who renders, as IAM members, e.g. ["user:ann@example.com", "group:artists@example.com"]. They may
    act as the orchestrator (gcloud auth application-default login --impersonate-service-account=…),
    and reach the Prefect server. No key is made for anybody.
  EOT
  type        = set(string)
  default     = []
  nullable    = false
  validation {
    condition     = alltrue([for user in var.users : can(regex("^(user|group|domain|serviceAccount|principal|principalSet):.+$", user))])
    error_message = "users are IAM members with their kind, e.g. user:ann@example.com; the whole world (allUsers) is none."
  }
}

variable "billing_account" {
  description = "The billing account of the project (XXXXXX-XXXXXX-XXXXXX), for the budget alert; null: no budget."
  type        = string
  default     = null
  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "billing_account looks like 012345-6789AB-CDEF01: gcloud billing accounts list."
  }
}

variable "monthly_budget" {
  description = "What a month may cost before people are told, in the billing account's currency. It stops nothing."
  type        = number
  default     = 50
  validation {
    condition     = var.monthly_budget >= 1 && var.monthly_budget == floor(var.monthly_budget)
    error_message = "monthly_budget is a whole amount from 1."
  }
}

variable "alert_emails" {
  description = "Who is told of failed frames and of the budget, by e-mail."
  type        = set(string)
  default     = []
  nullable    = false
  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", address))])
    error_message = "alert_emails are addresses such as ann@example.com."
  }
  validation {
    condition     = length(var.alert_emails) <= 5
    error_message = "alert_emails are five at most, as a budget tells no more; give a mailing list."
  }
}

variable "failed_frames_alert" {
  description = "Failed attempts at frames within ten minutes that raise the alert."
  type        = number
  default     = 1
  validation {
    condition     = var.failed_frames_alert >= 1 && var.failed_frames_alert == floor(var.failed_frames_alert)
    error_message = "failed_frames_alert is a whole number from 1."
  }
}

variable "labels" {
  description = "Labels on everything, beside app = povstorm; the bill can be split by them."
  type        = map(string)
  default     = {}
  nullable    = false
  validation {
    condition = alltrue([
      for key, value in var.labels :
      can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))
    ])
    error_message = "labels have lowercase letters, digits, hyphens and underscores, 63 at most; keys begin with a letter."
  }
}

variable "prefect_server" {
  description = "Whether to run an own Prefect server, its database and a worker here, all month long, instead of Prefect Cloud. Its login has to be in Secret Manager before, as povstorm-prefect-login (docs/deploy.md)."
  type        = bool
  default     = false
  nullable    = false
}

variable "prefect_database_tier" {
  description = "The machine of the Prefect server's database: https://cloud.google.com/sql/docs/postgres/instance-settings."
  type        = string
  default     = "db-f1-micro"
  validation {
    condition     = can(regex("^db-[a-z0-9-]+$", var.prefect_database_tier))
    error_message = "prefect_database_tier is a tier such as db-f1-micro or db-custom-1-3840."
  }
}

variable "prefect_database_protection" {
  description = "Whether terraform refuses to delete the Prefect server's database: to switch prefect_server off, apply this as false first."
  type        = bool
  default     = true
  nullable    = false
}

variable "region_quota" {
  description = <<-EOT
    What Cloud Run lets the project have at once in the region, by which parallelism is chosen where
    render_jobs does not say it. The defaults are a new project's; yours: console, IAM & Admin,
    Quotas, Cloud Run Admin API, "Total CPU allocation" and "Total memory allocation".
  EOT
  type = object({
    vcpus      = optional(number, 20)
    memory_gib = optional(number, 40)
  })
  default  = {}
  nullable = false
  validation {
    condition     = var.region_quota.vcpus >= 1 && var.region_quota.memory_gib >= 1
    error_message = "region_quota has at least 1 vCPU and 1 GiB."
  }
}
