/* See metrics.h. Prometheus wants all lines of a metric together and machine_stats() goes hart by hart, so the counters
 * are collected first. `lock` guards `machine`, and is held while they are read. */
#include "control/metrics.h"

#include "control/http.h"
#include "control/listen.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CLIENTS_MAX = 32, IDLE_SECONDS = 10, CLIENT_BYTES = 16384, NAME_BYTES = 64, TEXT_BYTES = 96, REFRESH_US = 2000 };

struct metrics {
    struct metrics_config config;
    struct listener listener;
    struct http http;
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock;
    struct machine *machine; /* NULL: between two */
};

struct sample {
    uint32_t hart;
    char name[NAME_BYTES], text[TEXT_BYTES];
    uint64_t value;
};

struct samples {
    struct sample *at;
    size_t count, capacity;
    bool out_of_memory;
};

/* ---- collecting ---- */

static void add_sample(void *opaque, uint32_t hart, const char *name, const char *text, uint64_t value)
{
    struct samples *all = opaque;

    if (all->count == all->capacity) {
        size_t capacity = all->capacity ? 2 * all->capacity : 256;
        struct sample *at = reallocarray(all->at, capacity, sizeof(*at));
        if (!at) {
            all->out_of_memory = true;
            return;
        }
        all->at = at;
        all->capacity = capacity;
    }
    struct sample *sample = &all->at[all->count++];
    *sample = (struct sample){.hart = hart, .value = value};
    snprintf(sample->name, sizeof(sample->name), "%s", name);
    snprintf(sample->text, sizeof(sample->text), "%s", text);
}

/* ---- text (https://prometheus.io/docs/instrumenting/exposition_formats/) ---- */

static void print_head(FILE *out, const char *name, const char *suffix, const char *type, const char *text)
{
    fprintf(out, "# HELP tuff_%s%s %s\n# TYPE tuff_%s%s %s\n", name, suffix, text, name, suffix, type);
}

/* {vm="NAME",more}; NAME has no characters that would have to be escaped. */
static void print_labels(const struct metrics *metrics, FILE *out, const char *more)
{
    const char *name = metrics->config.name;

    if (name || *more)
        fprintf(out, "{%s%s%s%s%s}", name ? "vm=\"" : "", name ? name : "", name ? "\"" : "", name && *more ? "," : "",
                more);
}

/* What goes down as well as up; all others only grow, but for a reset. */
static bool is_gauge(const char *name)
{
    return strcmp(name, "code_bytes_live") == 0 || strcmp(name, "regions_waiting") == 0;
}

static bool is_first(const struct samples *all, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(all->at[i].name, all->at[index].name) == 0)
            return false;
    }
    return true;
}

static void print_counter(const struct metrics *metrics, const struct samples *all, size_t index, FILE *out)
{
    const char *name = all->at[index].name;
    bool gauge = is_gauge(name);

    print_head(out, name, gauge ? "" : "_total", gauge ? "gauge" : "counter", all->at[index].text);
    for (size_t i = index; i < all->count; i++) {
        const struct sample *sample = &all->at[i];
        char hart[32] = "";
        if (strcmp(sample->name, name) != 0)
            continue;
        if (sample->hart != UINT32_MAX)
            snprintf(hart, sizeof(hart), "hart=\"%u\"", sample->hart);
        fprintf(out, "tuff_%s%s", name, gauge ? "" : "_total");
        print_labels(metrics, out, hart);
        fprintf(out, " %" PRIu64 "\n", sample->value);
    }
}

static void print_one(const struct metrics *metrics, FILE *out, const char *name, const char *type, const char *text,
                      double value)
{
    print_head(out, name, "", type, text);
    fprintf(out, "tuff_%s", name);
    print_labels(metrics, out, "");
    fprintf(out, " %.17g\n", value);
}

