/* Snapshots of the running machine, as jobs: a snapshot takes as long as its pages take to be written, and neither the
 * socket's thread nor the guest waits for that. One job at a time, on a thread of its own, "tuff-job"; the machine is
 * not given back (control_detach()) before it has ended, which it does soon when the machine is ending.
 */
#include "control/control_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void tell_status(struct control *control, const char *status)
{
    control_event(control, "JOB_STATUS_CHANGE", json_pack("{s:s, s:s}", "id", control->job.id, "status", status));
}

static void *job_main(void *opaque)
{
    struct control *control = opaque;
    struct control_job *job = &control->job;
    struct machine_snapshot_result result = {0};
    struct error err = {{0}};

    /* `machine`, `id` and `tag` stay as they are until the job has ended. */
    int rc = machine_snapshot(job->machine, *job->tag ? job->tag : NULL, &result, &err);
    pthread_mutex_lock(&control->lock);
    snprintf(job->error, sizeof(job->error), "%s", rc ? err.text : "");
    if (!rc)
        snprintf(job->tag, sizeof(job->tag), "%s", result.name);
    job->result = result;
    job->running = false;
    tell_status(control, "concluded");
    pthread_cond_broadcast(&control->job_ended);
    pthread_mutex_unlock(&control->lock);
    return NULL;
}

static int snapshot_save(struct control_call *call)
{
    struct control_job *job = &call->control->job;
    const char *id = control_string(call, "job-id", "snapshot"), *tag = control_string(call, "tag", "");
    pthread_t thread;

    if (job->running)
        return error_set(&call->err, -EBUSY, "the job '%s' is still running", job->id);
    if (strlen(id) >= sizeof(job->id) || strlen(tag) >= sizeof(job->tag))
        return error_set(&call->err, -ENAMETOOLONG, "names of jobs and snapshots have at most %zu bytes",
                         sizeof(job->tag) - 1);
    snprintf(job->id, sizeof(job->id), "%s", id);
    snprintf(job->tag, sizeof(job->tag), "%s", tag);
    *job->error = '\0';
    job->machine = call->machine;
    int rc = pthread_create(&thread, NULL, job_main, call->control);
    if (rc)
        return error_set(&call->err, -rc, "a thread for the job could not be started: %s", strerror(rc));
    pthread_setname_np(thread, "tuff-job");
    pthread_detach(thread);
    job->running = job->known = true;
    tell_status(call->control, "running");
    return 0;
}

void control_job_wait(struct control *control)
{
    while (control->job.running)
        pthread_cond_wait(&control->job_ended, &control->lock);
}

static int query_jobs(struct control_call *call)
{
    const struct control_job *job = &call->control->job;
    const struct machine_snapshot_result *result = &job->result;

    call->result = json_array();
    if (!job->known)
        return 0;
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:s, s:s*}", "id", job->id, "type", "snapshot-save", "status",
                  job->running ? "running" : "concluded", "tag", job->tag, "error", *job->error ? job->error : NULL);
    if (!job->running && !*job->error)
        json_object_update_new(row,
                               json_pack("{s:I, s:I, s:I, s:I}", "pause-us", (json_int_t)result->pause_us, "save-us",
                                         (json_int_t)result->save_us, "new-pages", (json_int_t)result->new_pages,
                                         "new-bytes", (json_int_t)result->new_bytes));
    json_array_append_new(call->result, row);
    return 0;
}

static int job_dismiss(struct control_call *call)
{
    struct control_job *job = &call->control->job;

    if (!job->known || strcmp(job->id, control_string(call, "id", "")) != 0)
        return error_set(&call->err, -ENOENT, "there is no such job");
    if (job->running)
        return error_set(&call->err, -EBUSY, "the job '%s' is still running", job->id);
    job->known = false;
    return 0;
}

const struct control_command control_snapshot_commands[] = {
    {"snapshot-save",
     "take a snapshot while the guest goes on; tag is its name, query-jobs and an event say when it is done",
     true,
     snapshot_save,
     {{"job-id", JSON_STRING, true},
      {"tag", JSON_STRING, true},
      {"vmstate", JSON_STRING, true},
      {"devices", JSON_ARRAY, true},
      {0}}},
    {"query-jobs", "the last job", false, query_jobs, {{0}}},
    {"job-dismiss", "forget a job that has ended", false, job_dismiss, {{"id", JSON_STRING, false}, {0}}},
    {0},
};