static void print_process(const struct metrics *metrics, FILE *out)
{
    struct rusage usage;
    char version[64];

    getrusage(RUSAGE_SELF, &usage);
    print_one(metrics, out, "cpu_seconds_total", "counter", "processor time of the whole program",
              (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                  (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    print_one(metrics, out, "peak_memory_bytes", "gauge", "most memory that the whole program had",
              (double)usage.ru_maxrss * 1024);
    print_head(out, "info", "", "gauge", "the program's version");
    snprintf(version, sizeof(version), "version=\"%s\"", metrics->config.version);
    fputs("tuff_info", out);
    print_labels(metrics, out, version);
    fputs(" 1\n", out);
}

/* Returns the text, the caller's, or NULL without memory. */
static char *make_text(struct metrics *metrics, size_t *len)
{
    struct samples all = {0};
    char *text = NULL;
    FILE *out = open_memstream(&text, len);

    if (!out)
        return NULL;
    pthread_mutex_lock(&metrics->lock);
    if (metrics->machine) {
        machine_refresh_stats(metrics->machine);
        usleep(REFRESH_US);
    }
    bool up = metrics->machine != NULL, running = up && !machine_is_paused(metrics->machine);
    if (up)
        machine_stats(metrics->machine, add_sample, &all);
    pthread_mutex_unlock(&metrics->lock);
    print_one(metrics, out, "running", "gauge", "1 while harts run, 0 while they stand still", running);
    for (size_t i = 0; i < all.count; i++) {
        if (is_first(&all, i))
            print_counter(metrics, &all, i, out);
    }
    print_process(metrics, out);
    free(all.at);
    if (fclose(out) || all.out_of_memory) {
        free(text);
        return NULL;
    }
    return text;
}

/* ---- HTTP ---- */

static enum MHD_Result reply(const struct http *http, struct MHD_Connection *connection, unsigned status,
                             struct MHD_Response *response)
{
    enum MHD_Result result = response ? http->MHD_queue_response(connection, status, response) : MHD_NO;

    http->MHD_destroy_response(response);
    return result;
}

static enum MHD_Result refuse(const struct http *http, struct MHD_Connection *connection, unsigned status,
                              const char *text)
{
    void *bytes = (void *)(uintptr_t)text;

    return reply(http, connection, status,
                 http->MHD_create_response_from_buffer(strlen(text), bytes, MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result on_request(void *opaque, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_len, void **request)
{
    const struct metrics *metrics = opaque;
    const struct http *http = &metrics->http;
    size_t len;

    (void)version;
    (void)upload;
    (void)upload_len;
    (void)request;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0)
        return refuse(http, connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n");
    if (strcmp(url, "/metrics") != 0)
        return refuse(http, connection, MHD_HTTP_NOT_FOUND, "only /metrics\n");
    char *text = make_text(opaque, &len);
    if (!text)
        return MHD_NO;
    struct MHD_Response *response = http->MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(text);
    else
        (void)http->MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                            "text/plain; version=0.0.4; charset=utf-8");
    return reply(http, connection, MHD_HTTP_OK, response);
}

/* ---- beginning and end ---- */

int metrics_create(const struct metrics_config *config, struct metrics **out, struct error *err)
{
    struct metrics *metrics = calloc(1, sizeof(*metrics));

    if (!metrics)
        return error_set(err, -ENOMEM, "--metrics, not enough host memory, free some");
    metrics->config = *config;
    metrics->listener.fd = -1;
    pthread_mutex_init(&metrics->lock, NULL);
    int rc = http_load(&metrics->http, err);
    if (!rc)
        rc = control_listen("--metrics", config->where, true, &metrics->listener, err);
    if (!rc) {
        metrics->daemon = metrics->http.MHD_start_daemon(
            MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, metrics, MHD_OPTION_LISTEN_SOCKET,
            metrics->listener.fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CLIENTS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
            (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CLIENT_BYTES, MHD_OPTION_END);
        if (!metrics->daemon)
            rc = error_set(err, -EIO, "--metrics, %s, cannot be served: free memory or descriptors", config->where);
    }
    if (rc) {
        metrics_destroy(metrics);
        return rc;
    }
    *out = metrics;
    return 0;
}

void metrics_destroy(struct metrics *metrics)
{
    if (!metrics)
        return;
    if (metrics->daemon) {
        metrics->http.MHD_stop_daemon(metrics->daemon);
        metrics->listener.fd = -1; /* the daemon closed it */
    }
    listener_close(&metrics->listener);
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

void metrics_attach(struct metrics *metrics, struct machine *machine)
{
    pthread_mutex_lock(&metrics->lock);
    metrics->machine = machine;
    pthread_mutex_unlock(&metrics->lock);
}

void metrics_detach(struct metrics *metrics)
{
    metrics_attach(metrics, NULL);
}
